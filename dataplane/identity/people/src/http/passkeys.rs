//! Passkeys: who has one signs in by it alone, and nobody types a name.
//!
//! What a browser is asked for is kept by whoever asked, sealed, until they come back with the answer: so any replica takes it, strangers who
//! only begin write nothing, and each answer counts once.

use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use eddy_audit::Outcome;
use eddy_http::Problem;
use eddy_kv::Transaction;
use eddy_passkey::{Begun as Asked, Ceremony, Passkey, PasskeyError, Shown, Site};
use eddy_telemetry::error_chain;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::arrival::From;
use super::invitations::take;
use super::passwords::{Confirmed, too_many};
use super::providers::not_asked;
use super::signed::{Signed, begin_for, from_this_site, time};
use super::{SignIn, failed, now_s};
use crate::account::Account;
use crate::passkeys::NamedPasskey;
use crate::people::UserRef;
use crate::rows;
use crate::secret::Hidden;
use crate::session::{Session, Way};

/// What a sealed ceremony is for.
const SEALED: &str = "passkey";

/// What whoever was asked for a passkey keeps.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    ceremony: Ceremony,
    purpose: Purpose,
}

/// What they were asked for.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Purpose {
    /// To sign in.
    SignIn,
    /// To have one more, who has signed in already in the session of this id; before an invitation makes them begin anew.
    Add { session: String, generation: u32 },
    /// To take an invitation.
    Invitation(String),
}

