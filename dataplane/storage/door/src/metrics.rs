//! What the door counts.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Which API was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Files,
    S3,
}

/// The door's metrics; clones count together.
#[derive(Clone)]
pub struct DoorMetrics {
    /// By API, and by the status's first digit; looked up by index, since a family's look-up is a lock and a hash.
    requests: Arc<[[Counter; 4]; 2]>,
    durations: Arc<[Histogram; 2]>,
    pub(crate) connections: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    api: &'static str,
    code: &'static str,
}

impl DoorMetrics {
    /// The door's metrics, which a registry shows.
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("eddy_door");
        let requests: Family<RequestLabel, Counter> = Family::default();
        // From a quarter of a millisecond, which a short file from memory takes.
        let buckets =
            || Histogram::new([0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0]);
        let durations: Family<ApiLabel, Histogram, _> = Family::new_with_constructor(buckets);
        let apis = ["files", "s3"];
        let metrics =
            Self {
                requests: Arc::new(apis.map(|api| {
                    ["2xx", "3xx", "4xx", "5xx"].map(|code| requests.get_or_create_owned(&RequestLabel { api, code }))
                })),
                durations: Arc::new(apis.map(|api| durations.get_or_create_owned(&ApiLabel { api }))),
                connections: Gauge::default(),
            };
        registry.register("requests", "Requests answered, by API and class of status", requests);
        registry.register_with_unit(
            "request_duration",
            "From a request's header to the header of its answer: with what was sent, without what is read",
            Unit::Seconds,
            durations,
        );
        registry.register("connections", "Connections that are open", metrics.connections.clone());
        metrics
    }

    pub(crate) fn answered(&self, api: Api, status: u16, duration: Duration) {
        let (api, class) = (api as usize, usize::from(status / 100).clamp(2, 5) - 2);
        self.requests[api][class].inc();
        self.durations[api].observe(duration.as_secs_f64());
    }
}
