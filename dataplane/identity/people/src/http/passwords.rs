//! Signing in by a password, and changing it.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use eddy_authz::is_user_name;
use eddy_http::{FieldError, Problem};
use eddy_kv::Transaction;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::arrival::From;
use super::sessions::end_all;
use super::signed::{Signed, begin, from_this_site};
use super::{SignIn, failed, not_hashed, now_s};
use crate::account::Account;
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
    let found = state.user(&user)?.map(|(found, _)| found);
    let (kept, is_theirs) = state.is_password(&user, &user, found, &from, password).await?;
    let Some(found) = found.filter(|_| is_theirs) else { return Err(wrong()) };
    // It may have been changed while it was looked at.
    let proof = |account: &mut Account| Ok((account.password == kept).then_some(()));
    begin(&state, found, (Way::Password, &from), Transaction::new(), proof, |()| json!({}))
        .await?
        .map(IntoResponse::into_response)
        .ok_or_else(wrong)
}

/// Says no more than that something was not right.
pub(super) fn wrong() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "Wrong", "that is not right: check the name and what you typed")
}

pub(super) fn too_many(wait: Duration, detail: &str) -> Problem {
    Problem { retry_after_s: Some(wait.as_secs() + 1), ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "TooManyAttempts", detail) }
}

impl SignIn {
    /// Whether a password is a user's own, and the hash of that. Tries are counted under `counted`, and those that were right are not.
    async fn is_password(
        &self,
        counted: &str,
        name: &str,
        user: Option<UserRef<'_>>,
        from: &From,
        password: Hidden,
    ) -> Result<(Option<String>, bool), Problem> {
        let wait = |wait| too_many(wait, "this failed too often: try again later, or sign in otherwise");
        self.0.attempts.begin(counted, from.address, Instant::now()).map_err(wait)?;
        if password.len() > BYTES_MAX || !is_user_name(name) {
            return Ok((None, false));
        }
        // Whoever is nobody is looked for as well.
        let asked = user.unwrap_or(UserRef { name, since_s: i64::MIN });
        let looked = async {
            let kept = self.people().account(asked).await.map_err(failed)?.password;
            let is_theirs = self.0.passwords.is(password, kept.clone()).await.map_err(not_hashed)? && user.is_some();
            Ok((kept, is_theirs))
        };
        let (kept, is_theirs) = looked.await.inspect_err(|_: &Problem| {
            // Nobody looked.
            self.0.attempts.right(counted, from.address);
        })?;
        if is_theirs {
            self.0.attempts.right(counted, from.address);
        } else {
            tracing::info!(address = %from.address, "somebody was wrong about a password");
            self.failed_to_sign_in(asked, from);
        }
        Ok((kept, is_theirs))
    }

    /// Nobody needs to sign in all the time, and each time is told to every process.
    pub(super) fn not_too_often(&self, user: &str) -> Result<(), Problem> {
        let wait = |wait| too_many(wait, "this user signs in all the time: use a Token, or stay signed in");
        self.0.attempts.sign_in(user, Instant::now()).map_err(wait)
    }

    /// What is kept of a password.
    pub(super) async fn hash(&self, password: Hidden) -> Result<String, Problem> {
        self.0.passwords.hash(password).await.map_err(not_hashed)
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
    let hash = state.hash(new).await?;
    let change = |account: &mut Account| {
        account.set_password(hash.clone(), now_s());
        Ok(Some(()))
    };
    state.people().change_account(user, change).await.map_err(failed)?;
    tracing::info!(user = user.name, "changed their password");
    state.did(&signed, &from, "password.change", user.name);
    state.people().withdraw_invitation(user.name).await.map_err(failed)?;
    end_all(&state, &signed, &from, user.name, Some(&signed.session.id)).await
}

/// That it is really them: their password, or nothing from who has just signed in.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmed {
    #[serde(default)]
    pub(super) current: Option<Hidden>,
}

/// Does without a password from now on.
pub(super) async fn remove(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Json(Confirmed { current }): Json<Confirmed>,
) -> Result<Response, Problem> {
    state.confirm(&signed, &from, current).await?;
    let change = |account: &mut Account| Ok(account.password.take().map(drop));
    let removed = state.people().change_account(signed.user(), change).await.map_err(failed)?;
    match removed {
        Some(()) => {
            state.did(&signed, &from, "password.remove", &signed.session.user);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
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
        // Apart from what strangers try, who shall not keep them from it.
        let (_, is_theirs) = self.is_password(&signed.session.id, user.name, Some(user), from, current).await?;
        if is_theirs { Ok(()) } else { Err(wrong()) }
    }
}
