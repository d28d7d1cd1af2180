//! One try at a backend: which endpoint, what it is sent, and whether another try may follow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use crate::balance::{Chosen, Nobody};
use crate::endpoints::InFlight;
use crate::entry::RouteEntry;
use crate::mirror::Copies;
use crate::proxy::{Gateway, RequestContext};
use crate::refusal::Refusal;
use crate::request::{X_FORWARDED_FOR, X_FORWARDED_PROTO, X_REQUEST_ID, authority};

static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Whom a request was let in as, where its Route requires scopes.
static X_EDDY_USER: HeaderName = HeaderName::from_static("x-eddy-user");

/// Whether nothing but the end of a backend's connection ends its answer (RFC 9112, section 6.3).
pub(crate) fn ends_with_connection(request: &RequestHeader, response: &ResponseHeader) -> bool {
    let bodyless = [StatusCode::SWITCHING_PROTOCOLS, StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    let has_body = request.method != Method::HEAD && !bodyless.contains(&response.status);
    let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    has_body && response.version < Version::HTTP_2 && !framing.iter().any(|name| response.headers.contains_key(name))
}

impl Gateway {
    /// Picks an endpoint of the request's route, and counts the request as under way there.
    pub(crate) fn choose(&self, context: &mut RequestContext) -> Result<(Arc<RouteEntry>, SocketAddr)> {
        let route = context.route.clone().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let chosen = route.backends.choose(context.failed).map_err(|nobody| match nobody {
            Nobody::Ready => Refusal::NoEndpoint,
            Nobody::There => Refusal::NoBackend,
        });
        let Chosen { endpoint, backend } = chosen.map_err(|refusal| {
            context.refusal = Some(refusal);
            Error::new(ErrorType::HTTPStatus(refusal.status()))
        })?;
        context.tries += 1;
        if std::mem::take(&mut context.body_bytes) > 0 {
            // It is sent once more from the beginning. Copies have that part already, and are not whole.
            context.copies = Copies::default();
        }
        let address = endpoint.address;
        context.in_flight = Some(InFlight::start(endpoint));
        (context.backend, context.try_started) = (Some(backend), Instant::now());
        Ok((route, address))
    }

    /// Makes the client's request the one that a backend is sent.
    pub(crate) fn prepare(&self, session: &Session, upstream: &mut RequestHeader, context: &RequestContext) -> Result<()> {
        remove_look_alikes(upstream);
        if let Some(address) = context.client.address {
            // What the client says of itself is no evidence: only who it is goes on.
            upstream.insert_header(&X_FORWARDED_FOR, address.to_string())?;
        }
        upstream.insert_header(&X_FORWARDED_PROTO, HeaderValue::from_static(context.client.scheme()))?;
        if let Some(host) = authority(session.req_header()) {
            upstream.insert_header(&X_FORWARDED_HOST, host)?;
        }
        join_cookies(upstream)?;
        upstream.insert_header(&X_REQUEST_ID, context.request_id.as_str())?;
        if let Some(user) = &context.user {
            // The backend is somebody else's, perhaps: it learns who asks, and gets nothing that it could ask with elsewhere.
            upstream.remove_header(&header::AUTHORIZATION);
            upstream.insert_header(&X_EDDY_USER, &**user)?;
        } else {
            // Whoever says so of themselves is not believed.
            upstream.remove_header(&X_EDDY_USER);
        }
        if let Some(trace) = &context.trace {
            trace.propagate(upstream);
        }
        if !upstream.headers.contains_key(header::HOST)
            && let Some(host) = authority(session.req_header())
        {
            // A path of its own takes the place of a target that has the host.
            upstream.insert_header(header::HOST, host)?;
        }
        context.route.as_ref().map_or(Ok(()), |route| route.edit_request(upstream, context.backend))
    }

    /// A connection could not be opened. Nothing was sent yet, so any request may be tried elsewhere.
    pub(crate) fn connect_failed(&self, context: &mut RequestContext, mut error: Box<Error>) -> Box<Error> {
        self.metrics.upstream_failures.inc();
        self.distrust(context);
        let again = self.may_retry(context);
        context.fail_over(again);
        error.set_retry(again);
        error
    }

    /// Counts a failure of the endpoint that was tried.
    fn distrust(&self, context: &RequestContext) {
        if context.in_flight.as_ref().is_some_and(|tried| tried.trust().broken(Instant::now())) {
            self.metrics.ejections.inc();
        }
    }

    /// A connection broke after it was opened, or the client's did.
    pub(crate) fn broke(
        &self,
        session: &Session,
        context: &mut RequestContext,
        mut error: Box<Error>,
        reused: bool,
    ) -> Box<Error> {
        // A pooled connection may have been closed by the backend just before: it saw nothing of the request.
        // Even so, only a request that may be repeated is (RFC 9110, section 9.2.2), and only if its body is at hand.
        let repeatable = session.req_header().method.is_idempotent() && !session.as_ref().retry_buffer_truncated();
        if error.esource() == &ErrorSource::Upstream {
            self.metrics.upstream_failures.inc();
            // One that just closed a connection that nobody used has done nothing wrong, and one that takes long is at work.
            if !reused && !context.is_answered && !matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout) {
                self.distrust(context);
            }
        }
        if repeatable {
            error.retry.decide_reuse(reused);
        } else {
            error.set_retry(false);
        }
        if error.retry() {
            let again = self.may_retry(context);
            context.fail_over(again);
            error.set_retry(again);
        }
        error
    }

    fn may_retry(&self, context: &RequestContext) -> bool {
        let again = context.route.as_ref().is_some_and(|route| context.tries <= route.retries);
        if again {
            self.metrics.retries.inc();
        }
        again
    }
}

/// Backends that take headers for variables, as CGI has it, tell `X_Eddy_User` and `X-Eddy-User` not apart: none of ours is there twice.
fn remove_look_alikes(upstream: &mut RequestHeader) {
    let ours = [&X_FORWARDED_FOR, &X_FORWARDED_PROTO, &X_FORWARDED_HOST, &X_EDDY_USER, &X_REQUEST_ID];
    let is_one = |name: &HeaderName| {
        name.as_str().contains('_') && ours.iter().any(|ours| name.as_str().replace('_', "-") == ours.as_str())
    };
    let found: Vec<HeaderName> = upstream.headers.keys().filter(|name| is_one(name)).cloned().collect();
    for name in found {
        upstream.remove_header(&name);
    }
}

/// A client of HTTP/2 may send a cookie a line; HTTP/1.1 knows one line only (RFC 9113, section 8.2.3).
fn join_cookies(upstream: &mut RequestHeader) -> Result<()> {
    let mut lines = upstream.headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return Ok(()) };
    let joined = [first, second].into_iter().chain(lines).map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    let joined = HeaderValue::from_bytes(&joined).map_err(|_| Error::new(ErrorType::InvalidHTTPHeader).into_down())?;
    upstream.insert_header(header::COOKIE, joined)
}

/// A backend may switch protocols only where the client asked for it: what follows would not be HTTP.
///
/// # Errors
/// Where it does so on its own.
pub(crate) fn check_switch(asked: bool, response: &ResponseHeader) -> Result<()> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS && !asked {
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, "switches protocols without being asked").into_up());
    }
    Ok(())
}

impl RequestContext {
    /// The next try goes elsewhere, where there is another endpoint.
    fn fail_over(&mut self, again: bool) {
        self.failed = self.in_flight.as_ref().map(InFlight::address);
        if again {
            self.in_flight = None;
        }
    }
}
