//! Who has signed in: asked of the store itself, so that a session that has ended has ended here at once.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use eddy_audit::Outcome;
use eddy_authz::{Credential, SESSION_COOKIE, Token, session_of_cookies};
use eddy_http::{Problem, is_same_origin};
use eddy_kv::Transaction;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::arrival::From;
use super::{SignIn, failed, now_s};
use crate::account::Account;
use crate::people::UserRef;
use crate::rows::PeopleError;
use crate::session::{Session, Way};

/// Somebody who has signed in. A Token is not enough: whoever it was given to shall not be able to take over whose it is.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) session: Session,
    pub(super) is_admin: bool,
    pub(super) since_s: i64,
}

impl Signed {
    pub(super) fn user(&self) -> UserRef<'_> {
        UserRef { name: &self.session.user, since_s: self.since_s }
    }

    /// Whether they showed who they are not long ago, and not by letting a program in.
    pub(super) fn is_recent(&self) -> bool {
        const RECENT_S: i64 = 10 * 60;
        self.session.way != crate::session::Way::Device && now_s() < self.session.began_s + RECENT_S
    }
}

impl FromRequestParts<SignIn> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &SignIn) -> Result<Self, Problem> {
        let secret = shown(parts)?;
        let session = state.people().session(secret.id()).await.map_err(failed)?;
        let session = session.filter(|session| session.is_shown_by(&secret, now_s())).ok_or_else(unauthorized)?;
        let (is_admin, since_s) = match state.user(&session.user)? {
            Some((_, user)) if user.since_s <= session.began_s => (user.admin, user.since_s),
            _ => return Err(unauthorized()),
        };
        Ok(Self { session, is_admin, since_s })
    }
}

fn shown(parts: &Parts) -> Result<Token, Problem> {
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    match (headers.next(), headers.next()) {
        (Some(header), None) => {
            Credential::of_header(header.as_bytes()).and_then(|credential| credential.into_token().0).ok_or_else(unauthorized)
        }
        (None, _) => {
            let cookies = parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
            let secret = session_of_cookies(cookies).ok_or_else(unauthorized)?;
            if !parts.method.is_safe() && !is_same_origin(&parts.headers) {
                return Err(Problem::forbidden("a page of another site asks for this"));
            }
            Ok(secret)
        }
        _ => Err(unauthorized()),
    }
}

pub(super) fn unauthorized() -> Problem {
    Problem::unauthorized("sign in first")
}

/// A page of another site could sign its visitors in as somebody else.
pub(super) fn from_this_site(headers: &HeaderMap) -> Result<(), Problem> {
    let is_of_a_browser = headers.contains_key("sec-fetch-site") || headers.contains_key("origin");
    if is_of_a_browser && !is_same_origin(headers) {
        return Err(Problem::forbidden("a page of another site asks for this"));
    }
    Ok(())
}

/// A session that has begun.
pub(super) struct Begun {
    pub(super) id: String,
    /// What whoever asked is answered.
    pub(super) response: Response,
}

/// Begins a session, where `proof` finds that it is them (see `People::begin`), and answers with it: a cookie for browsers, which their scripts
/// cannot read. `more` is said besides, of what the proof said.
pub(super) async fn begin<T>(
    state: &SignIn,
    user: UserRef<'_>,
    (way, from): (Way, &From),
    also: Transaction,
    proof: impl FnMut(&mut Account) -> Result<Option<T>, PeopleError>,
    more: impl FnOnce(T) -> Value,
) -> Result<Option<Begun>, Problem> {
    state.not_too_often(user.name)?;
    let lasts_s = state.0.options.session_days * super::DAY_S;
    let begun = state.people().begin(user, from.by(way), (now_s(), lasts_s), also, proof).await.map_err(failed)?;
    let Some((session, secret, proven)) = begun else { return Ok(None) };
    tracing::info!(user = user.name, session = session.id, way = ?session.way, "signed in");
    state.record(user.name, from, "session.begin", user.name, Outcome::Done, "");
    state.told(std::slice::from_ref(&session.id), true).await;
    let mut said = about(&session, Some(&session.id));
    if let (Some(said), Value::Object(more)) = (said.as_object_mut(), more(proven)) {
        said.extend(more);
    }
    let cookie = cookie(secret.expose(), lasts_s);
    Ok(Some(Begun { id: session.id, response: ([(SET_COOKIE, cookie)], Json(said)).into_response() }))
}

/// `Lax` lets links from elsewhere find one signed in; what changes anything asks where it comes from besides.
fn cookie(secret: &str, lasts_s: i64) -> HeaderValue {
    let text = format!("{SESSION_COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={lasts_s}");
    let mut cookie = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    cookie.set_sensitive(true);
    cookie
}

/// Takes the cookie away.
pub(super) fn no_cookie() -> HeaderValue {
    cookie("", 0)
}

/// What is said of a session; nothing that it could be shown by.
pub(super) fn about(session: &Session, own: Option<&str>) -> Value {
    json!({
        "id": session.id, "user": session.user, "way": session.way, "beganAt": time(session.began_s), "expiresAt": time(session.expires_s),
        "address": session.address, "client": session.client, "isThis": own == Some(&*session.id),
    })
}

pub(super) fn time(second: i64) -> Option<String> {
    jiff::Timestamp::from_second(second).ok().map(|time| time.to_string())
}
