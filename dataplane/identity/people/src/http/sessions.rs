//! Sessions: one's own, and for administrators those of others.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use eddy_authz::is_user_name;
use eddy_http::Problem;
use http::StatusCode;
use http::header::SET_COOKIE;
use serde_json::{Value, json};

use super::arrival::From;
use super::signed::{Signed, about, no_cookie};
use super::{SignIn, failed, now_s};

pub(super) async fn own(signed: Signed) -> Json<Value> {
    let mut said = about(&signed.session, Some(&signed.session.id));
    said["admin"] = json!(signed.is_admin);
    Json(said)
}

pub(super) async fn sign_out(State(state): State<SignIn>, signed: Signed, from: From) -> Result<Response, Problem> {
    let (user, id) = (&signed.session.user, &signed.session.id);
    let ended = end_one(&state, &signed, &from, user, id).await?;
    Ok(([(SET_COOKIE, no_cookie())], ended).into_response())
}

pub(super) async fn list(State(state): State<SignIn>, signed: Signed) -> Result<Json<Value>, Problem> {
    listed(&state, &signed.session.user, Some(&signed.session.id)).await
}

pub(super) async fn end(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    end_one(&state, &signed, &from, &signed.session.user, &id).await
}

pub(super) async fn end_others(State(state): State<SignIn>, signed: Signed, from: From) -> Result<Response, Problem> {
    end_all(&state, &signed, &from, &signed.session.user, Some(&signed.session.id)).await
}

pub(super) async fn list_of(
    State(state): State<SignIn>,
    signed: Signed,
    Path(user): Path<String>,
) -> Result<Json<Value>, Problem> {
    administrator(&signed, &user)?;
    listed(&state, &user, None).await
}

pub(super) async fn end_of(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Path((user, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    administrator(&signed, &user)?;
    end_one(&state, &signed, &from, &user, &id).await
}

pub(super) async fn end_all_of(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Path(user): Path<String>,
) -> Result<Response, Problem> {
    administrator(&signed, &user)?;
    state.people().withdraw_invitation(&user).await.map_err(failed)?;
    end_all(&state, &signed, &from, &user, None).await
}

/// Others are told that there is nobody of that name.
pub(super) fn administrator(signed: &Signed, user: &str) -> Result<(), Problem> {
    match signed.is_admin && is_user_name(user) {
        true => Ok(()),
        false => Err(Problem::not_found(format!("user {user:?}"))),
    }
}

async fn listed(state: &SignIn, user: &str, own: Option<&str>) -> Result<Json<Value>, Problem> {
    let mut sessions = state.people().sessions_of(user).await.map_err(failed)?;
    sessions.retain(|session| now_s() < session.expires_s);
    sessions.sort_by_key(|session| std::cmp::Reverse(session.began_s));
    Ok(Json(json!({"items": sessions.iter().map(|session| about(session, own)).collect::<Vec<_>>()})))
}

async fn end_one(state: &SignIn, signed: &Signed, from: &From, user: &str, id: &str) -> Result<Response, Problem> {
    if !state.people().end(user, id).await.map_err(failed)? {
        return Err(Problem::not_found("such session"));
    }
    ended(state, signed, from, user, &[id.to_owned()]).await
}

pub(super) async fn end_all(
    state: &SignIn,
    signed: &Signed,
    from: &From,
    user: &str,
    but: Option<&str>,
) -> Result<Response, Problem> {
    let ids = state.people().end_all(user, but).await.map_err(failed)?;
    ended(state, signed, from, user, &ids).await
}

/// 200 once every process is told, 202 if that takes longer.
async fn ended(state: &SignIn, signed: &Signed, from: &From, user: &str, ids: &[String]) -> Result<Response, Problem> {
    if !ids.is_empty() {
        state.did(signed, from, "session.end", user);
    }
    let told = state.told(ids, false).await;
    tracing::info!(user, sessions = ids.len(), told, "signed out");
    let status = if told { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(json!({"ended": ids}))).into_response())
}
