//! Rows that nobody else can make, and nobody else can read: the store is shared with other parts of the platform, which shall not be able
//! to write somebody into it, nor learn whose sessions there are.
//!
//! Each is sealed by AES-256-GCM (NIST SP 800-38D) with a key of identity's own; the row's key is sealed with it, so that none takes the
//! place of another. What is not prevented is that an older state of a row is put back.

use std::path::Path;

use eddy_authz::{KeyError, long_enough, read_key};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

/// What rows are sealed with.
pub struct SealingKey(LessSafeKey);

/// Why a row cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no randomness.
    #[error("failed to draw random bytes")]
    NoRandomness(#[from] getrandom::Error),
    /// It was written with another key, or by somebody else, or is damaged.
    #[error("a row was not written with this key: give the key that it was written with, or remove the row")]
    NotOurs,
}

impl SealingKey {
    /// A key of bytes that nobody else knows.
    ///
    /// # Errors
    /// That they are too few.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        let extracted = Salt::new(HKDF_SHA256, b"eddy identity 1").extract(long_enough(bytes)?);
        let key = extracted.expand(&[b"rows"], &AES_256_GCM).map(UnboundKey::from);
        key.map(|key| Self(LessSafeKey::new(key))).map_err(|_| KeyError::Short)
    }

    /// The key of a file.
    ///
    /// # Errors
    /// That it cannot be read, or is too short.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        Self::new(&read_key(file)?)
    }

    pub(crate) fn seal(&self, row: &[u8], plain: Vec<u8>) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let mut sealed = plain;
        let done = self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(row), &mut sealed);
        done.map_err(|_| SealError::NotOurs)?;
        sealed.extend_from_slice(&nonce);
        Ok(sealed)
    }

    pub(crate) fn open(&self, row: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (sealed, nonce) = sealed.split_last_chunk::<NONCE_LEN>().ok_or(SealError::NotOurs)?;
        let mut plain = sealed.to_vec();
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(row), &mut plain);
        let length = opened.map_err(|_| SealError::NotOurs)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_opened_only_in_its_place_and_with_its_key() {
        let key = SealingKey::new(&[7; 32]).unwrap();
        let sealed = key.seal(b"a", b"secret".to_vec()).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(key.open(b"a", &sealed).unwrap(), b"secret");
        assert_ne!(key.seal(b"a", b"secret".to_vec()).unwrap(), sealed);
        assert!(key.open(b"b", &sealed).is_err());
        assert!(SealingKey::new(&[8; 32]).unwrap().open(b"a", &sealed).is_err());
        for length in 0..sealed.len() {
            assert!(key.open(b"a", &sealed[..length]).is_err(), "{length}");
        }
        assert!(SealingKey::new(&[7; 31]).is_err());
    }
}
