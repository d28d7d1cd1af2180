//! What the gateway counts. Every label's values are a closed set: no name of a user's object is one.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::refusal::Refusal;

/// The gateway's metrics; clones count together.
#[derive(Clone)]
pub(crate) struct Metrics {
    /// By the status's first digit; looked up by index, since a family's look-up is a lock and a hash.
    requests: Arc<[Counter; 6]>,
    refusals: Arc<[Counter; Refusal::ALL.len()]>,
    duration_seconds: Histogram,
    pub(crate) connections: Gauge,
    pub(crate) handshakes: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) certificates: Gauge,
    pub(crate) passed: Counter,
    not_passed: Family<ReasonLabel, Counter>,
    pub(crate) late_heads: Counter,
    pub(crate) upstream_connections: Counter,
    pub(crate) upstream_failures: Counter,
    pub(crate) retries: Counter,
    pub(crate) ejections: Counter,
    pub(crate) mirrored: Counter,
    pub(crate) mirrors_left_out: Counter,
    pub(crate) routes_served: Gauge,
    pub(crate) routes_left_out: Gauge,
    pub(crate) compilations: Counter,
    pub(crate) watch_errors: Counter,
    pub(crate) access_log_dropped: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("eddy_gateway");
        let requests: Family<CodeLabel, Counter> = Family::default();
        let refusals: Family<ReasonLabel, Counter> = Family::default();
        let metrics = Self {
            requests: Arc::new(
                ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].map(|code| requests.get_or_create_owned(&CodeLabel { code })),
            ),
            refusals: Arc::new(
                Refusal::ALL.map(|refusal| refusals.get_or_create_owned(&ReasonLabel { reason: refusal.label() })),
            ),
            // From a quarter of a millisecond, which a fast backend takes, to minutes, which a stream may.
            duration_seconds: Histogram::new([
                0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
            ]),
            connections: Gauge::default(),
            handshakes: Counter::default(),
            handshakes_failed: Counter::default(),
            certificates: Gauge::default(),
            passed: Counter::default(),
            not_passed: Family::default(),
            late_heads: Counter::default(),
            upstream_connections: Counter::default(),
            upstream_failures: Counter::default(),
            retries: Counter::default(),
            ejections: Counter::default(),
            mirrored: Counter::default(),
            mirrors_left_out: Counter::default(),
            routes_served: Gauge::default(),
            routes_left_out: Gauge::default(),
            compilations: Counter::default(),
            watch_errors: Counter::default(),
            access_log_dropped: Counter::default(),
        };
        registry.register("requests", "Requests answered, by class of status", requests);
        registry.register("refusals", "Requests that the gateway itself answered, by reason", refusals);
        registry.register_with_unit(
            "request_duration",
            "From a request's header to the end of its response",
            Unit::Seconds,
            metrics.duration_seconds.clone(),
        );
        registry.register("connections", "Connections from clients that are open", metrics.connections.clone());
        registry.register("tls_handshakes", "Connections that came to speak TLS", metrics.handshakes.clone());
        registry.register("tls_handshakes_failed", "Connections that did not", metrics.handshakes_failed.clone());
        registry.register("passed_connections", "Connections passed on to backends as they are", metrics.passed.clone());
        registry.register(
            "connections_not_passed",
            "Connections to be passed on that were not, by reason",
            metrics.not_passed.clone(),
        );
        registry.register("late_heads", "Connections cut since a request took too long to come", metrics.late_heads.clone());
        registry.register("certificates", "Hosts with a certificate of their own", metrics.certificates.clone());
        registry.register("upstream_connections", "Connections opened to backends", metrics.upstream_connections.clone());
        registry.register("upstream_failures", "Connections to backends that failed or broke", metrics.upstream_failures.clone());
        registry.register(
            "ejections",
            "Endpoints left alone for a while, since they took no connections",
            metrics.ejections.clone(),
        );
        registry.register("retries", "Requests tried again at another endpoint", metrics.retries.clone());
        registry.register("mirrored", "Copies of requests that were sent", metrics.mirrored.clone());
        registry.register(
            "mirrors_left_out",
            "Copies that were not: too many were under way, or nobody was there to take them",
            metrics.mirrors_left_out.clone(),
        );
        registry.register("routes_served", "Routes in the snapshot", metrics.routes_served.clone());
        registry.register(
            "routes_left_out",
            "Routes that are not served: of hosts that are others', or asking for what cannot be done",
            metrics.routes_left_out.clone(),
        );
        registry.register("compilations", "Snapshots compiled", metrics.compilations.clone());
        registry.register("watch_errors", "Failures of the watches that feed the snapshot", metrics.watch_errors.clone());
        registry.register(
            "access_log_dropped",
            "Access log lines lost because nobody read them",
            metrics.access_log_dropped.clone(),
        );
        metrics
    }

    pub(crate) fn answered(&self, status: u16, duration: Duration) {
        let class = usize::from(status / 100).min(5);
        self.requests[class].inc();
        self.duration_seconds.observe(duration.as_secs_f64());
    }

    pub(crate) fn not_passed(&self, reason: &'static str) {
        self.not_passed.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        self.refusals[refusal as usize].inc();
    }
}
