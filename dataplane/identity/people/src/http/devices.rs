//! Letting a program in from elsewhere (RFC 8628), as the CLI is.

use std::time::Instant;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Form, Json};
use eddy_audit::Outcome;
use eddy_http::Problem;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::arrival::From;
use super::passwords::too_many;
use super::signed::{Signed, from_this_site, time};
use super::{DAY_S, SignIn, failed, now_s};
use crate::devices::{ASKS_EVERY_S, Allowed, Answer, WAITS_S};
use crate::rows::PeopleError;
use crate::secret::Hidden;
use crate::session::Session;

/// What grants of this kind are called (RFC 8628, 3.4).
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

#[derive(Deserialize)]
pub(super) struct Begun {
    /// What the program says of itself, for its user to recognise.
    #[serde(default)]
    client_id: String,
}

pub(super) async fn begin(
    State(state): State<SignIn>,
    from: From,
    headers: HeaderMap,
    Form(begun): Form<Begun>,
) -> Result<Response, Problem> {
    from_this_site(&headers)?;
    state.not_too_many_devices(&from)?;
    let client = if begun.client_id.is_empty() { &from.client } else { &begun.client_id };
    let begun = state.people().begin_device(client, Some(from.address), now_s()).await.map_err(failed)?;
    let (secret, code) =
        begun.ok_or_else(|| Problem::unavailable("too many programs wait to be let in: try again in some minutes"))?;
    let uri = format!("{}/auth/device", state.0.options.platform_url);
    Ok(secretive(
        StatusCode::OK,
        json!({
            "device_code": secret, "user_code": code, "verification_uri": uri, "verification_uri_complete": format!("{uri}#{code}"),
            "expires_in": WAITS_S, "interval": ASKS_EVERY_S,
        }),
    ))
}

#[derive(Deserialize)]
pub(super) struct Asked {
    grant_type: String,
    device_code: Hidden,
}

/// Errors are those of the RFC, as its clients expect them.
pub(super) async fn ask(State(state): State<SignIn>, from: From, Form(asked): Form<Asked>) -> Result<Response, Problem> {
    let refused = |code: &str| Ok(secretive(StatusCode::BAD_REQUEST, json!({"error": code})));
    if asked.grant_type != GRANT {
        return refused("unsupported_grant_type");
    }
    let lasts_s = state.0.options.device_days * DAY_S;
    let waiting = match state.people().ask_device(&asked.device_code, now_s()).await.map_err(failed)? {
        Answer::Wait => return refused("authorization_pending"),
        Answer::Denied => return refused("access_denied"),
        Answer::Gone => return refused("expired_token"),
        Answer::LetIn(waiting) => waiting,
    };
    let is_theirs = state.user(&waiting.by.user)?.is_some_and(|(user, _)| user.since_s == waiting.by.user_since_s);
    if !is_theirs {
        return refused("access_denied");
    }
    state.not_too_often(&waiting.by.user)?;
    let Some((session, secret)) = state.people().let_in(*waiting, now_s(), lasts_s).await.map_err(failed)? else {
        return refused("expired_token");
    };
    tracing::info!(user = session.user, session = session.id, "a program was let in");
    state.record(&session.user, &from, "session.begin", &session.user, Outcome::Done, "");
    state.told(std::slice::from_ref(&session.id), true).await;
    let said = json!({
        "access_token": secret.expose(), "token_type": "Bearer", "expires_in": lasts_s, "user": session.user, "session": session.id,
    });
    Ok(secretive(StatusCode::OK, said))
}

/// What its user is to recognise.
pub(super) async fn shown(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Path(code): Path<String>,
) -> Result<Json<Value>, Problem> {
    let device = state.guessed(&signed, &from, state.people().device(&code, now_s())).await?;
    Ok(Json(json!({"client": device.client, "address": device.address, "expiresAt": time(device.expires_s)})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided {
    allow: bool,
}

/// A program that was let in lets no others in: whoever has its secret shall not be able to stay when it is taken back.
pub(super) async fn decide(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Path(code): Path<String>,
    Json(Decided { allow }): Json<Decided>,
) -> Result<StatusCode, Problem> {
    if signed.session.way == crate::session::Way::Device {
        return Err(Problem::forbidden("sign in with a browser to let a program in"));
    }
    let Session { id, user, .. } = &signed.session;
    let by = Allowed { user: user.clone(), user_since_s: signed.since_s, session: id.clone() };
    let decided =
        async { state.people().decide_device(&code, allow.then_some(by), now_s()).await.map(|done| done.then_some(())) };
    state.guessed(&signed, &from, decided).await?;
    state.did(&signed, &from, if allow { "device.allow" } else { "device.refuse" }, user);
    Ok(StatusCode::NO_CONTENT)
}

impl SignIn {
    /// What a code leads to that somebody types who has signed in. Wrong ones are counted, so that nobody finds another's by guessing.
    async fn guessed<T>(
        &self,
        signed: &Signed,
        from: &From,
        found: impl Future<Output = Result<Option<T>, PeopleError>>,
    ) -> Result<T, Problem> {
        // Apart from passwords, which strangers try.
        let counted = format!("code of {}", signed.session.user);
        let wait = |wait| too_many(wait, "too many codes were wrong: try again later");
        self.0.attempts.begin(&counted, from.address, Instant::now()).map_err(wait)?;
        let found = found.await.map_err(failed)?.ok_or_else(gone)?;
        self.0.attempts.right(&counted, from.address);
        Ok(found)
    }

    /// Nobody needs many programs at once.
    fn not_too_many_devices(&self, from: &From) -> Result<(), Problem> {
        let wait = |wait| too_many(wait, "too many programs of this address wait to be let in: try again later");
        self.0.attempts.device(from.address, Instant::now()).map_err(wait)
    }
}

fn gone() -> Problem {
    Problem::not_found("program that waits with this code: begin anew")
}

/// Nobody keeps what secrets are in (RFC 6749, 5.1).
fn secretive(status: StatusCode, said: Value) -> Response {
    (status, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(said)).into_response()
}
