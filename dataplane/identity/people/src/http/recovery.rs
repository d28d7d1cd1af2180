//! Codes for when everything else is lost: each signs in once.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use eddy_authz::is_user_name;
use eddy_http::Problem;
use eddy_kv::Transaction;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arrival::From;
use super::passwords::{Confirmed, wrong};
use super::signed::{Signed, begin, from_this_site};
use super::{SignIn, failed};
use crate::account::Account;
use crate::people::UserRef;
use crate::secret::Hidden;
use crate::session::Way;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    user: String,
    code: Hidden,
}

pub(super) async fn sign_in(
    State(state): State<SignIn>,
    from: From,
    headers: HeaderMap,
    Json(Shown { user, code }): Json<Shown>,
) -> Result<Response, Problem> {
    from_this_site(&headers)?;
    let found = state.user(&user)?.map(|(found, _)| found);
    // Whoever is nobody is looked for as well. No code is ever guessed, so that tries are not counted.
    let asked = found.unwrap_or(UserRef { name: &user, since_s: i64::MIN });
    let known = is_user_name(&user) && state.people().account(asked).await.map_err(failed)?.has_recovery_code(&code);
    let Some(found) = found.filter(|_| known) else {
        state.failed_to_sign_in(asked, &from);
        return Err(wrong());
    };
    let proof = |account: &mut Account| {
        let used = account.use_recovery_code(&code);
        Ok(used.then_some(account.recovery.len()))
    };
    let more = |left| json!({"codesLeft": left});
    begin(&state, found, (Way::RecoveryCode, &from), Transaction::new(), proof, more)
        .await?
        .map(IntoResponse::into_response)
        .ok_or_else(wrong)
}

pub(super) async fn count(State(state): State<SignIn>, signed: Signed) -> Result<Json<Value>, Problem> {
    let account = state.people().account(signed.user()).await.map_err(failed)?;
    Ok(Json(json!({"codesLeft": account.recovery.len(), "hasPassword": account.password.is_some()})))
}

/// Draws codes in the place of all; they are said this once.
pub(super) async fn draw(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Json(Confirmed { current }): Json<Confirmed>,
) -> Result<Json<Value>, Problem> {
    state.confirm(&signed, &from, current).await?;
    let draw = |account: &mut Account| Ok(Some(account.draw_recovery_codes()?));
    let codes = state.people().change_account(signed.user(), draw).await.map_err(failed)?.unwrap_or_default();
    tracing::info!(user = signed.session.user, "drew recovery codes");
    state.did(&signed, &from, "recovery-codes.draw", &signed.session.user);
    Ok(Json(json!({"codes": codes})))
}
