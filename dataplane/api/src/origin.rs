//! Where a request comes from, and the record of what it did.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::response::Response;
use eddy_audit::{Actor, Outcome, Record};
use eddy_authz::Action;
use eddy_http::Problem;
use http::request::Parts;

use crate::access::{Caller, Target};
use crate::router::Api;

/// Where a request comes from: who connected, whom they say that they ask for, and what they call it.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    address: Option<IpAddr>,
    forwarded_for: String,
    request: String,
}

impl FromRequestParts<Api> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, Infallible> {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        Ok(Self {
            address: parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip()),
            forwarded_for: text("x-forwarded-for"),
            request: text("x-request-id"),
        })
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
        let who = &caller.0;
        let actor = Actor {
            user: who.user().to_owned(),
            service_account: who.account().map(str::to_owned),
            token: who.token().map(str::to_owned),
            session: who.is_session(),
        };
        let (outcome, reason) = match done {
            Ok(_) => (Outcome::Done, ""),
            // What is not theirs to see, they are told, is not there.
            Err(problem) if problem.status == 403 || !caller.may(self.feed(), action, target) => (Outcome::Denied, problem.code),
            Err(problem) => (Outcome::Failed, problem.code),
        };
        // There is no end of names that nobody has.
        let tenant = if self.feed().permissions().is_user(target.tenant) { target.tenant } else { "" };
        let what = format!("{}.{action}", target.kind.plural);
        let record = Record::now(actor, what, tenant, target.name, outcome).because(reason);
        self.recorder().record(record.of_request(&origin.request).from(origin.address, &origin.forwarded_for));
    }
}
