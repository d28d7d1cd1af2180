//! Who asks, and whether what they ask for is theirs to see or change.

use axum::extract::FromRequestParts;
use eddy_authz::feed::Feed;
use eddy_authz::{Action, Principal, Refused, Resource};
use eddy_http::Shown;
use http::request::Parts;
use http::{HeaderMap, Method};

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
        let shown = Shown::of(method, headers)?;
        let who = feed.authenticate(&shown.secret).map_err(of_refused)?;
        if shown.is_cookie && !who.is_session() { Err(unauthorized()) } else { Ok(Self(who)) }
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
