//! What identity counts.

use eddy_telemetry::prometheus::metrics::counter::Counter;
use eddy_telemetry::prometheus::metrics::gauge::Gauge;
use eddy_telemetry::prometheus::registry::Registry;

/// What identity counts. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct IdentityMetrics {
    pub(crate) entries: Gauge,
    pub(crate) changes: Counter,
    pub(crate) failures: Counter,
}

impl IdentityMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("eddy_identity_entries", "Entries of the permission store", metrics.entries.clone());
        registry.register("eddy_identity_changes", "Entries that were published or taken away", metrics.changes.clone());
        registry.register("eddy_identity_failures", "Times that publishing failed", metrics.failures.clone());
        metrics
    }
}
