//! What every reconciliation shares.

use std::sync::Arc;

use eddy_kv::Remote;
use eddy_object::Metadata;
use eddy_rpc::TcpTransport;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use crate::apply::Applier;
use crate::backoff::Backoff;
use crate::metrics::Metrics;
use crate::options::Options;

/// What every reconciliation shares.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) applier: Applier,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    pub(crate) backoff: Backoff,
    /// The core namespace of the gateway, which tenants' policies let in.
    pub(crate) system_namespace: String,
    /// Where storage keeps its namespaces, if there is storage.
    pub(crate) storage: Option<Metadata>,
}

impl Context {
    pub(crate) fn new(client: Client, metrics: Metrics, options: &Options) -> Self {
        let reporter = Reporter { controller: "eddy-operator".into(), instance: Some(options.identity.clone()) };
        let servers = Some(&options.storage_servers).filter(|servers| !servers.is_empty());
        let storage = servers.map(|servers| Metadata::new(Arc::new(Remote::new(Arc::new(TcpTransport), servers))));
        Self {
            applier: Applier::new(client.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            client,
            metrics,
            backoff: Backoff::default(),
            system_namespace: options.namespace.clone(),
            storage,
        }
    }
}
