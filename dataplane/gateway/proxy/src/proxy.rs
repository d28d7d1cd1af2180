//! What happens to one request: find its route, choose an endpoint, send it on, count and log it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use eddy_authz::feed::Feed;
use eddy_crds::RouteProtocol;
use eddy_router::{AddressFilter, Asked, Cors, Port, check_path, normalize_host};
use eddy_telemetry::Tracer;
use http::{Method, Version, header};
use jiff::Timestamp;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use tokio::sync::Semaphore;

use crate::access_log::{AccessLog, Line};
use crate::attempt::{check_switch, ends_with_connection};
use crate::bridge::{Bridge, Bridges, Connector};
use crate::challenges::Challenges;
use crate::client::Client;
use crate::compress::Compressor;
use crate::direct::is_plain;
use crate::endpoints::InFlight;
use crate::entry::RouteEntry;
use crate::filter::OwnAnswer;
use crate::head;
use crate::metrics::Metrics;
use crate::mirror::Copies;
use crate::pool::{Pool, UPSTREAM_KEEPALIVE};
use crate::rate::Rates;
use crate::refusal::Refusal;
use crate::request::{authority, request_id};
use crate::secured::Speaks;
use crate::snapshot::Snapshot;
use crate::stream::{CameTo, came_to};
use crate::tls_stream::asked_name;
use crate::trace::RequestTrace;

/// A client's connection without a request is kept for so long.
const KEEPALIVE_SECONDS: u64 = 60;
/// Requests at once on a connection to a backend, as most servers allow.
const HTTP2_STREAMS: usize = 100;
/// Between questions whether such a backend is there still.
const HTTP2_PING_EVERY: Duration = Duration::from_secs(30);

/// The proxy of one thread.
pub(crate) struct Gateway {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) metrics: Metrics,
    pub(crate) access_log: Option<AccessLog>,
    /// Makes spans; none where they are not exported.
    pub(crate) tracer: Option<Tracer>,
    /// Connections for requests that go the short way.
    pub(crate) pool: Arc<Pool>,
    /// Who may what; none where nobody says.
    pub(crate) permissions: Option<Feed>,
    /// Proxies that are believed whom they ask for; none if nobody is.
    pub(crate) believed: Option<Arc<AddressFilter>>,
    /// Where redirects to TLS lead to.
    pub(crate) tls_public_port: u16,
    /// How much each Route lets in.
    pub(crate) rates: Arc<Rates>,
    /// Room for what compresses answers.
    pub(crate) compressors: Arc<Semaphore>,
    /// Room for copies of requests.
    pub(crate) copies: Arc<Semaphore>,
    /// Connections to backends that are reached by TLS.
    pub(crate) bridges: Arc<Bridges>,
}

