//! Passkeys as they are kept, and as they are shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use webauthn_rp::bin::{Decode, Encode};
use webauthn_rp::request::PublicKeyCredentialDescriptor;
use webauthn_rp::request::register::{USER_HANDLE_MAX_LEN, UserHandle64};
use webauthn_rp::response::auth::DiscoverableAuthentication64;
use webauthn_rp::response::register::{CompressedPubKey, DynamicState, StaticState};
use webauthn_rp::response::{AuthTransports, Backup, CredentialId};
use webauthn_rp::{AuthenticatedCredential, RegisteredCredential};

use crate::PasskeyError;

/// A public key as it is kept.
pub(crate) type Key = CompressedPubKey<[u8; 32], [u8; 32], [u8; 48], Vec<u8>>;

/// A passkey, without what proves it: a public key, and what its authenticator said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Passkey {
    #[serde(with = "base64_bytes")]
    id: Vec<u8>,
    /// Whom the authenticator keeps it for: bytes that say nothing to others.
    #[serde(with = "base64_bytes")]
    handle: Vec<u8>,
    /// How browsers reach its authenticator.
    transports: u8,
    #[serde(with = "base64_bytes")]
    fixed: Vec<u8>,
    /// What changes when it is used, as how often that was.
    #[serde(with = "base64_bytes")]
    state: Vec<u8>,
}

impl Passkey {
    /// What it is called by its authenticator, in base64url.
    pub fn id(&self) -> String {
        base64_bytes::text(&self.id)
    }

    /// Whether it is on other devices, too, or may come to be: whoever has many knows which is lost with its device.
    pub fn is_synced(&self) -> bool {
        self.state().is_ok_and(|state| !matches!(state.backup, Backup::NotEligible))
    }

    /// How often it was used, as its authenticator counts; 0 where it does not.
    pub fn uses(&self) -> u32 {
        self.state().map_or(0, |state| state.sign_count)
    }

    pub(crate) fn of(registered: &RegisteredCredential<'_, USER_HANDLE_MAX_LEN>) -> Self {
        let Ok(handle) = registered.user_id().encode();
        let Ok(transports) = registered.transports().encode();
        let Ok(fixed) = registered.static_state().encode();
        let Ok(state) = registered.dynamic_state().encode();
        Self { id: registered.id().as_ref().to_vec(), handle: handle.to_vec(), transports, fixed, state: state.to_vec() }
    }

    pub(crate) fn handle(&self) -> Result<UserHandle64, PasskeyError> {
        let bytes: [u8; USER_HANDLE_MAX_LEN] = self.handle.as_slice().try_into().map_err(|_| PasskeyError::Kept)?;
        let Ok(handle) = UserHandle64::decode(bytes);
        Ok(handle)
    }

    /// As a browser is told that there is one.
    pub(crate) fn descriptor(&self) -> Result<PublicKeyCredentialDescriptor<Vec<u8>>, PasskeyError> {
        let id = CredentialId::decode(self.id.clone()).map_err(|_| PasskeyError::Kept)?;
        let transports = AuthTransports::decode(self.transports).map_err(|_| PasskeyError::Kept)?;
        Ok(PublicKeyCredentialDescriptor { id, transports })
    }

    pub(crate) fn state(&self) -> Result<DynamicState, PasskeyError> {
        let bytes = self.state.as_slice().try_into().map_err(|_| PasskeyError::Kept)?;
        DynamicState::decode(bytes).map_err(|_| PasskeyError::Kept)
    }

    /// The same after it was used.
    pub(crate) fn with_state(&self, state: DynamicState) -> Self {
        let Ok(state) = state.encode();
        Self { state: state.to_vec(), ..self.clone() }
    }

    pub(crate) fn credential<'a>(
        &'a self,
        handle: &'a UserHandle64,
    ) -> Result<AuthenticatedCredential<'a, 'a, USER_HANDLE_MAX_LEN, Key>, PasskeyError> {
        let id = CredentialId::decode(self.id.as_slice()).map_err(|_| PasskeyError::Kept)?;
        let fixed = StaticState::<Key>::decode(self.fixed.as_slice()).map_err(|_| PasskeyError::Kept)?;
        AuthenticatedCredential::new(id, handle, fixed, self.state()?).map_err(|_| PasskeyError::Kept)
    }
}

/// What somebody shows of a passkey, before it is known whether it is theirs.
#[derive(Debug)]
pub struct Shown(pub(crate) DiscoverableAuthentication64);

impl Shown {
    /// Reads what a browser sends: `AuthenticationResponseJSON`.
    ///
    /// # Errors
    /// [`PasskeyError::Form`].
    pub fn read(answer: &Value) -> Result<Self, PasskeyError> {
        let answer = answer.to_string();
        DiscoverableAuthentication64::from_json_relaxed(answer.as_bytes())
            .map(Self)
            .map_err(|error| PasskeyError::Form(error.to_string()))
    }

    /// Which passkey it says that it is, in base64url.
    pub fn id(&self) -> String {
        base64_bytes::text(self.0.raw_id().as_ref())
    }
}

/// Bytes as base64url.
pub(crate) mod base64_bytes {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn text(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        URL_SAFE_NO_PAD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
