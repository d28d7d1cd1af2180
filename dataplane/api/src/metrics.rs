//! What the API counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From a list that is in memory to a Kubernetes API under load, in seconds.
const SECONDS: [f64; 10] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0, 10.0];

/// A request's method and what it was answered with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Answered {
    pub(crate) method: &'static str,
    pub(crate) status: u16,
}

/// What became of a token that the Kubernetes API asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reviewed {
    pub(crate) outcome: &'static str,
}

/// What became of what the Kubernetes API told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Told {
    pub(crate) what: &'static str,
}

/// What the API counts. Clones count together.
#[derive(Clone)]
pub(crate) struct ApiMetrics {
    pub(crate) requests: Family<Answered, Counter>,
    pub(crate) seconds: Histogram,
    pub(crate) connections: Gauge,
    pub(crate) streams: Gauge,
    pub(crate) reviews: Family<Reviewed, Counter>,
    pub(crate) told: Family<Told, Counter>,
}

impl ApiMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Histogram::new(SECONDS),
            connections: Gauge::default(),
            streams: Gauge::default(),
            reviews: Family::default(),
            told: Family::default(),
        };
        registry.register("eddy_api_requests", "Requests that were answered", metrics.requests.clone());
        registry.register("eddy_api_request_seconds", "From a request to the head of its answer", metrics.seconds.clone());
        registry.register("eddy_api_connections", "Open connections", metrics.connections.clone());
        registry.register("eddy_api_streams", "Open streams of changes", metrics.streams.clone());
        registry.register("eddy_api_token_reviews", "Tokens that the Kubernetes API asked about", metrics.reviews.clone());
        registry.register("eddy_api_kubernetes_events", "Events of the Kubernetes API's audit that came", metrics.told.clone());
        metrics
    }
}
