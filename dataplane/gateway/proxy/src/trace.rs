//! A span for each request, where spans are exported: the gateway's part of a distributed trace (W3C Trace Context).

use eddy_telemetry::Tracer;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use pingora_http::RequestHeader;

use crate::client::Client;
use crate::request::authority;

/// The span of one request, named and attributed by OpenTelemetry's semantic conventions for HTTP servers.
pub(crate) struct RequestTrace(Context);

impl RequestTrace {
    /// Begins a span below the client's own, if it sent one.
    pub(crate) fn start(tracer: &Tracer, request: &RequestHeader, client: Client) -> Self {
        let parent = TraceContextPropagator::new().extract(&Headers(&request.headers));
        let attributes = [
            KeyValue::new("http.request.method", request.method.as_str().to_owned()),
            KeyValue::new("url.scheme", client.scheme()),
            KeyValue::new("url.path", request.uri.path().to_owned()),
            KeyValue::new("server.address", authority(request).unwrap_or_default().to_owned()),
        ];
        let attributes =
            attributes.into_iter().chain(client.address.map(|address| KeyValue::new("client.address", address.to_string())));
        let span = tracer
            .span_builder(request.method.as_str().to_owned())
            .with_kind(SpanKind::Server)
            .with_attributes(attributes)
            .start_with_context(tracer, &parent);
        Self(parent.with_span(span))
    }

    /// Tells the backend which span is above its own.
    pub(crate) fn propagate(&self, upstream: &mut RequestHeader) {
        TraceContextPropagator::new().inject_context(&self.0, &mut Upstream(upstream));
    }

    /// Ends the span with the status that the client saw; 0 where it saw none.
    pub(crate) fn end(&self, status: u16, route: Option<&str>) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if let Some(route) = route {
            span.set_attribute(KeyValue::new("eddy.route", route.to_owned()));
        }
        // A client's mistake is no error of the server (semantic conventions for HTTP spans).
        if status == 0 || status >= 500 {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|value| value.to_str().ok())
    }
    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Upstream<'a>(&'a mut RequestHeader);

impl Injector for Upstream<'_> {
    fn set(&mut self, name: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            // A header that cannot be added is one hop missing from a trace, no reason to fail the request.
            let _ = self.0.insert_header(name, value);
        }
    }
}
