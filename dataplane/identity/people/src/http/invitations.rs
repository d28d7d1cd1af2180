//! Invitations: an administrator hands one out, and whoever has it chooses a password.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use eddy_http::Problem;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::arrival::From;
use super::passwords::good;
use super::sessions::administrator;
use super::signed::{Signed, begin, from_this_site, time};
use super::{SignIn, failed, now_s};
use crate::account::Account;
use crate::invitations::{Invitation, invite_link};
use crate::people::UserRef;
use crate::secret::Hidden;
use crate::session::Way;

/// Hands one out. What somebody signs in with until then goes on being good until it is taken.
pub(super) async fn invite(
    State(state): State<SignIn>,
    signed: Signed,
    Path(user): Path<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    administrator(&signed, &user)?;
    let (user, _) = state.user(&user)?.ok_or_else(|| Problem::not_found(format!("user {user:?}")))?;
    let expires_s = now_s() + state.0.options.invitation_hours * 3600;
    let secret = state.people().invite(user, &signed.session.user, expires_s).await.map_err(failed)?;
    tracing::info!(user = user.name, by = signed.session.user, "handed out an invitation");
    let link = invite_link(&state.0.options.platform_url, &secret);
    Ok((StatusCode::CREATED, Json(json!({"invitation": secret, "link": link, "expiresAt": time(expires_s)}))))
}

#[derive(Deserialize)]
pub(super) struct Asked {
    invitation: String,
}

/// Whom it is for.
pub(super) async fn shown(State(state): State<SignIn>, from: From, Query(asked): Query<Asked>) -> Result<Json<Value>, Problem> {
    state.try_again(None, &from)?;
    let invitation = state.good_invitation(&asked.invitation, &from).await?;
    Ok(Json(json!({"user": invitation.user, "by": invitation.by, "expiresAt": time(invitation.expires_s)})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    invitation: String,
    password: Hidden,
}

/// Takes it: a password, recovery codes, and a session. All sessions that there were end, as does whatever else signed in.
pub(super) async fn accept(
    State(state): State<SignIn>,
    from: From,
    headers: HeaderMap,
    Json(Accepted { invitation: secret, password }): Json<Accepted>,
) -> Result<Response, Problem> {
    from_this_site(&headers)?;
    state.try_again(None, &from)?;
    let invitation = state.good_invitation(&secret, &from).await?;
    let user = UserRef { name: &invitation.user, since_s: invitation.user_since_s };
    good(user.name, &password)?;
    if !state.people().take_invitation(&secret).await.map_err(failed)? {
        return Err(gone());
    }
    state.set_password(user, password).await?;
    let draw = |account: &mut Account| Ok(Some(account.draw_recovery_codes()?));
    let codes = state.people().change_account(user, draw).await.map_err(failed)?.unwrap_or_default();
    let ended = state.people().end_all(user.name, None).await.map_err(failed)?;
    state.told(&ended, false).await;
    begin(&state, user.name, from.by(Way::Invitation), json!({"recoveryCodes": codes})).await
}

impl SignIn {
    async fn good_invitation(&self, secret: &str, from: &From) -> Result<Invitation, Problem> {
        let found = self.people().invitation(secret, now_s()).await.map_err(failed)?;
        let is_theirs = |invitation: &Invitation| match self.user(&invitation.user) {
            Ok(user) => Ok(user.is_some_and(|(user, _)| user.since_s == invitation.user_since_s)),
            Err(problem) => Err(problem),
        };
        match found {
            Some(invitation) if is_theirs(&invitation)? => Ok(invitation),
            _ => {
                self.wrong(None, from);
                Err(gone())
            }
        }
    }
}

fn gone() -> Problem {
    Problem::not_found("such invitation: it was taken, or is too old; ask for another")
}
