//! Who has signed in: asked of the store itself, so that a session that has ended has ended here at once.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use eddy_audit::Outcome;
use eddy_authz::SESSION_COOKIE;
use eddy_http::{NotShown, Problem, Shown, is_same_origin};
use eddy_kv::Transaction;
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::arrival::From;
use super::{SignIn, failed, now_s};
use crate::account::Account;
use crate::people::UserRef;
use crate::rows::PeopleError;
use crate::session::{Arrival, Session, Way};

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
        let has_shown = match self.session.way {
            Way::Device => false,
            // Whom a provider still knows from before shows nothing.
            Way::Provider => self.session.provider.as_ref().is_some_and(|provider| provider.anew),
            Way::Password | Way::RecoveryCode | Way::Invitation | Way::Passkey => true,
        };
        has_shown && now_s() < self.session.began_s + RECENT_S
    }
}

impl FromRequestParts<SignIn> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &SignIn) -> Result<Self, Problem> {
        let secret = Shown::of(&parts.method, &parts.headers)?.secret;
        let session = state.people().session(secret.id()).await.map_err(failed)?;
        let session = session.filter(|session| session.is_shown_by(&secret, now_s())).ok_or_else(unauthorized)?;
        let (is_admin, since_s) = match state.user(&session.user)? {
            Some((_, user)) if user.since_s <= session.began_s => (user.admin || session.is_admin(), user.since_s),
            _ => return Err(unauthorized()),
        };
        Ok(Self { session, is_admin, since_s })
    }
}

pub(super) fn unauthorized() -> Problem {
    NotShown::Nothing.into()
}

/// A page of another site could sign its visitors in as somebody else.
pub(super) fn from_this_site(headers: &HeaderMap) -> Result<(), Problem> {
    let is_of_a_browser = headers.contains_key("sec-fetch-site") || headers.contains_key("origin");
    if is_of_a_browser && !is_same_origin(headers) {
        return Err(NotShown::OfAnotherSite.into());
    }
    Ok(())
}

/// A session that has begun.
pub(super) struct Begun {
    pub(super) id: String,
    /// What browsers show from then on, and their scripts cannot read.
    pub(super) cookie: HeaderValue,
    said: Value,
}

impl IntoResponse for Begun {
    fn into_response(self) -> Response {
        ([(SET_COOKIE, self.cookie)], Json(self.said)).into_response()
    }
}

/// Begins a session for as long as they last, and answers with it; see [`begin_for`].
pub(super) async fn begin<T>(
    state: &SignIn,
    user: UserRef<'_>,
    (way, from): (Way, &From),
    also: Transaction,
    proof: impl FnMut(&mut Account) -> Result<Option<T>, PeopleError>,
    more: impl FnOnce(T) -> Value,
) -> Result<Option<Begun>, Problem> {
    begin_for(state.session_s(), state, user, (from.by(way), from), also, proof)
        .await
        .map(|begun| begun.map(|(begun, proven)| begun.saying(more(proven))))
}

impl Begun {
    /// The same with what is said besides.
    pub(super) fn saying(mut self, more: Value) -> Self {
        if let (Some(said), Value::Object(more)) = (self.said.as_object_mut(), more) {
            said.extend(more);
        }
        self
    }
}

/// Begins a session, where `proof` finds that it is them (see `People::begin`).
pub(super) async fn begin_for<T>(
    lasts_s: i64,
    state: &SignIn,
    user: UserRef<'_>,
    (arrival, from): (Arrival, &From),
    also: Transaction,
    proof: impl FnMut(&mut Account) -> Result<Option<T>, PeopleError>,
) -> Result<Option<(Begun, T)>, Problem> {
    state.not_too_often(user.name)?;
    let begun = state.people().begin(user, arrival, (now_s(), lasts_s), also, proof).await.map_err(failed)?;
    let Some((session, secret, proven)) = begun else { return Ok(None) };
    tracing::info!(user = user.name, session = session.id, way = ?session.way, "signed in");
    state.record(user.name, from, "session.begin", user.name, Outcome::Done, "");
    state.told(std::slice::from_ref(&session.id), true).await;
    let said = about(&session, Some(&session.id));
    Ok(Some((Begun { id: session.id, cookie: cookie(secret.expose(), lasts_s), said }, proven)))
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
        "provider": session.provider.as_ref().map(|provider| &provider.name), "passkey": session.passkey,
    })
}

pub(super) fn time(second: i64) -> Option<String> {
    jiff::Timestamp::from_second(second).ok().map(|time| time.to_string())
}
