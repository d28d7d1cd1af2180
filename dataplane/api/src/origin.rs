//! Where a request comes from, and the record of what it did.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::response::Response;
use eddy_audit::{Actor, Origin, Outcome, Record};
use eddy_authz::Action;
use eddy_http::Problem;
use http::request::Parts;

use crate::access::{Caller, Target};
use crate::router::Api;

impl FromRequestParts<Api> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers, parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip())))
    }
}

impl Api {
    /// Records what somebody did, or was not let do.
    pub(crate) fn audit(
        &self,
        origin: &Origin,
        caller: &Caller,
        action: Action,
        target: Target<'_>,
        done: &Result<Response, Problem>,
    ) {
        let (outcome, reason) = match done {
            Ok(_) => (Outcome::Done, ""),
            // What is not theirs to see, they are told, is not there.
            Err(problem) if problem.status == 403 || !caller.may(self.feed(), action, target) => (Outcome::Denied, problem.code),
            Err(problem) => (Outcome::Failed, problem.code),
        };
        // There is no end of names that nobody has.
        let tenant = if self.feed().permissions().is_user(target.tenant) { target.tenant } else { "" };
        let what = format!("{}.{action}", target.kind.plural);
        let record = Record::now(Actor::of(Some(&caller.0)), what, tenant, target.name, outcome).because(reason);
        self.recorder().record(record.came(origin));
    }
}
