//! Signing in by a password, and changing it.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use eddy_http::{FieldError, Problem};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::arrival::From;
use super::sessions::end_all;
use super::signed::{Signed, begin, from_this_site};
use super::{SignIn, failed, not_hashed, now_s};
use crate::password::{self, BYTES_MAX};
use crate::people::UserRef;
use crate::secret::Hidden;
use crate::session::Way;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    user: String,
    password: Hidden,
}

/// Whoever has no password here, is no user, or is suspended is told the same, after the same time.
pub(super) async fn sign_in(
    State(state): State<SignIn>,
    from: From,
    headers: HeaderMap,
    Json(Shown { user, password }): Json<Shown>,
) -> Result<Response, Problem> {
    from_this_site(&headers)?;
    state.try_again(Some(&user), &from)?;
    let found = state.user(&user)?;
    let kept = match &found {
        Some((found, _)) => state.people().account(*found).await.map_err(failed)?.password,
        None => None,
    };
    let is_theirs = password.len() <= BYTES_MAX && state.0.passwords.is(password, kept).await.map_err(not_hashed)?;
    match found {
        Some((found, _)) if is_theirs => begin(&state, found.name, from.by(Way::Password), json!({})).await,
        _ => Err(state.wrong(Some(&user), &from)),
    }
}

impl SignIn {
    /// Whether they may try at all, or have to wait first.
    pub(super) fn try_again(&self, user: Option<&str>, from: &From) -> Result<(), Problem> {
        let Err(wait) = self.0.attempts.check(user, from.address, Instant::now()) else { return Ok(()) };
        let detail = "this failed too often: try again later, or sign in otherwise";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "TooManyAttempts", detail);
        Err(Problem { retry_after_s: Some(wait.as_secs() + 1), ..problem })
    }

    /// Counts what was wrong, and says no more than that it was.
    pub(super) fn wrong(&self, user: Option<&str>, from: &From) -> Problem {
        self.0.attempts.failed(user, from.address, Instant::now());
        tracing::info!(address = %from.address, "somebody failed to sign in");
        Problem::new(StatusCode::UNAUTHORIZED, "Wrong", "that is not right: check the name and what you typed")
    }

    /// Sets a user's password.
    pub(super) async fn set_password(&self, user: UserRef<'_>, new: Hidden) -> Result<(), Problem> {
        let hash = self.0.passwords.hash(new).await.map_err(not_hashed)?;
        let change = |account: &mut crate::account::Account| {
            account.password = Some(hash.clone());
            account.password_set_s = now_s();
            Ok(Some(()))
        };
        self.people().change_account(user, change).await.map_err(failed).map(drop)
    }
}

/// A password that may be one.
pub(super) fn good(user: &str, password: &str) -> Result<(), Problem> {
    password::check(user, password).map_err(|weak| {
        let errors = vec![FieldError { field: "password".into(), message: weak.to_string() }];
        Problem { errors, ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "WeakPassword", weak.to_string()) }
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changed {
    /// The one until now; none if they have just signed in otherwise, or have none.
    current: Option<Hidden>,
    new: Hidden,
}

/// Sets another password, and ends all other sessions.
pub(super) async fn change(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Json(Changed { current, new }): Json<Changed>,
) -> Result<Response, Problem> {
    let user = signed.user();
    good(user.name, &new)?;
    state.confirm(&signed, &from, current).await?;
    state.set_password(user, new).await?;
    tracing::info!(user = user.name, "changed their password");
    end_all(&state, user.name, Some(&signed.session.id)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmed {
    current: Option<Hidden>,
}

/// Does without a password from now on.
pub(super) async fn remove(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Json(Confirmed { current }): Json<Confirmed>,
) -> Result<Response, Problem> {
    state.confirm(&signed, &from, current).await?;
    let change = |account: &mut crate::account::Account| Ok(account.password.take().map(drop));
    let removed = state.people().change_account(signed.user(), change).await.map_err(failed)?;
    match removed {
        Some(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        None => Err(Problem::not_found("password")),
    }
}

impl SignIn {
    /// That it is really them: they have just signed in, or say their password.
    pub(super) async fn confirm(&self, signed: &Signed, from: &From, current: Option<Hidden>) -> Result<(), Problem> {
        let user = signed.user();
        let Some(current) = current else {
            if signed.is_recent() {
                return Ok(());
            }
            let detail = "say your current password, or sign in again: this is asked of whoever signed in a while ago";
            return Err(Problem::new(StatusCode::FORBIDDEN, "SignInAgain", detail));
        };
        self.try_again(Some(user.name), from)?;
        let kept = self.people().account(user).await.map_err(failed)?.password;
        let is_theirs = current.len() <= BYTES_MAX && self.0.passwords.is(current, kept).await.map_err(not_hashed)?;
        if is_theirs { Ok(()) } else { Err(self.wrong(Some(user.name), from)) }
    }
}