/// What is known of a request so far.
pub(crate) struct RequestContext {
    started: Instant,
    pub(crate) client: Client,
    pub(crate) route: Option<Arc<RouteEntry>>,
    /// Whom the request was let in as, where its route requires something.
    pub(crate) user: Option<Box<str>>,
    pub(crate) in_flight: Option<InFlight>,
    /// It has begun to answer.
    pub(crate) is_answered: bool,
    /// Connections tried, the first among them.
    pub(crate) tries: u32,
    pub(crate) failed: Option<SocketAddr>,
    /// The place of the backend that is tried among its route's.
    pub(crate) backend: Option<usize>,
    /// When that began.
    pub(crate) try_started: Instant,
    pub(crate) refusal: Option<Refusal>,
    /// When whoever is refused may come again.
    pub(crate) retry_after: Option<Duration>,
    /// What came of the body in this try.
    pub(crate) body_bytes: u64,
    /// What makes the answer smaller, if anything does.
    compressor: Option<Compressor>,
    /// The bridge to the backend, if it is reached by one.
    bridge: Option<Arc<Bridge>>,
    /// The answer ends with the backend's connection.
    ends_with_connection: bool,
    /// Who is sent the body besides.
    pub(crate) copies: Copies,
    pub(crate) request_id: String,
    pub(crate) trace: Option<RequestTrace>,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext {
            started: Instant::now(),
            client: Client { address: None, is_secure: false, is_proxied: false },
            route: None,
            user: None,
            in_flight: None,
            is_answered: false,
            tries: 0,
            failed: None,
            backend: None,
            try_started: Instant::now(),
            refusal: None,
            retry_after: None,
            body_bytes: 0,
            compressor: None,
            bridge: None,
            ends_with_connection: false,
            copies: Copies::default(),
            request_id: String::new(),
            trace: None,
        }
    }

    /// No module is needed, and each costs every request something.
    fn init_downstream_modules(&self, _: &mut pingora_core::modules::http::HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut RequestContext) -> Result<bool> {
        head::is_whole();
        context.request_id = request_id(session.req_header());
        context.client = Client::of(session, self.believed.as_deref());
        // Without limit, by default: whoever keeps a connection and says nothing more would keep it for ever.
        if session.as_downstream().get_keepalive() == Some(0) {
            session.as_downstream_mut().set_keepalive(Some(KEEPALIVE_SECONDS));
        }
        if let Some(tracer) = &self.tracer {
            context.trace = Some(RequestTrace::start(tracer, session.req_header(), context.client));
        }
        if let Some(answer) = self.challenge(session) {
            answer.send(session, None, &context.request_id).await?;
            return Ok(true);
        }
        // A proxy may begin TLS for another name than its clients ask for.
        let name = asked_name(session).filter(|_| !context.client.is_proxied);
        match self.route(session.req_header(), name, came_to(session)) {
            Ok(route) => {
                context.route = Some(route.clone());
                session.as_downstream_mut().set_write_timeout(Some(route.idle_timeout));
                if route.is_broken {
                    self.refuse(session, context, Refusal::Broken).await?;
                    return Ok(true);
                }
                let let_in = self.let_in(session.req_header(), &route, context);
                match let_in {
                    Ok(None) => {}
                    Ok(Some(answer)) => {
                        answer.send(session, Some(&route), &context.request_id).await?;
                        return Ok(true);
                    }
                    Err(refusal) => {
                        self.refuse(session, context, refusal).await?;
                        return Ok(true);
                    }
                }
                self.mirror(session, context)?;
                if !route.is_direct || !is_plain(session.req_header()) {
                    return Ok(false);
                }
                self.forward_in_time(session, context).await?;
                Ok(true)
            }
            Err(refusal) => {
                self.refuse(session, context, refusal).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, context: &mut RequestContext) -> Result<Box<HttpPeer>> {
        let (route, address) = self.choose(context)?;
        let backend = context.backend.and_then(|place| route.backends.at(place));
        let is_http2 = route.protocol == RouteProtocol::GRPC || backend.is_some_and(|backend| backend.is_http2);
        let secured = backend.and_then(|backend| backend.secured.clone());
        // Of what is reached by a bridge, Pingora does not find the address again.
        let asked = secured.as_ref().map_or(address, |_| (Ipv4Addr::UNSPECIFIED, 0).into());
        let mut peer = HttpPeer::new(asked, false, String::new());
        // Every one of these is without limit by default.
        let left = context.left().unwrap_or(Duration::MAX).min(route.try_timeout.unwrap_or(Duration::MAX));
        peer.options.connection_timeout = Some(route.connect_timeout.min(left));
        peer.options.total_connection_timeout = Some(route.connect_timeout.min(left));
        peer.options.read_timeout = Some(route.idle_timeout.min(left));
        peer.options.write_timeout = Some(route.idle_timeout.min(left));
        peer.options.idle_timeout = Some(UPSTREAM_KEEPALIVE);
        if let Some(secured) = secured {
            peer.group_key = self.bridges.key(&secured, address);
            let speaks = if is_http2 { Speaks::Http2 } else { Speaks::Http1 };
            let bridges = self.bridges.clone();
            peer.options.custom_l4 = Some(Arc::new(Connector { secured, address, speaks, bridges }));
        }
        if is_http2 {
            // HTTP/2 and nothing else, without asking: TLS, if there is any, has agreed on it already.
            peer.options.set_http_version(2, 2);
            // One, by default: a connection a request.
            peer.options.max_h2_streams = HTTP2_STREAMS;
            peer.options.h2_ping_interval = Some(HTTP2_PING_EVERY);
        }
        Ok(Box::new(peer))
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        reused: bool,
        _: &HttpPeer,
        end: std::os::fd::RawFd,
        _: Option<&pingora_core::protocols::Digest>,
        context: &mut RequestContext,
    ) -> Result<()> {
        let backend = context.backend.and_then(|place| context.route.as_ref()?.backends.at(place));
        let is_secured = backend.is_some_and(|backend| backend.secured.is_some());
        context.bridge = is_secured.then(|| self.bridges.at(end)).flatten();
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
        self.prepare(session, upstream, context)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        context: &mut RequestContext,
    ) -> Result<()> {
        // What flows after an upgrade is no body.
        if session.was_upgraded() {
            return Ok(());
        }
        Self::count_body(context, body.as_ref().map_or(0, Bytes::len))?;
        context.copies.send(body.as_ref(), is_end);
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        is_end: bool,
        context: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        // Reads are bounded by what was left when the try began; what comes after is cut off here.
        let try_is_over =
            |route: &Arc<RouteEntry>| route.try_timeout.is_some_and(|within| context.try_started.elapsed() > within);
        if !is_end && (context.left().is_some_and(|left| left.is_zero()) || context.route.as_ref().is_some_and(try_is_over)) {
            return Err(Error::new(ErrorType::ReadTimedout).into_up());
        }
        // What nothing but the connection's end ends is whole only if that was meant (RFC 9112, section 9.8).
        if is_end && context.ends_with_connection && context.bridge.as_ref().is_some_and(|bridge| bridge.is_broken()) {
            return Err(Error::new(ErrorType::ConnectionClosed).into_up());
        }
        Ok(None)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        let Some(route) = context.route.as_ref().filter(|_| !response.status.is_informational()) else { return Ok(()) };
        route.edit_response(session.req_header(), response, context.backend)?;
        context.compressor = route.compress(session.req_header(), response, &self.compressors)?;
        if context.compressor.is_some() {
            // Its length is not known any more, and a backend may speak HTTP/1.0, which has no chunks. HTTP/2 has no use for this, and Pingora takes it away there.
            response.set_version(Version::HTTP_11);
            response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        context: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        if let Some(compressor) = &mut context.compressor {
            let taken = compressor.take(body.as_ref(), is_end)?;
            *body = (!taken.is_empty()).then_some(taken);
        }
        if is_end {
            context.compressor = None;
        }
        Ok(None)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        context.answered();
        context.ends_with_connection = ends_with_connection(session.req_header(), response);
        check_switch(session.req_header().headers.contains_key(header::UPGRADE), response)
    }

    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, context: &mut RequestContext, error: Box<Error>) -> Box<Error> {
        self.connect_failed(context, error)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut RequestContext,
        client_reused: bool,
    ) -> Box<Error> {
        self.broke(session, context, error, client_reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut RequestContext) -> FailToProxy {
        let refusal = context.refusal.or_else(|| Refusal::of(error));
        context.refusal = refusal;
        let Some(refusal) = refusal else {
            // The client is gone: nobody reads an answer.
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        self.metrics.refused(refusal);
        if let Err(error) = refusal.answer(session, context).await {
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
        head::is_answered();
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
            client: context.client.address,
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

impl RequestContext {
    /// Whoever was tried answers.
    pub(crate) fn answered(&mut self) {
        self.is_answered = true;
        self.in_flight.iter().for_each(|tried| tried.trust().kept());
    }

    /// How long the request may still take, if that is bounded.
    pub(crate) fn left(&self) -> Option<Duration> {
        let timeout = self.route.as_ref()?.request_timeout?;
        Some(timeout.saturating_sub(self.started.elapsed()))
    }
}

impl Gateway {
    /// The Route of a request, on a connection that TLS was begun on for a host of this name, and that came to this port of a Gateway's.
    fn route(&self, request: &RequestHeader, name: Option<&str>, came_to: Option<CameTo>) -> Result<Arc<RouteEntry>, Refusal> {
        let path = request.uri.path();
        let host = authority(request).and_then(|authority| normalize_host(authority).ok()).ok_or(Refusal::BadRequest)?;
        check_path(path).map_err(|_| Refusal::BadRequest)?;
        let asked = Asked { path, query: request.uri.query(), method: &request.method, headers: &request.headers };
        let snapshot = self.snapshot.load();
        let (is_directed, listener) = match came_to {
            None => (name.is_none_or(|name| snapshot.is_directed(name, &host)), None),
            Some(CameTo { port, owner }) => {
                let port = snapshot.api.get(&Port::tcp(port)).ok_or(Refusal::NoRoute)?;
                if port.owner != owner {
                    return Err(Refusal::Misdirected);
                }
                let listener = port.listener(&host).ok_or(Refusal::NoRoute)?;
                (name.is_none_or(|name| port.is_directed(name, &host)), Some(listener))
            }
        };
        if !is_directed {
            return Err(Refusal::Misdirected);
        }
        let find = |asked: &Asked<'_>| match listener {
            None => snapshot.table.find(&host, asked).cloned(),
            Some(listener) => listener.table.find_through(&host, asked).cloned(),
        };
        if Cors::is_preflight(&request.method, &request.headers) {
            // It is about a request to come: whose Route that is answers it, if it answers any.
            let method = Cors::asked_method(&request.headers).ok_or(Refusal::BadRequest)?;
            let found = find(&Asked { method: &method, ..asked });
            if let Some(route) = found.filter(|route| route.filters.cors.is_some()) {
                return Ok(route);
            }
        }
        find(&asked).ok_or(Refusal::NoRoute)
    }

    /// What an authority is answered that looks whether a host leads here, before any Route: one may let in nobody, or send everybody to TLS.
    fn challenge(&self, session: &Session) -> Option<OwnAnswer> {
        let (path, method) = (session.req_header().uri.path(), &session.req_header().method);
        if !Challenges::is_asked(path) || came_to(session).is_some() || !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let host = normalize_host(authority(session.req_header())?).ok()?;
        self.snapshot.load().challenges.answer(&host, path).map(|answer| OwnAnswer::of_challenge(answer))
    }

    /// What a request is answered if that is not for a backend to say; whom it is let in as is in the context afterwards.
    fn let_in(
        &self,
        request: &RequestHeader,
        route: &RouteEntry,
        context: &mut RequestContext,
    ) -> Result<Option<OwnAnswer>, Refusal> {
        let answer = self.filter(request, route, context)?;
        if answer.is_none() {
            context.user = self.admit(request, route)?;
        }
        Ok(answer)
    }

    /// Whom a request is let in as, where that matters.
    fn admit(&self, request: &RequestHeader, route: &RouteEntry) -> Result<Option<Box<str>>, Refusal> {
        if route.requirement.is_empty() {
            return Ok(None);
        }
        route.requirement.admit(&request.headers, self.permissions.as_ref()).map(Some)
    }

    async fn refuse(&self, session: &mut Session, context: &mut RequestContext, refusal: Refusal) -> Result<()> {
        context.refusal = Some(refusal);
        self.metrics.refused(refusal);
        refusal.answer(session, context).await
    }
}