/// Asks whoever comes for a passkey.
pub(super) async fn begin_sign_in(State(state): State<SignIn>, from: From, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    from_this_site(&headers)?;
    state.ask(&from, state.site()?.begin_sign_in(), Purpose::SignIn)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedBy {
    ceremony: Hidden,
    /// `AuthenticationResponseJSON`.
    credential: Value,
}

/// Signs in by one. Whoever does not have it is told no more than that.
pub(super) async fn sign_in(
    State(state): State<SignIn>,
    from: From,
    headers: HeaderMap,
    Json(SignedBy { ceremony, credential }): Json<SignedBy>,
) -> Result<Response, Problem> {
    from_this_site(&headers)?;
    let (kept, once) = state.answered(&ceremony, |purpose| *purpose == Purpose::SignIn)?;
    let shown = Shown::read(&credential).map_err(refused)?;
    let id = shown.id();
    let owner = state.people().owner(&rows::passkey(&id)).await.map_err(failed)?;
    let user = owner.as_deref().map(|name| state.user(name)).transpose()?.flatten();
    let Some((user, _)) = user else {
        state.failed_to_sign_in(UserRef { name: "", since_s: i64::MIN }, &from);
        return Err(unknown());
    };
    let site = state.site()?;
    let proof = |account: &mut Account| {
        let Some(named) = account.passkey(&id) else { return Ok(None) };
        match site.finish_sign_in(&kept.ceremony, &shown, &named.passkey) {
            Ok(used) => {
                (named.passkey, named.used_s) = (used, Some(now_s()));
                Ok(Some(()))
            }
            Err(error) => {
                tracing::info!(user = user.name, error = error_chain(&error), "a passkey was refused");
                Ok(None)
            }
        }
    };
    // Looked at first: what strangers show counts for nothing of the user's.
    let mut account = state.people().account(user).await.map_err(failed)?;
    if proof(&mut account).map_err(failed)?.is_none() {
        state.failed_to_sign_in(user, &from);
        return Err(unknown());
    }
    let arrival = from.by_passkey(Way::Passkey, &id);
    let begun = once_only(begin_for(state.session_s(), &state, user, (arrival, &from), once, proof).await)?;
    let (begun, ()) = begun.ok_or_else(unknown)?;
    Ok(begun.into_response())
}

/// Asks somebody who has signed in for one more.
pub(super) async fn begin(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Json(Confirmed { current }): Json<Confirmed>,
) -> Result<Json<Value>, Problem> {
    let site = state.site()?;
    state.confirm(&signed, &from, current).await?;
    let account = state.people().account(signed.user()).await.map_err(failed)?;
    if account.has_all_passkeys() {
        return Err(full());
    }
    let has = account.passkeys.iter().map(|named| &named.passkey);
    let purpose = Purpose::Add { session: signed.session.id.clone(), generation: account.generation };
    state.ask(&from, site.begin_registration(signed.user().name, has), purpose)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Added {
    ceremony: Hidden,
    /// `RegistrationResponseJSON`.
    credential: Value,
    #[serde(default)]
    name: String,
}

/// Puts it to the others.
pub(super) async fn add(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Json(Added { ceremony, credential, name }): Json<Added>,
) -> Result<Response, Problem> {
    let is_meant = |purpose: &Purpose| matches!(purpose, Purpose::Add { session, .. } if *session == signed.session.id);
    let (kept, once) = state.answered(&ceremony, is_meant)?;
    let Purpose::Add { generation, .. } = kept.purpose else { return Err(not_asked()) };
    let passkey = state.site()?.finish_registration(&kept.ceremony, &credential).map_err(refused)?;
    let user = signed.user();
    let also = state.new_to_all(once, user.name, &passkey).await?;
    let named = NamedPasskey::new(&name, passkey, now_s());
    let mut began_anew = false;
    let change = |account: &mut Account| {
        began_anew = account.generation != generation;
        Ok((!began_anew && account.add_passkey(named.clone())).then_some(()))
    };
    let changed = state.people().change_account_with(user, also, change).await.map_err(failed);
    once_only(changed)?.ok_or_else(|| if began_anew { not_asked() } else { full() })?;
    tracing::info!(user = user.name, "has a passkey more");
    state.did(&signed, &from, "passkey.create", user.name);
    Ok((StatusCode::CREATED, Json(said(&named))).into_response())
}

/// One's own.
pub(super) async fn list(State(state): State<SignIn>, signed: Signed) -> Result<Json<Value>, Problem> {
    let account = state.people().account(signed.user()).await.map_err(failed)?;
    Ok(Json(json!({"items": account.passkeys.iter().map(said).collect::<Vec<_>>()})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Renamed {
    name: String,
}

/// Calls one otherwise.
pub(super) async fn rename(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Path(id): Path<String>,
    Json(Renamed { name }): Json<Renamed>,
) -> Result<StatusCode, Problem> {
    if !state.people().rename_passkey(signed.user(), &id, &name).await.map_err(failed)? {
        return Err(Problem::not_found("such passkey"));
    }
    state.did(&signed, &from, "passkey.rename", &signed.session.user);
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets one.
pub(super) async fn forget(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Path(id): Path<String>,
    Json(Confirmed { current }): Json<Confirmed>,
) -> Result<StatusCode, Problem> {
    state.confirm(&signed, &from, current).await?;
    let forgotten = state.people().forget_passkey(signed.user(), &id).await.map_err(failed)?;
    let by_it = |session: &Session| session.passkey.as_deref() == Some(&*id);
    state.forgot(&signed, &from, "passkey", forgotten, by_it).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invited {
    invitation: Hidden,
}

/// Asks whoever was invited for a passkey, in the place of a password.
pub(super) async fn invited(
    State(state): State<SignIn>,
    from: From,
    headers: HeaderMap,
    Json(Invited { invitation: secret }): Json<Invited>,
) -> Result<Json<Value>, Problem> {
    from_this_site(&headers)?;
    let site = state.site()?;
    let (invitation, _) = state.good_invitation(&secret).await?;
    state.ask(&from, site.begin_registration(&invitation.user, []), Purpose::Invitation(secret.to_string()))
}

/// Takes the invitation.
pub(super) async fn accept(
    State(state): State<SignIn>,
    from: From,
    headers: HeaderMap,
    Json(Added { ceremony, credential, name }): Json<Added>,
) -> Result<Response, Problem> {
    from_this_site(&headers)?;
    let (kept, once) = state.answered(&ceremony, |purpose| matches!(purpose, Purpose::Invitation(_)))?;
    let Purpose::Invitation(secret) = &kept.purpose else { return Err(not_asked()) };
    let passkey = state.site()?.finish_registration(&kept.ceremony, &credential).map_err(refused)?;
    let (invitation, read) = state.good_invitation(secret).await?;
    let also = state.new_to_all(once, &invitation.user, &passkey).await?;
    let arrival = from.by_passkey(Way::Invitation, &passkey.id());
    let named = NamedPasskey::new(&name, passkey, now_s());
    let set = |account: &mut Account| {
        account.add_passkey(named.clone());
    };
    let taken = take(&state, (&invitation, &read), (arrival, &from), also, set).await?;
    state.record(&invitation.user, &from, "passkey.create", &invitation.user, Outcome::Done, "");
    Ok(taken)
}

impl SignIn {
    /// What passkeys are for.
    fn site(&self) -> Result<&Site, Problem> {
        let detail =
            "there are no passkeys here: they need the platform's name (platform.host of its chart), and an address is none";
        let none = || Problem::new(StatusCode::NOT_FOUND, "NotFound", detail);
        self.0.site.as_ref().ok_or_else(none)
    }

    /// What whoever comes is to ask their authenticator, and to keep meanwhile.
    fn ask(&self, from: &From, asked: Result<Asked, PasskeyError>, purpose: Purpose) -> Result<Json<Value>, Problem> {
        let wait = |wait| too_many(wait, "too many of this address sign in: try again later");
        self.0.attempts.ceremony(from.address, Instant::now()).map_err(wait)?;
        let Asked { ceremony, options } = asked.map_err(refused)?;
        let sealed = self.people().seal(SEALED, &Kept { ceremony, purpose }).map_err(failed)?;
        Ok(Json(json!({"ceremony": sealed, "publicKey": options})))
    }

    /// What they were asked, where it is of this purpose, and that this is its first answer.
    fn answered(&self, sealed: &str, is_meant: impl Fn(&Purpose) -> bool) -> Result<(Kept, Transaction), Problem> {
        let kept = self.people().open::<Kept>(SEALED, sealed).filter(|kept| is_meant(&kept.purpose)).ok_or_else(not_asked)?;
        // Each takes a look at a signature.
        let wait = |wait| too_many(wait, "this answer was shown too often: begin again");
        self.0.attempts.answer(sealed, Instant::now()).map_err(wait)?;
        let once = self.people().once(sealed, now_s()).map_err(failed)?;
        Ok((kept, once))
    }

    /// What makes it found whose a passkey is from then on, where it is nobody's yet.
    async fn new_to_all(&self, also: Transaction, user: &str, passkey: &Passkey) -> Result<Transaction, Problem> {
        let (id, row) = (passkey.id(), rows::passkey(&passkey.id()));
        let owning = self.people().owning(also, row.clone(), user).await.map_err(failed)?;
        // Asked after what is checked was read.
        match self.holder(&row, |account| account.has_passkey(&id)).await? {
            Some(_) => Err(Problem::new(StatusCode::CONFLICT, "KnownAlready", "this passkey is somebody's already")),
            None => Ok(owning),
        }
    }
}

/// What was answered already is no answer any more.
fn once_only<T>(done: Result<T, Problem>) -> Result<T, Problem> {
    done.map_err(|problem| if problem.code == "Conflict" { not_asked() } else { problem })
}

/// What is said of a passkey.
fn said(named: &NamedPasskey) -> Value {
    json!({
        "id": named.passkey.id(), "name": named.name, "since": time(named.since_s), "usedAt": named.used_s.and_then(time),
        "synced": named.passkey.is_synced(),
    })
}

/// Says no more than that it lets nobody in.
fn unknown() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "Wrong", "this passkey is not known here, or is good no more: sign in otherwise")
}

fn full() -> Problem {
    Problem::new(StatusCode::CONFLICT, "TooMany", "you have as many passkeys as there may be: remove one")
}

fn refused(error: PasskeyError) -> Problem {
    match error {
        PasskeyError::Form(_) => Problem::bad(error.to_string()),
        PasskeyError::Ceremony => not_asked(),
        PasskeyError::Refused(_) | PasskeyError::Name(_) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "PasskeyRefused", error.to_string())
        }
        PasskeyError::Begin(_) | PasskeyError::Kept => {
            tracing::warn!(error = error_chain(&error), "failed to begin a passkey's ceremony");
            Problem::unavailable("this cannot be done now: try again in a few seconds")
        }
    }
}
