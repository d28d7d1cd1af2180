//! How somebody signs in here, besides by another provider.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::links::Link;
use crate::passkeys::NamedPasskey;
use crate::secret::{draw_code, normal_code};

/// Recovery codes that are drawn at once.
pub(crate) const RECOVERY_CODES: usize = 10;

/// What is kept of a user's own ways to sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Account {
    /// The hash of their password, if they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
    /// When that was set, in seconds since 1970.
    #[serde(default)]
    pub(crate) password_set_s: i64,
    /// When somebody last signed in by this account, in seconds since 1970.
    #[serde(default)]
    pub(crate) signed_in_s: i64,
    /// How often all ways to sign in were forgotten.
    #[serde(default)]
    pub(crate) generation: u32,
    /// Hashes of codes that were not used yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) recovery: Vec<String>,
    /// Who they are at providers that may sign them in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) links: Vec<Link>,
    /// What they have on their devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) passkeys: Vec<NamedPasskey>,
}

impl Account {
    pub(crate) fn set_password(&mut self, hash: String, now_s: i64) {
        self.password = Some(hash);
        self.password_set_s = now_s;
    }

    /// Forgets every way to sign in: whoever comes by an invitation may be there since somebody else was in.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self { signed_in_s: self.signed_in_s, generation: self.generation.wrapping_add(1), ..Self::default() };
    }

    /// Draws new recovery codes in the place of all. They have 80 bits each, so that a plain hash of one tells nothing.
    pub(crate) fn draw_recovery_codes(&mut self) -> Result<Vec<String>, getrandom::Error> {
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| draw_code(16)).collect::<Result<_, _>>()?;
        self.recovery = codes.iter().map(|code| hash(code)).collect();
        Ok(codes)
    }

    /// Whether a recovery code is one that was not used yet.
    pub(crate) fn has_recovery_code(&self, code: &str) -> bool {
        let shown = hash(code);
        self.recovery.iter().any(|kept| bool::from(kept.as_bytes().ct_eq(shown.as_bytes())))
    }

    /// Uses a recovery code up; false if it is none.
    pub(crate) fn use_recovery_code(&mut self, code: &str) -> bool {
        let shown = hash(code);
        let before = self.recovery.len();
        self.recovery.retain(|kept| !bool::from(kept.as_bytes().ct_eq(shown.as_bytes())));
        self.recovery.len() < before
    }
}

fn hash(code: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(normal_code(code).as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_code_is_good_once() {
        let mut account = Account::default();
        let codes = account.draw_recovery_codes().unwrap();
        assert_eq!((codes.len(), account.recovery.len()), (RECOVERY_CODES, RECOVERY_CODES));
        assert!(!serde_json::to_string(&account).unwrap().contains(&codes[0]), "only hashes are kept");
        // As people type.
        let typed = codes[3].to_uppercase().replace('-', " ");
        assert!(account.use_recovery_code(&typed) && !account.use_recovery_code(&codes[3]));
        assert!(!account.use_recovery_code("") && !account.use_recovery_code("aaaa-aaaa-aaaa-aaaa"));
        assert_eq!(account.recovery.len(), RECOVERY_CODES - 1);
        let again = account.draw_recovery_codes().unwrap();
        assert!(!account.use_recovery_code(&codes[0]) && account.use_recovery_code(&again[0]));
    }
}
