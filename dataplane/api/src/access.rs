//! Who asks, and whether what they ask for is theirs to see or change.

use axum::extract::FromRequestParts;
use eddy_authz::feed::Feed;
use eddy_authz::{Action, Credential, Principal, Refused, Resource, session_of_cookies};
use eddy_http::is_same_origin;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use crate::kinds::ServedKind;
use crate::problem::{Problem, of_refused, unauthorized};
use crate::router::Api;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Principal);

/// What is asked for: an object of a kind, or, without a name, all of them or one to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) kind: &'a ServedKind,
    /// Whose it is; of all if empty.
    pub(crate) tenant: &'a str,
    pub(crate) name: &'a str,
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        Self::of(&parts.method, &parts.headers, api.feed())
    }
}

impl Caller {
    /// Who shows these headers: a token, or, from a page of this site, that they have signed in.
    pub(crate) fn of(method: &Method, headers: &HeaderMap, feed: &Feed) -> Result<Self, Problem> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let token = match (shown.next(), shown.next()) {
            (Some(header), None) => Credential::of_header(header.as_bytes()).and_then(|credential| credential.into_token().0),
            (None, _) => return Self::of_cookie(method, headers, feed),
            _ => None,
        };
        feed.authenticate(&token.ok_or_else(unauthorized)?).map(Self).map_err(of_refused)
    }

    fn of_cookie(method: &Method, headers: &HeaderMap, feed: &Feed) -> Result<Self, Problem> {
        let cookies = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        let secret = session_of_cookies(cookies).ok_or_else(unauthorized)?;
        // A browser shows it for whoever's page makes it ask.
        if !method.is_safe() && !is_same_origin(headers) {
            return Err(Problem::forbidden("a page of another site asks for this"));
        }
        let who = feed.authenticate(&secret).map_err(of_refused)?;
        if who.is_session() { Ok(Self(who)) } else { Err(unauthorized()) }
    }

    /// Whether they may; else, what they are told says no more than they may know.
    ///
    /// # Errors
    /// That they may not.
    pub(crate) fn check(&self, feed: &Feed, action: Action, target: Target<'_>) -> Result<(), Problem> {
        if self.may(feed, action, target) {
            return Ok(());
        }
        if self.0.once_fresh().is_some_and(|fresh| Self(fresh).may(feed, action, target)) {
            return Err(of_refused(Refused::Stale));
        }
        let plural = &target.kind.plural;
        if self.may(feed, Action::Read, target) {
            let detail = format!("what you showed is not good for {action} on {plural}");
            return Err(Problem::forbidden(detail));
        }
        Err(Problem::not_found(match (target.tenant, target.name) {
            ("", _) => format!("list of {plural} of all tenants"),
            (tenant, "") => format!("list of {plural} of tenant {tenant:?}"),
            (_, name) => format!("{name:?} among these {plural}"),
        }))
    }

    /// Whether they may.
    pub(crate) fn may(&self, feed: &Feed, action: Action, target: Target<'_>) -> bool {
        let resource = Resource { owner: target.tenant, kind: target.kind.scope, id: target.name };
        feed.permissions().may(&self.0, action, &resource)
    }
}
