//! The site that passkeys are for: what it asks of authenticators, and what it takes for an answer.

use serde_json::Value;
use url::{Host, Url};
use webauthn_rp::bin::{Decode, Encode};
use webauthn_rp::request::auth::{AuthenticationVerificationOptions, SignatureCounterEnforcement};
use webauthn_rp::request::register::{
    CredProtect, Nickname, PublicKeyCredentialUserEntity, RegistrationVerificationOptions, USER_HANDLE_MAX_LEN, UserHandle64,
    Username,
};
use webauthn_rp::request::{AsciiDomain, ExtensionInfo, RpId};
use webauthn_rp::response::Backup;
use webauthn_rp::{
    DiscoverableAuthenticationServerState, DiscoverableCredentialRequestOptions, PublicKeyCredentialCreationOptions,
    Registration, RegistrationServerState,
};

use crate::{Begun, Ceremony, Passkey, PasskeyError, Shown};

/// A site.
#[derive(Debug)]
pub struct Site {
    domain: RpId,
    /// As browsers write it.
    origin: String,
}

impl Site {
    /// The site of this URL, as `https://cloud.example.com`; none where passkeys are for no site, as for an address. Passkeys are bound to
    /// its host: after it was given another name they are good no more.
    pub fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let Some(Host::Domain(host)) = url.host() else { return None };
        let domain = RpId::Domain(AsciiDomain::try_from(host.to_owned()).ok()?);
        Some(Self { domain, origin: url.origin().ascii_serialization() })
    }

    /// Asks for a new passkey of a user of this name, who has these; it is on no authenticator that has one of them.
    ///
    /// # Errors
    /// [`PasskeyError::Name`], [`PasskeyError::Kept`], [`PasskeyError::Begin`].
    pub fn begin_registration<'a>(&self, user: &str, has: impl IntoIterator<Item = &'a Passkey>) -> Result<Begun, PasskeyError> {
        let has: Vec<&Passkey> = has.into_iter().collect();
        let handle = has.first().map_or_else(|| Ok(UserHandle64::new()), |passkey| passkey.handle())?;
        let others = has.iter().map(|passkey| passkey.descriptor()).collect::<Result<_, _>>()?;
        let no_name = || PasskeyError::Name(user.to_owned());
        let entity = PublicKeyCredentialUserEntity {
            name: Username::try_from(user).map_err(|_| no_name())?,
            id: &handle,
            display_name: Some(Nickname::try_from(user).map_err(|_| no_name())?),
        };
        let begin = |error: &dyn std::fmt::Display| PasskeyError::Begin(error.to_string());
        let mut asked = PublicKeyCredentialCreationOptions::passkey(&self.domain, entity, others);
        // Asked of keys that can do it; most authenticators of telephones and computers do not know it, and would be refused.
        asked.extensions.cred_protect = CredProtect::UserVerificationRequired(ExtensionInfo::AllowDontEnforceValue);
        let (server, client) = asked.start_ceremony().map_err(|error| begin(&error))?;
        let ceremony = Ceremony::Registration(server.encode().map_err(|error| begin(&error))?);
        let options = serde_json::to_value(&client).map_err(|error| begin(&error))?;
        Ok(Begun { ceremony, options })
    }

    /// What a browser answered: `RegistrationResponseJSON`. Whether there is one of its id already is for whoever asks.
    ///
    /// # Errors
    /// [`PasskeyError::Form`], [`PasskeyError::Ceremony`], [`PasskeyError::Refused`].
    pub fn finish_registration(&self, ceremony: &Ceremony, answer: &Value) -> Result<Passkey, PasskeyError> {
        let Ceremony::Registration(state) = ceremony else { return Err(PasskeyError::Ceremony) };
        let state =
            RegistrationServerState::<USER_HANDLE_MAX_LEN>::decode(state.as_slice()).map_err(|_| PasskeyError::Ceremony)?;
        let answer = answer.to_string();
        let answer = Registration::from_json_relaxed(answer.as_bytes()).map_err(|error| PasskeyError::Form(error.to_string()))?;
        let origins = [self.origin.as_str()];
        let options = RegistrationVerificationOptions::<&str, &str> {
            allowed_origins: &origins,
            // Some authenticators say more than they are asked, and it changes nothing.
            error_on_unsolicited_extensions: false,
            ..RegistrationVerificationOptions::default()
        };
        let registered = state.verify(&self.domain, &answer, &options);
        registered.map(|registered| Passkey::of(&registered)).map_err(|error| PasskeyError::Refused(error.to_string()))
    }

    /// Asks for any passkey of this site.
    ///
    /// # Errors
    /// [`PasskeyError::Begin`].
    pub fn begin_sign_in(&self) -> Result<Begun, PasskeyError> {
        let begin = |error: &dyn std::fmt::Display| PasskeyError::Begin(error.to_string());
        let asked = DiscoverableCredentialRequestOptions::passkey(&self.domain);
        let (server, client) = asked.start_ceremony().map_err(|error| begin(&error))?;
        let ceremony = Ceremony::SignIn(server.encode().map_err(|error| begin(&error))?);
        let options = serde_json::to_value(&client).map_err(|error| begin(&error))?;
        Ok(Begun { ceremony, options })
    }

    /// Whether what somebody showed is this passkey, and the passkey as it is to be kept then.
    ///
    /// A key that never leaves its device and was used less often than before is a copy, and refused. Of one that is on several devices each counts for
    /// itself, so that it says nothing.
    ///
    /// # Errors
    /// [`PasskeyError::Kept`], [`PasskeyError::Ceremony`], [`PasskeyError::Refused`].
    pub fn finish_sign_in(&self, ceremony: &Ceremony, shown: &Shown, kept: &Passkey) -> Result<Passkey, PasskeyError> {
        let Ceremony::SignIn(state) = ceremony else { return Err(PasskeyError::Ceremony) };
        let state = DiscoverableAuthenticationServerState::decode(state.as_slice()).map_err(|_| PasskeyError::Ceremony)?;
        let handle = kept.handle()?;
        let mut credential = kept.credential(&handle)?;
        let is_of_one_device = matches!(kept.state()?.backup, Backup::NotEligible);
        let counter = if is_of_one_device { SignatureCounterEnforcement::Fail } else { SignatureCounterEnforcement::Ignore };
        let origins = [self.origin.as_str()];
        let options = AuthenticationVerificationOptions::<&str, &str> {
            allowed_origins: &origins,
            error_on_unsolicited_extensions: false,
            sig_counter_enforcement: counter,
            ..AuthenticationVerificationOptions::default()
        };
        state
            .verify(&self.domain, &shown.0, &mut credential, &options)
            .map_err(|error| PasskeyError::Refused(error.to_string()))?;
        Ok(kept.with_state(credential.dynamic_state()))
    }
}
