//! What happens to one request: find its route, choose an endpoint, send it on, count and log it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use eddy_router::{check_path, normalize_host};
use eddy_telemetry::Tracer;
use http::{HeaderName, HeaderValue, header};
use jiff::Timestamp;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::access_log::{AccessLog, Line};
use crate::endpoints::InFlight;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::request::{X_REQUEST_ID, authority, client_of, request_id};
use crate::snapshot::{RouteEntry, Snapshot};
use crate::trace::RequestTrace;

/// How long an idle connection to a backend is kept. Shorter than most servers' own limit, so that the
/// gateway closes first and no request meets a connection that is just being closed.
const UPSTREAM_KEEPALIVE: Duration = Duration::from_secs(30);

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The proxy of one thread.
pub(crate) struct Gateway {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) metrics: Metrics,
    pub(crate) access_log: Option<AccessLog>,
    /// Makes spans; none where they are not exported.
    pub(crate) tracer: Option<Tracer>,
}

/// What is known of a request so far.
pub(crate) struct RequestContext {
    started: Instant,
    route: Option<Arc<RouteEntry>>,
    in_flight: Option<InFlight>,
    /// Connections tried, the first among them.
    tries: u32,
    failed: Option<SocketAddr>,
    refusal: Option<Refusal>,
    request_id: String,
    trace: Option<RequestTrace>,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext {
            started: Instant::now(),
            route: None,
            in_flight: None,
            tries: 0,
            failed: None,
            refusal: None,
            request_id: String::new(),
            trace: None,
        }
    }

    /// No module is needed, and each costs every request something.
    fn init_downstream_modules(&self, _: &mut pingora_core::modules::http::HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut RequestContext) -> Result<bool> {
        context.request_id = request_id(session.req_header());
        if let Some(tracer) = &self.tracer {
            context.trace = Some(RequestTrace::start(tracer, session.req_header(), client_of(session)));
        }
        match self.route(session.req_header()) {
            Ok(route) => {
                context.route = Some(route);
                Ok(false)
            }
            Err(refusal) => {
                self.refuse(session, context, refusal).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, context: &mut RequestContext) -> Result<Box<HttpPeer>> {
        let route = context.route.as_ref().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let Some(endpoint) = route.backends.choose(context.failed) else {
            context.refusal = Some(Refusal::NoEndpoint);
            return Err(Error::new(ErrorType::HTTPStatus(503)));
        };
        context.tries += 1;
        let mut peer = HttpPeer::new(endpoint.address, false, String::new());
        // Every one of these is without limit by default.
        peer.options.connection_timeout = Some(route.connect_timeout);
        peer.options.total_connection_timeout = Some(route.connect_timeout);
        peer.options.read_timeout = Some(route.idle_timeout);
        peer.options.write_timeout = Some(route.idle_timeout);
        peer.options.idle_timeout = Some(UPSTREAM_KEEPALIVE);
        context.in_flight = Some(InFlight::start(endpoint));
        Ok(Box::new(peer))
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        reused: bool,
        _: &HttpPeer,
        _: std::os::fd::RawFd,
        _: Option<&pingora_core::protocols::Digest>,
        _: &mut RequestContext,
    ) -> Result<()> {
        if !reused {
            self.metrics.upstream_connections.inc();
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        if let Some(client) = client_of(session) {
            // What the client says of itself is no evidence: only who it is goes on.
            upstream.insert_header(&X_FORWARDED_FOR, client.ip().to_string())?;
        }
        upstream.insert_header(&X_FORWARDED_PROTO, HeaderValue::from_static("http"))?;
        if let Some(host) = session.req_header().headers.get(header::HOST) {
            upstream.insert_header(&X_FORWARDED_HOST, host.clone())?;
        }
        upstream.insert_header(&X_REQUEST_ID, context.request_id.as_str())?;
        if let Some(trace) = &context.trace {
            trace.propagate(upstream);
        }
        let rewritten = context
            .route
            .as_ref()
            .filter(|route| !route.strip.is_empty())
            .and_then(|route| upstream.uri.path_and_query().and_then(|path| route.rewrite(path.as_str())));
        if let Some(path) = rewritten {
            upstream.set_raw_path(path.as_bytes())?;
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        context: &mut RequestContext,
        mut error: Box<Error>,
    ) -> Box<Error> {
        self.metrics.upstream_failures.inc();
        // Nothing was sent yet, so any request may be tried elsewhere.
        let again = self.may_retry(context);
        context.fail_over(peer, again);
        error.set_retry(again);
        error
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        context: &mut RequestContext,
        client_reused: bool,
    ) -> Box<Error> {
        // A pooled connection may have been closed by the backend just before: it saw nothing of the request.
        // Even so, only a request that may be repeated is (RFC 9110, section 9.2.2), and only if its body is at hand.
        let repeatable = session.req_header().method.is_idempotent() && !session.as_ref().retry_buffer_truncated();
        if error.esource() == &ErrorSource::Upstream {
            self.metrics.upstream_failures.inc();
        }
        if repeatable {
            error.retry.decide_reuse(client_reused);
        } else {
            error.set_retry(false);
        }
        if error.retry() {
            let again = self.may_retry(context);
            context.fail_over(peer, again);
            error.set_retry(again);
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut RequestContext) -> FailToProxy {
        let refusal = context.refusal.or_else(|| Refusal::of(error));
        context.refusal = refusal;
        let Some(refusal) = refusal else {
            // The client is gone: nobody reads an answer.
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        self.metrics.refused(refusal);
        if let Err(error) = refusal.answer(session, &context.request_id).await {
            tracing::debug!(%error, "failed to answer a client");
        }
        FailToProxy { error_code: refusal.status(), can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _: &Session, _: &RequestContext, _: &Error) -> bool {
        // The access log says it, with what a user needs.
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &RequestContext, _: &Error, _: ProxyWarnLogContext) -> bool {
        // A line a failed try, which strangers could cause as often as they like. Metrics count them.
        true
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, context: &mut RequestContext) {
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let duration = context.started.elapsed();
        self.metrics.answered(status, duration);
        if let Some(trace) = &context.trace {
            trace.end(status, context.route.as_ref().map(|route| &*route.id));
        }
        let Some(log) = &self.access_log else { return };
        let request = session.req_header();
        log.log(&Line {
            time: Timestamp::now(),
            request_id: &context.request_id,
            client: client_of(session).map(|client| client.ip()),
            method: request.method.as_str(),
            host: authority(request).unwrap_or_default(),
            path: request.uri.path(),
            status,
            response_bytes: session.body_bytes_sent(),
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            route: context.route.as_ref().map(|route| &*route.id),
            upstream: context.in_flight.as_ref().map(InFlight::address),
            refusal: context.refusal.map(Refusal::label),
        });
    }
}

impl Gateway {
    fn route(&self, request: &RequestHeader) -> Result<Arc<RouteEntry>, Refusal> {
        let path = request.uri.path();
        let host = authority(request).and_then(|authority| normalize_host(authority).ok()).ok_or(Refusal::BadRequest)?;
        check_path(path).map_err(|_| Refusal::BadRequest)?;
        self.snapshot.load().table.find(&host, path).cloned().ok_or(Refusal::NoRoute)
    }

    async fn refuse(&self, session: &mut Session, context: &mut RequestContext, refusal: Refusal) -> Result<()> {
        context.refusal = Some(refusal);
        self.metrics.refused(refusal);
        refusal.answer(session, &context.request_id).await
    }

    fn may_retry(&self, context: &RequestContext) -> bool {
        let again = context.route.as_ref().is_some_and(|route| context.tries <= route.retries);
        if again {
            self.metrics.retries.inc();
        }
        again
    }
}

impl RequestContext {
    fn fail_over(&mut self, peer: &HttpPeer, again: bool) {
        self.failed = peer._address.as_inet().copied();
        if again {
            self.in_flight = None;
        }
    }
}
