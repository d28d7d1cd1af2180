//! What every reconciliation shares.

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use crate::apply::Applier;
use crate::backoff::Backoff;
use crate::metrics::Metrics;

/// What every reconciliation shares.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) applier: Applier,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    pub(crate) backoff: Backoff,
    /// The core namespace of the gateway, which tenants' policies let in.
    pub(crate) system_namespace: String,
}

impl Context {
    pub(crate) fn new(client: Client, metrics: Metrics, system_namespace: String, identity: String) -> Self {
        let reporter = Reporter { controller: "eddy-operator".into(), instance: Some(identity) };
        Self {
            applier: Applier::new(client.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            client,
            metrics,
            backoff: Backoff::default(),
            system_namespace,
        }
    }
}
