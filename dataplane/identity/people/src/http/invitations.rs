//! Invitations: an administrator hands one out, and whoever has it chooses a password.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use eddy_http::Problem;
use eddy_kv::{Transaction, Value as Read};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::arrival::From;
use super::passwords::{Confirmed, good};
use super::providers::joined;
use super::sessions::administrator;
use super::signed::{Signed, begin_for, from_this_site, time};
use super::{HEARD_WITHIN, SignIn, failed, heard, now_s};
use crate::account::Account;
use crate::invitations::{Invitation, invite_link, taken};
use crate::people::UserRef;
use crate::secret::Hidden;
use crate::session::{Arrival, Way};

/// Hands one out, in the place of the one before. Whoever has it can be that user: it must really be an administrator who asks.
pub(super) async fn invite(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Path(user): Path<String>,
    Json(Confirmed { current }): Json<Confirmed>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    administrator(&signed, &user)?;
    state.confirm(&signed, &from, current).await?;
    let (user, _) = state.user(&user)?.ok_or_else(|| Problem::not_found(format!("user {user:?}")))?;
    let expires_s = now_s() + state.0.options.invitation_hours * 3600;
    let session = signed.session.is_admin().then_some(&*signed.session.id);
    let secret = state.people().invite(user, (&signed.session.user, session), expires_s).await.map_err(failed)?;
    tracing::info!(user = user.name, by = signed.session.user, "handed out an invitation");
    state.did(&signed, &from, "invitation.create", user.name);
    let link = invite_link(&state.0.options.platform_url, &secret);
    Ok((StatusCode::CREATED, Json(json!({"invitation": secret, "link": link, "expiresAt": time(expires_s)}))))
}

#[derive(Deserialize)]
pub(super) struct Asked {
    invitation: Hidden,
}

/// Whom it is for.
pub(super) async fn shown(State(state): State<SignIn>, Query(asked): Query<Asked>) -> Result<Json<Value>, Problem> {
    let (invitation, _) = state.good_invitation(&asked.invitation).await?;
    Ok(Json(json!({"user": invitation.user, "by": invitation.by, "expiresAt": time(invitation.expires_s)})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    invitation: Hidden,
    password: Hidden,
}

/// Takes it: a password, recovery codes, and a session, all at once or nothing. All other sessions end.
pub(super) async fn accept(
    State(state): State<SignIn>,
    from: From,
    headers: HeaderMap,
    Json(Accepted { invitation: secret, password }): Json<Accepted>,
) -> Result<Response, Problem> {
    from_this_site(&headers)?;
    let (invitation, read) = state.good_invitation(&secret).await?;
    good(&invitation.user, &password)?;
    let hash = state.hash(password).await?;
    let set = |account: &mut Account| account.set_password(hash.clone(), now_s());
    take(&state, (&invitation, &read), (from.by(Way::Invitation), &from), Transaction::new(), set).await
}

/// Takes an invitation by what `set` lets its user sign in by from then on, and draws recovery codes.
pub(super) async fn take(
    state: &SignIn,
    (invitation, read): (&Invitation, &Read),
    (arrival, from): (Arrival, &From),
    also: Transaction,
    set: impl Fn(&mut Account),
) -> Result<Response, Problem> {
    let user = UserRef { name: &invitation.user, since_s: invitation.user_since_s };
    let proof = |account: &mut Account| {
        account.begin_anew();
        set(account);
        Ok(Some(account.draw_recovery_codes()?))
    };
    let also = joined(also, taken(user.name, read));
    let begun = match begin_for(state.session_s(), state, user, (arrival, from), also, proof).await {
        // Another took it.
        Err(problem) if problem.code == "Conflict" => return Err(gone()),
        begun => begun?,
    };
    let (begun, codes) = begun.ok_or_else(gone)?;
    let begun = begun.saying(json!({"recoveryCodes": codes}));
    state.end_others(user.name, &begun.id).await?;
    Ok(begun.into_response())
}

impl SignIn {
    /// Ends what was begun by what an invitation has replaced.
    pub(super) async fn end_others(&self, user: &str, but: &str) -> Result<(), Problem> {
        let ended = self.people().end_all(user, Some(but)).await.map_err(failed)?;
        self.told(&ended, false).await;
        Ok(())
    }

    pub(super) async fn good_invitation(&self, secret: &str) -> Result<(Invitation, Read), Problem> {
        let (invitation, read) = self.people().invitation(secret, now_s()).await.map_err(failed)?.ok_or_else(gone)?;
        // Whoever was invited as soon as they were a user may be here before this process has heard of them.
        let since_s = |user: eddy_authz::UserEntry| user.since_s;
        let is_known = || self.0.feed.permissions().user(&invitation.user).map(since_s) >= Some(invitation.user_since_s);
        heard(HEARD_WITHIN, is_known).await;
        let is_theirs = self.user(&invitation.user)?.is_some_and(|(user, _)| user.since_s == invitation.user_since_s);
        let is_good = is_theirs && self.is_from_administrator(&invitation).await?;
        if is_good { Ok((invitation, read)) } else { Err(gone()) }
    }

    /// Who is no administrator any more invites nobody: by their User, or by the session that they did it in, which a provider made one's.
    async fn is_from_administrator(&self, invitation: &Invitation) -> Result<bool, Problem> {
        let by = &*invitation.by;
        if by.is_empty() {
            return Ok(true);
        }
        let Some((_, user)) = self.user(by)? else { return Ok(false) };
        let Some(id) = invitation.session.as_deref().filter(|_| !user.admin) else { return Ok(user.admin) };
        let session = self.people().session(id).await.map_err(failed)?;
        Ok(session.is_some_and(|session| session.is_admin() && session.user == by && now_s() < session.expires_s))
    }
}

pub(super) fn gone() -> Problem {
    Problem::not_found("such invitation: it was taken, or is too old; ask for another")
}
