//! Access keys of S3 that tokens are.
//!
//! Who signs requests (AWS Signature Version 4) does not show a secret, so whoever checks that must know one; of a token only the
//! hash is kept. The secret of its access key is therefore derived from that hash, with a key that only those have who hand out
//! tokens and who check signatures: the hash alone signs nothing, and a secret of S3 is no token.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::credential::Secret;
use crate::key_file::{KeyError, long_enough, read_key};
use crate::token::TokenHash;

/// Of a secret: 40 letters, as AWS' own have.
const SECRET_BYTES: usize = 30;

/// What secrets of access keys are derived with.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// A key of bytes that nobody else knows.
    ///
    /// # Errors
    /// That they are too few.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        Hmac::new_from_slice(long_enough(bytes)?).map(Self).map_err(|_| KeyError::Short)
    }

    /// The key of a file.
    ///
    /// # Errors
    /// That it cannot be read, or is too short.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        Self::new(&read_key(file)?)
    }

    /// The secret of a token's access key, whose id is the token's.
    pub fn secret_of(&self, id: &str, hash: &TokenHash) -> Secret {
        let mut mac = self.0.clone();
        mac.update(b"eddy s3 1\n");
        mac.update(id.as_bytes());
        mac.update(b"\n");
        mac.update(hash.bytes());
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        Secret::new(&URL_SAFE_NO_PAD.encode(&bytes[..SECRET_BYTES]))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::token::Token;

    #[test]
    fn a_secret_is_of_one_token_and_one_key() {
        let (one, other) = (SigningKey::new(&[1; 32]).unwrap(), SigningKey::new(&[2; 32]).unwrap());
        let token = Token::draw().unwrap();
        let secret = one.secret_of(token.id(), &token.hash());
        assert!(secret.expose().len() == 40 && secret.is(&one.secret_of(token.id(), &token.hash())));
        assert!(!secret.is(&other.secret_of(token.id(), &token.hash())));
        assert!(!secret.is(&one.secret_of(token.id(), &Token::draw().unwrap().hash())));
        assert!(!secret.is(&one.secret_of("0123456789abcdef", &token.hash())));
        assert!(SigningKey::new(&[1; 31]).is_err());
    }

    /// Access keys that are out there must go on signing.
    #[test]
    fn the_form_stays() {
        let hash = TokenHash::parse(&URL_SAFE_NO_PAD.encode([9; 32])).unwrap();
        let secret = SigningKey::new(&[7; 32]).unwrap().secret_of("0123456789abcdef", &hash);
        assert_eq!(secret.expose(), "GrOzMafiJsFNdPJThsHBzF3qz9Hp6Ujme1iySR21");
    }
}
