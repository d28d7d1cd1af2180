//! Tokens: `eddy_<id>_<secret><checksum>`. The id says which token it is; of the secret, the platform keeps only a hash.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What every token begins with, so that whoever looks for lost secrets finds it.
const PREFIX: &str = "eddy_";
/// Letters of an id: 82 bits.
pub(crate) const ID_LETTERS: usize = 16;
/// Letters of a secret: 256 bits.
const SECRET_LETTERS: usize = 43;
/// Letters of the checksum.
const CHECK_LETTERS: usize = 6;
/// Letters of all of a token.
const TOKEN_LETTERS: usize = PREFIX.len() + ID_LETTERS + 1 + SECRET_LETTERS + CHECK_LETTERS;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Of an id: Kubernetes' names have them, too, and NATS' keys.
const ID_ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A token in the clear: whoever has it may all that it may. Wiped when dropped, and never shown.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

/// What the platform keeps of a token's secret: the SHA-256 of all of it.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

/// There is no randomness to draw a token from.
#[derive(Debug, thiserror::Error)]
#[error("failed to draw random bytes")]
pub struct NoRandomness(#[from] getrandom::Error);

impl Token {
    /// A new one, that nobody has.
    ///
    /// # Errors
    /// That there is no randomness.
    pub fn draw() -> Result<Self, NoRandomness> {
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_LETTERS));
        text.push_str(PREFIX);
        draw_letters(&mut text, ID_ALPHABET, ID_LETTERS)?;
        text.push('_');
        draw_letters(&mut text, LETTERS, SECRET_LETTERS)?;
        let check = checksum(&text);
        text.push_str(&check);
        Ok(Self(text))
    }

    /// A token as it is shown, if it has the form of one and nothing of it was mistyped. Says nothing of whether it is good.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != TOKEN_LETTERS || !text.is_ascii() {
            return None;
        }
        let (id, secret) = text.strip_prefix(PREFIX)?.split_at(ID_LETTERS);
        let secret = secret.strip_prefix('_')?;
        let (said, check) = text.split_at(TOKEN_LETTERS - CHECK_LETTERS);
        let form = is_id(id) && secret.bytes().all(|letter| LETTERS.contains(&letter));
        (form && checksum(said) == check).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// Which it is.
    pub fn id(&self) -> &str {
        &self.0[PREFIX.len()..PREFIX.len() + ID_LETTERS]
    }

    /// All of it, in the clear.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the platform keeps of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Token({}, …)", self.id())
    }
}

impl TokenHash {
    /// Whether both are the same, in a time that says nothing.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// One as it is written down.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenHash(…)")
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Eq for TokenHash {}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not the hash of a token: 32 bytes in base64url"))
    }
}

/// Whether it has the form of a token's id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == ID_LETTERS && text.bytes().all(|letter| ID_ALPHABET.contains(&letter))
}

/// Letters of an alphabet, each as likely as the others.
fn draw_letters(text: &mut String, alphabet: &[u8], count: usize) -> Result<(), NoRandomness> {
    let wanted = text.len() + count;
    // Bytes from here on would make the first letters likelier.
    let limit = 256 - 256 % alphabet.len();
    while text.len() < wanted {
        let mut drawn = Zeroizing::new([0; 64]);
        getrandom::fill(&mut *drawn)?;
        let good = drawn.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < limit);
        let missing = wanted - text.len();
        text.extend(good.take(missing).map(|byte| char::from(alphabet[byte % alphabet.len()])));
    }
    Ok(())
}

/// The CRC-32 of what comes before it: nobody is kept out by it, but what was mistyped or is something else is known without a look.
fn checksum(text: &str) -> String {
    let mut rest = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, text.as_bytes());
    let mut letters = [b'0'; CHECK_LETTERS];
    for letter in letters.iter_mut().rev() {
        *letter = LETTERS[usize::try_from(rest % 62).unwrap_or_default()];
        rest /= 62;
    }
    letters.iter().map(|letter| char::from(*letter)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_drawn_and_none_is_drawn_twice() {
        let mut seen = HashSet::new();
        for _ in 0..200 {
            let token = Token::draw().unwrap();
            let again = Token::parse(token.expose()).unwrap();
            assert!(is_id(token.id()) && again.id() == token.id() && again.hash() == token.hash());
            assert_eq!(TokenHash::parse(&token.hash().to_string()), Some(token.hash()));
            assert!(seen.insert(token.expose().to_owned()) && seen.insert(token.id().to_owned()));
        }
    }

    #[test]
    fn every_letter_is_drawn_about_as_often() {
        let mut text = String::new();
        draw_letters(&mut text, LETTERS, 62_000).unwrap();
        for letter in LETTERS {
            let count = text.bytes().filter(|drawn| drawn == letter).count();
            assert!((800..1200).contains(&count), "{}: {count}", char::from(*letter));
        }
    }

    #[test]
    fn what_was_mistyped_is_no_token() {
        let token = Token::draw().unwrap();
        let text = token.expose();
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            assert!(Token::parse(std::str::from_utf8(&bytes).unwrap()).is_none(), "{at}");
        }
        for text in ["", "eddy_", &text[1..], &format!("{text}x"), &format!("{}é", &text[..text.len() - 2])] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }

    /// Tokens that are out there must be understood for ever.
    #[test]
    fn the_form_stays() {
        let known = "eddy_0123456789abcdef_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq";
        let token = Token::parse(&format!("{known}{}", checksum(known))).unwrap();
        assert_eq!((token.id(), checksum(known).as_str()), ("0123456789abcdef", "0vC0lE"));
        assert_eq!(token.hash().to_string(), "jJv_YbAFASVIz6Xm-Z-ZTjqXjRaeLirm6aQR9xwTt7A");
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = Token::draw().unwrap();
        assert!(!format!("{token:?} {:?}", token.hash()).contains(&token.expose()[25..40]));
    }
}
