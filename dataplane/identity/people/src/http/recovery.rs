//! Codes for when everything else is lost: each signs in once.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use eddy_http::Problem;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arrival::From;
use super::signed::{Signed, begin, from_this_site};
use super::{SignIn, failed};
use crate::account::Account;
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
    state.try_again(None, &from)?;
    let found = state.user(&user)?;
    let used = match &found {
        Some((found, _)) => {
            let use_up = |account: &mut Account| {
                let used = account.use_recovery_code(&code);
                Ok(used.then_some(account.recovery.len()))
            };
            state.people().change_account(*found, use_up).await.map_err(failed)?
        }
        None => None,
    };
    match (found, used) {
        (Some((found, _)), Some(left)) => begin(&state, found.name, from.by(Way::RecoveryCode), json!({"codesLeft": left})).await,
        _ => Err(state.wrong(None, &from)),
    }
}

pub(super) async fn count(State(state): State<SignIn>, signed: Signed) -> Result<Json<Value>, Problem> {
    let account = state.people().account(signed.user()).await.map_err(failed)?;
    Ok(Json(json!({"codesLeft": account.recovery.len(), "hasPassword": account.password.is_some()})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmed {
    current: Option<Hidden>,
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
    Ok(Json(json!({"codes": codes})))
}
