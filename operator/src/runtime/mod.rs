//! The operator as a process: its client, its Lease, its controllers, and an end in order.

mod definitions;

use std::sync::Arc;
use std::time::Duration;

use eddy_authz::{KeyError, SigningKey};
use eddy_crds::{Network, Vm, Volume};
use eddy_rpc::TlsError;
use eddy_telemetry::{Admin, AdminError, Health, Shutdown, ShutdownError};
use eddy_watch::{Bid, Lease, LeaseError, LostLease};
use kube::Client;
use kube::client::ClientBuilder;
use prometheus_client::registry::Registry;

use crate::context::{self, Context};
use crate::domain::{Domains, SetupError};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::{certificates, container, domain, gateway_api, namespace, pending, route, service_account, token, user};

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuntimeError {
    #[error("failed to find the Kubernetes API: run in a cluster, or set KUBECONFIG")]
    Configuration(#[source] Box<kube::config::InferConfigError>),
    #[error("failed to set up the Kubernetes client")]
    Client(#[source] Box<kube::Error>),
    #[error("failed to prepare for storage")]
    Storage(#[from] TlsError),
    #[error(transparent)]
    Domains(#[from] SetupError),
    #[error("failed to read the key that access keys of S3 are derived with")]
    SigningKey(#[from] KeyError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    LostLease(#[from] LostLease),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Shutdown(#[from] ShutdownError),
}

/// Waits for the definitions and the Lease, then runs every controller until the end is requested.
pub(crate) async fn run(options: Options, shutdown: Shutdown) -> Result<(), RuntimeError> {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let health = Health::default();
    let definitions = health.part("definitions");
    let storage = context::storage(&options)?;
    let domains = Domains::new(&options.domains)?;
    let signing_key = options.signing_key_file.as_deref().map(SigningKey::read).transpose()?;
    let admin = Admin::bind(options.admin_address).await?;
    // Health and metrics are there to the very end, so they do not heed the request to end.
    tokio::spawn(admin.serve(health, registry, Shutdown::default()));

    let client = client(&metrics).await?;
    tokio::select! {
        () = definitions::wait(&client, &definitions) => {}
        () = shutdown.requested() => return Ok(()),
    }
    let bid =
        Bid { namespace: &options.namespace, name: "eddy-operator", identity: &options.identity, seconds: options.lease_seconds };
    let mut lease = Lease::watch(client.clone(), bid).await?;
    tracing::info!(identity = options.identity, "standing by");
    tokio::select! {
        led = lease.acquired() => led?,
        () = shutdown.requested() => {
            lease.release().await;
            return Ok(());
        }
    }
    tracing::info!(identity = options.identity, "leading");
    metrics.leading.set(1);

    let context = Arc::new(Context::new(client.clone(), metrics, &options, domains, storage, signing_key));
    let deadline = Duration::from_secs(options.shutdown_deadline_seconds);
    let work = controllers(&client, &context, options.concurrency, &shutdown);
    let outcome = tokio::select! {
        ended = shutdown.run(deadline, work) => ended.map_err(RuntimeError::from),
        // Another replica may be writing already: no write of ours may follow. One that does is an idempotent apply of the same desired
        // state, and does no harm.
        () = lease.lost() => Err(LostLease.into()),
    };
    lease.release().await;
    outcome?;
    tracing::info!("ended in order");
    Ok(())
}

async fn client(metrics: &Metrics) -> Result<Client, RuntimeError> {
    let configuration = kube::Config::infer().await.map_err(|error| RuntimeError::Configuration(Box::new(error)))?;
    let counted = metrics.requests_layer();
    let builder = ClientBuilder::try_from(configuration).map_err(|error| RuntimeError::Client(Box::new(error)))?;
    Ok(builder.with_layer(&counted).build())
}

/// Runs every controller to its end.
async fn controllers(client: &Client, context: &Arc<Context>, concurrency: u16, shutdown: &Shutdown) {
    let stop = || {
        let shutdown = shutdown.clone();
        async move { shutdown.requested().await }
    };
    macro_rules! pending {
        ($kind:ty, $name:literal) => {
            pending::run::<$kind>($name, client.clone(), context.clone(), 1, stop())
        };
    }
    tokio::join!(
        user::run(client.clone(), context.clone(), concurrency, stop()),
        container::run(client.clone(), context.clone(), concurrency, stop()),
        certificates::run(client.clone(), context.clone(), concurrency, stop()),
        route::run(client.clone(), context.clone(), concurrency, stop()),
        namespace::run(client.clone(), context.clone(), concurrency, stop()),
        pending!(Vm, "VM"),
        pending!(Volume, "Volume"),
        pending!(Network, "Network"),
        domain::run(client.clone(), context.clone(), concurrency, stop()),
        service_account::run(client.clone(), context.clone(), concurrency, stop()),
        token::run(client.clone(), context.clone(), concurrency, stop()),
        gateway_api::run(client.clone(), context.clone(), stop()),
    );
}
