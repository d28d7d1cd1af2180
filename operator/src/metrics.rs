//! What the operator counts. Every label's values are a closed set: no object's name is one.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The operator's metrics; clones count together.
#[derive(Clone)]
pub(crate) struct Metrics {
    /// 1 while this replica leads.
    pub(crate) leading: Gauge,
    duration_seconds: Family<KindLabel, Histogram, fn() -> Histogram>,
    failures: Family<FailureLabel, Counter>,
    requests: Family<MethodLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabel {
    kind: &'static str,
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("eddy_operator");
        let metrics = Self {
            leading: Gauge::default(),
            duration_seconds: Family::new_with_constructor(|| {
                Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0])
            }),
            failures: Family::default(),
            requests: Family::default(),
        };
        registry.register("leading", "Whether this replica leads", metrics.leading.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Time that reconciliations took",
            Unit::Seconds,
            metrics.duration_seconds.clone(),
        );
        registry.register("failures", "Reconciliations and watches that failed", metrics.failures.clone());
        registry.register("api_requests", "Requests to the Kubernetes API", metrics.requests.clone());
        metrics
    }

    pub(crate) fn reconciled(&self, kind: &'static str, duration: Duration) {
        self.duration_seconds.get_or_create(&KindLabel { kind }).observe(duration.as_secs_f64());
    }

    pub(crate) fn failed(&self, kind: &'static str, error: &'static str) {
        self.failures.get_or_create(&FailureLabel { kind, error }).inc();
    }

    /// Counts every request that a client sends.
    pub(crate) fn requests_layer<S>(&self) -> impl tower::Layer<S, Service = Counted<S>> + use<S> {
        let requests = self.requests.clone();
        tower::layer::layer_fn(move |inner| Counted { inner, requests: requests.clone() })
    }
}

/// A client that counts what it sends.
#[derive(Clone)]
pub(crate) struct Counted<S> {
    inner: S,
    requests: Family<MethodLabel, Counter>,
}

impl<S, B> tower::Service<http::Request<B>> for Counted<S>
where
    S: tower::Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> S::Future {
        let method = match *request.method() {
            http::Method::GET => "get",
            http::Method::PATCH => "patch",
            http::Method::POST => "post",
            http::Method::PUT => "put",
            http::Method::DELETE => "delete",
            _ => "other",
        };
        self.requests.get_or_create(&MethodLabel { method }).inc();
        self.inner.call(request)
    }
}
