//! Rows of the store: what they are called, and how they are read and written.

use bytes::Bytes;
use eddy_kv::{KvError, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sealed::{SealError, SealingKey};
use crate::secret::digest;

/// What all rows of identity begin with.
const PREFIX: &str = "identity/";

/// Why something was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] KvError),
    /// A row is not ours, or cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A row holds something else.
    #[error("the row {key:?} is not as this version writes it")]
    Row {
        /// Which.
        key: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// There is no randomness.
    #[error("failed to draw random bytes")]
    NoRandomness,
    /// Others change the same all the time.
    #[error("others change the same at this moment: try again")]
    Contended,
}

impl PeopleError {
    /// Whether something had changed since it was read.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(KvError::Conflict { .. }))
    }

    /// Whether this row had.
    pub(crate) fn is_conflict_of(&self, row: &Bytes) -> bool {
        matches!(self, Self::Store(KvError::Conflict { key }) if key == row)
    }
}

impl From<getrandom::Error> for PeopleError {
    fn from(_: getrandom::Error) -> Self {
        Self::NoRandomness
    }
}

impl From<eddy_authz::NoRandomness> for PeopleError {
    fn from(_: eddy_authz::NoRandomness) -> Self {
        Self::NoRandomness
    }
}

/// A user's own ways to sign in.
pub(crate) fn account(user: &str) -> Bytes {
    format!("{PREFIX}account/{user}").into()
}

/// A session.
pub(crate) fn session(id: &str) -> Bytes {
    format!("{PREFIX}session/{id}").into()
}

/// All sessions.
pub(crate) fn sessions() -> Bytes {
    session("")
}

/// A session among those of its user; the row holds nothing.
pub(crate) fn session_of(user: &str, id: &str) -> Bytes {
    format!("{PREFIX}session-of/{user}/{id}").into()
}

/// A user's invitation.
pub(crate) fn invitation(user: &str) -> Bytes {
    format!("{PREFIX}invitation/{user}").into()
}

/// A program that waits to be let in, by the digest of its secret.
pub(crate) fn device(digest: &str) -> Bytes {
    format!("{PREFIX}device/{digest}").into()
}

/// The same by the code that its user types.
pub(crate) fn device_code(code: &str) -> Bytes {
    format!("{PREFIX}device-code/{code}").into()
}

/// Written whenever a session begins or ends: by when that was, whoever tells others of sessions sees that it has missed something.
pub(crate) fn sessions_changed() -> Bytes {
    format!("{PREFIX}sessions-changed").into()
}

/// How many programs wait: a counter.
pub(crate) fn devices_waiting() -> Bytes {
    format!("{PREFIX}devices-waiting").into()
}

/// Somebody at a provider, by their digest: whose account they are in.
pub(crate) fn subject(digest: &str) -> Bytes {
    format!("{PREFIX}subject/{digest}").into()
}

/// A passkey, by what its authenticator calls it: whose account it is in.
pub(crate) fn passkey(id: &str) -> Bytes {
    format!("{PREFIX}passkey/{}", digest(id)).into()
}

/// What somebody came back with from a provider, or an authenticator, by its digest.
pub(crate) fn answer(digest: &str) -> Bytes {
    format!("{PREFIX}answer/{digest}").into()
}

/// All rows that end by themselves.
pub(crate) fn that_end() -> [Bytes; 4] {
    [sessions(), invitation(""), device(""), answer("")]
}

/// The last part of a row's key.
pub(crate) fn name_of(key: &[u8]) -> &str {
    let key = std::str::from_utf8(key).unwrap_or_default();
    key.rsplit('/').next().unwrap_or_default()
}

pub(crate) fn write<T: Serialize>(sealing: &SealingKey, key: &Bytes, row: &T) -> Result<Vec<u8>, PeopleError> {
    let plain = serde_json::to_vec(row).map_err(|source| broken(key, source))?;
    Ok(sealing.seal(key, plain)?)
}

pub(crate) fn read<T: DeserializeOwned>(sealing: &SealingKey, key: &Bytes, value: &Value) -> Result<T, PeopleError> {
    let plain = sealing.open(key, &value.bytes)?;
    serde_json::from_slice(&plain).map_err(|source| broken(key, source))
}

fn broken(key: &Bytes, source: serde_json::Error) -> PeopleError {
    PeopleError::Row { key: String::from_utf8_lossy(key).into_owned(), source }
}
