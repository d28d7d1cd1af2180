//! Codes that people type, and secrets that programs keep.

use std::fmt;
use std::ops::Deref;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What somebody typed and nobody else is to see: wiped when dropped, and never shown.
#[derive(Clone)]
pub(crate) struct Hidden(Zeroizing<String>);

impl Deref for Hidden {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hidden(…)")
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

#[cfg(test)]
impl Hidden {
    pub(crate) fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

/// What codes are made of: no vowels, so that they are no words, and nothing that looks like something else.
const LETTERS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
const GROUP: usize = 4;

/// A code of so many letters, in groups. Each letter has more than four bits.
pub(crate) fn draw_code(letters: usize) -> Result<String, getrandom::Error> {
    let mut code = String::with_capacity(letters + letters / GROUP);
    let mut drawn = 0;
    while drawn < letters {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        // Larger ones would make some letters likelier than others.
        for byte in bytes.into_iter().filter(|byte| *byte < 240).take(letters - drawn) {
            if drawn > 0 && drawn.is_multiple_of(GROUP) {
                code.push('-');
            }
            code.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
            drawn += 1;
        }
    }
    Ok(code)
}

/// A code as it is compared, however it was typed.
pub(crate) fn normal_code(typed: &str) -> String {
    typed.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).take(64).collect()
}

/// A secret that a program keeps: 256 bits.
pub(crate) fn draw_secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What is kept of it, and what its row is called by.
pub(crate) fn digest(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret.as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_typed_in_groups() {
        let code = draw_code(8).unwrap();
        assert!(code.len() == 9 && code.as_bytes()[4] == b'-', "{code}");
        assert_eq!(normal_code(&format!(" {} ", code.to_uppercase())), code.replace('-', ""));
        assert_ne!(draw_code(16).unwrap(), draw_code(16).unwrap());
        assert_eq!(draw_secret().unwrap().len(), 43);
    }
}
