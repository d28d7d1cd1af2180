//! The certificate authority, and Eddy's account with it (RFC 8555, section 7.3), whose key is in a Secret of Eddy's own.

use std::collections::BTreeMap;

use eddy_crds::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL};
use eddy_telemetry::error_chain;
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount, Problem};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use tokio::sync::Mutex;

use super::fetch::Fetch;

/// The Secret with the account. The operator's own rights, and what is checked at admission, name it.
const SECRET: &str = "eddy-acme-account";
const SECRET_TYPE: &str = "eddy.cloud/acme-account";
const CREDENTIALS: &str = "credentials";
const DIRECTORY: &str = "directory";
/// Whoever was refused an account does not ask again sooner.
const ACCOUNT_PAUSE: SignedDuration = SignedDuration::from_mins(10);
/// What an authority says that knows no such account (RFC 8555, section 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("failed to read Secret {SECRET}, where the account is")]
    Read(#[source] Box<kube::Error>),
    #[error("failed to write Secret {SECRET}, where the account is to be")]
    Write(#[source] Box<kube::Error>),
    #[error("failed to make an account with the certificate authority")]
    Make(#[source] instant_acme::Error),
    #[error("failed to reach the certificate authority")]
    Reach(#[source] instant_acme::Error),
    #[error("{0}; an account is asked for again at {1}")]
    Earlier(String, Timestamp),
    #[error("failed to write the account's key down")]
    Form(#[from] serde_json::Error),
}

/// An account that the authority tells apart by another (RFC 8555, section 7.3.4).
pub(crate) struct External {
    pub(crate) key_id: String,
    pub(crate) key: Vec<u8>,
}

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) fetch: Fetch,
    /// Where its addresses are.
    pub(crate) directory: String,
    /// Whom it tells what goes wrong, as `mailto:…`.
    pub(crate) contacts: Vec<String>,
    pub(crate) external: Option<External>,
    pub(crate) account: Mutex<Kept>,
}

/// What is known of the account.
#[derive(Default)]
pub(crate) struct Kept {
    account: Option<Account>,
    /// It is not written down yet.
    unsaved: Option<Secret>,
    /// None could be made: why, and when it is tried again. Each try may count, and all Domains want the one.
    refused: Option<(String, Timestamp)>,
}

impl Authority {
    /// The account: that of the Secret, or a new one.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub(super) async fn account(&self, client: &Client, system_namespace: &str, now: Timestamp) -> Result<Account, AccountError> {
        let mut kept = self.account.lock().await;
        let api: Api<Secret> = Api::namespaced(client.clone(), system_namespace);
        if let Some(account) = kept.account.clone() {
            save(&api, &mut kept).await?;
            return Ok(account);
        }
        if let Some((why, until)) = kept.refused.as_ref().filter(|(_, until)| now < *until) {
            return Err(AccountError::Earlier(why.clone(), *until));
        }
        let secret = api.get_opt(SECRET).await.map_err(|source| AccountError::Read(Box::new(source)))?;
        let builder = || Account::builder_with_http(Box::new(self.fetch.clone()));
        let account = match secret.and_then(|secret| self.credentials(&secret)) {
            Some(credentials) => builder().from_credentials(credentials).await.map_err(AccountError::Reach)?,
            None => {
                let contacts: Vec<&str> = self.contacts.iter().map(String::as_str).collect();
                let new = NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
                let external =
                    self.external.as_ref().map(|external| ExternalAccountKey::new(external.key_id.clone(), &external.key));
                let made = builder().create(&new, self.directory.clone(), external.as_ref()).await;
                let (account, credentials) = made.map_err(|source| {
                    let error = AccountError::Make(source);
                    kept.refused = Some((error_chain(&error), now.saturating_add(ACCOUNT_PAUSE).unwrap_or(now)));
                    error
                })?;
                kept.unsaved = Some(self.secret(system_namespace, &credentials)?);
                tracing::info!(
                    directory = self.directory,
                    account = account.id(),
                    "an account was made with the certificate authority"
                );
                account
            }
        };
        // Before it is written down: it is there, whatever becomes of that.
        kept.account = Some(account.clone());
        save(&api, &mut kept).await?;
        Ok(account)
    }

    /// Forgets this account if the authority does not know it any more, as it says, so that another is made. Returns whether that is so.
    pub(super) async fn is_unknown(&self, client: &Client, system_namespace: &str, account: &Account, problem: &Problem) -> bool {
        if problem.r#type.as_deref() != Some(NO_ACCOUNT) {
            return false;
        }
        let mut kept = self.account.lock().await;
        if kept.account.as_ref().is_none_or(|known| known.id() != account.id()) {
            return false;
        }
        let api: Api<Secret> = Api::namespaced(client.clone(), system_namespace);
        // Without credentials, it is none.
        let nothing = Secret { data: None, ..self.framed(system_namespace) };
        if let Err(error) = api.patch(SECRET, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&nothing)).await {
            tracing::warn!(%error, "an account that the certificate authority does not know could not be forgotten");
        }
        *kept = Kept::default();
        true
    }

    /// The account in a Secret, if it is one with this authority.
    fn credentials(&self, secret: &Secret) -> Option<AccountCredentials> {
        let data = secret.data.as_ref()?;
        if data.get(DIRECTORY).is_none_or(|directory| directory.0 != self.directory.as_bytes()) {
            return None;
        }
        serde_json::from_slice(&data.get(CREDENTIALS)?.0).ok()
    }

    fn secret(&self, namespace: &str, credentials: &AccountCredentials) -> Result<Secret, serde_json::Error> {
        let data = BTreeMap::from([
            (CREDENTIALS.to_owned(), ByteString(serde_json::to_vec(credentials)?)),
            (DIRECTORY.to_owned(), ByteString(self.directory.clone().into_bytes())),
        ]);
        Ok(Secret { data: Some(data), ..self.framed(namespace) })
    }

    fn framed(&self, namespace: &str) -> Secret {
        Secret {
            metadata: ObjectMeta {
                name: Some(SECRET.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())])),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.to_owned()),
            ..Secret::default()
        }
    }
}

/// Writes the account down, if it is not yet.
async fn save(api: &Api<Secret>, kept: &mut Kept) -> Result<(), AccountError> {
    let Some(secret) = &kept.unsaved else { return Ok(()) };
    let applied = api.patch(SECRET, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(secret)).await;
    applied.map_err(|source| AccountError::Write(Box::new(source)))?;
    kept.unsaved = None;
    Ok(())
}
