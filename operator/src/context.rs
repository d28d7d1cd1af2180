//! What every reconciliation shares.

use std::collections::HashSet;
use std::sync::Arc;

use eddy_authz::SigningKey;
use eddy_kv::Remote;
use eddy_object::Metadata;
use eddy_router::{Claimant, Port};
use eddy_rpc::TlsError;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use crate::apply::Applier;
use crate::backoff::Backoff;
use crate::domain::Domains;
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
    /// Of the platform's own host, which no tenant has.
    pub(crate) platform: Option<Claimant>,
    /// The gateway's ports that Routes may have.
    pub(crate) ports: HashSet<Port>,
    /// How Gateways of the Gateway API are run, if they are.
    pub(crate) gateway_api: Option<GatewayApi>,
    /// Whom Domains are served by.
    pub(crate) domains: Domains,
    /// Where storage keeps its namespaces, if there is storage.
    pub(crate) storage: Option<Metadata>,
    /// What access keys of S3 are derived with, if tokens are to be such.
    pub(crate) signing_key: Option<SigningKey>,
}

/// How Gateways of the Gateway API are run.
#[derive(Clone, Debug)]
pub(crate) struct GatewayApi {
    /// Of the Services that have their addresses.
    pub(crate) service_type: String,
    /// Of the labels and annotations that a Gateway may give its Service, beside those of none.
    pub(crate) domains: Vec<String>,
}

impl Context {
    pub(crate) fn new(
        client: Client,
        metrics: Metrics,
        options: &Options,
        domains: Domains,
        storage: Option<Metadata>,
        signing_key: Option<SigningKey>,
    ) -> Self {
        let reporter = Reporter { controller: "eddy-operator".into(), instance: Some(options.identity.clone()) };
        Self {
            applier: Applier::new(client.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            client,
            metrics,
            backoff: Backoff::default(),
            system_namespace: options.namespace.clone(),
            platform: options
                .platform_host
                .as_ref()
                .map(|host| Claimant::platform(&options.namespace, vec![host.to_ascii_lowercase()])),
            ports: options.gateway_ports.iter().copied().collect(),
            gateway_api: options.gateway_api.then(|| GatewayApi {
                service_type: options.gateway_service_type.clone(),
                domains: options.gateway_infrastructure_domains.clone(),
            }),
            domains,
            storage,
            signing_key,
        }
    }
}

/// Storage's metadata, if there is storage.
///
/// # Errors
/// That it cannot be talked to as the options say.
pub(crate) fn storage(options: &Options) -> Result<Option<Metadata>, TlsError> {
    if options.storage_servers.is_empty() {
        return Ok(None);
    }
    let remote = Remote::new(options.storage_transport.transport()?, &options.storage_servers);
    Ok(Some(Metadata::new(Arc::new(remote))))
}
