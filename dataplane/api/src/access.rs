//! Who asks, and whether what they ask for is theirs to see or change.

use axum::extract::FromRequestParts;
use eddy_authz::feed::Feed;
use eddy_authz::{Action, Credential, Principal, Resource};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::kinds::ServedKind;
use crate::problem::Problem;
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
        Self::of(&parts.headers, api.feed())
    }
}

impl Caller {
    /// Who shows these headers.
    pub(crate) fn of(headers: &HeaderMap, feed: &Feed) -> Result<Self, Problem> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let (Some(header), None) = (shown.next(), shown.next()) else { return Err(Problem::unauthorized()) };
        let credential = Credential::of_header(header.as_bytes()).ok_or_else(Problem::unauthorized)?;
        let (token, _) = credential.into_token();
        Ok(Self(feed.authenticate(&token.ok_or_else(Problem::unauthorized)?)?))
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
            return Err(Problem::stale());
        }
        let plural = &target.kind.plural;
        if self.may(feed, Action::Read, target) {
            let detail = format!("what you showed is not good for {action} on {plural}");
            return Err(Problem::new(http::StatusCode::FORBIDDEN, "Forbidden", detail));
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
