//! Identity as a process.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use async_nats::Client as Nats;
use eddy_authz::feed::{HEARTBEAT_EVERY, NatsError, NatsOptions};
use eddy_crds::{Container, ServiceAccount, Token, User};
use eddy_telemetry::prometheus::registry::Registry;
use eddy_telemetry::{Admin, AdminError, Health, Readiness, Shutdown, error_chain};
use eddy_watch::watch_well_formed;
use futures::future::ready;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use kube::Client;
use serde::de::DeserializeOwned;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::fact::Says;
use crate::metrics::IdentityMetrics;
use crate::publish::{PublishError, Publisher};
use crate::world::{Change, Listing, World};

/// Between tries to open the bucket.
const PAUSE: Duration = Duration::from_secs(1);

/// Options of identity.
#[derive(clap::Args, Clone, Debug)]
pub struct IdentityOptions {
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, default_value = "0.0.0.0:9090")]
    admin_address: SocketAddr,

    /// Replicas of the bucket that permissions are in
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    bucket_replicas: u8,

    #[command(flatten)]
    nats: NatsOptions,
}

/// Why identity ended.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no Kubernetes to ask.
    #[error("failed to find the Kubernetes API: run in a cluster, or set KUBECONFIG")]
    Kubernetes(#[source] Box<kube::Error>),
    /// Health and metrics cannot be served.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// NATS cannot be reached as it was said.
    #[error(transparent)]
    Nats(#[from] NatsError),
}

/// Publishes permissions until the end is requested.
///
/// # Errors
/// See [`IdentityError`].
pub async fn run(options: IdentityOptions, shutdown: Shutdown) -> Result<(), IdentityError> {
    let health = Health::default();
    let published = health.part("published");
    let mut registry = Registry::default();
    let metrics = IdentityMetrics::register(&mut registry);
    let admin = Admin::bind(options.admin_address).await?;
    tokio::spawn(admin.serve(health, registry, shutdown.clone()));
    let client = Client::try_default().await.map_err(|error| IdentityError::Kubernetes(Box::new(error)))?;
    let nats = options.nats.connect("eddy-identity").await?;
    let publishing = publish(watched(&client), nats, usize::from(options.bucket_replicas), published, metrics);
    tokio::select! {
        () = publishing => {}
        () = shutdown.requested() => {}
    }
    Ok(())
}

/// Kinds that are watched.
const KINDS: usize = 4;

/// What happens to everything that permissions are made of.
fn watched(client: &Client) -> BoxStream<'static, Change> {
    stream::select_all([
        followed::<User>(client),
        followed::<ServiceAccount>(client),
        followed::<Token>(client),
        followed::<Container>(client),
    ])
    .boxed()
}

fn followed<K>(client: &Client) -> BoxStream<'static, Change>
where
    K: Says + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let mut listing = Listing::<K>::default();
    let changes = watch_well_formed::<K>(client).filter_map(move |event| {
        let event = event.inspect_err(|error| tracing::warn!(error = error_chain(error), "failed to watch"));
        ready(event.ok().and_then(|event| listing.change(event)))
    });
    changes.boxed()
}

async fn publish(
    mut changes: BoxStream<'static, Change>,
    nats: Nats,
    replicas: usize,
    health: Readiness,
    metrics: IdentityMetrics,
) {
    let (mut world, mut publisher) = (World::default(), None);
    let mut beats = interval(HEARTBEAT_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            change = changes.next() => {
                let Some(change) = change else { return };
                world.take(change);
                while let Some(Some(change)) = changes.next().now_or_never() {
                    world.take(change);
                }
            }
            _ = beats.tick() => {}
        }
        // What is not whole yet would take away what is only still to come.
        if !world.is_whole(KINDS) {
            continue;
        }
        match step(&mut publisher, &mut world, (&nats, replicas), &metrics).await {
            Ok(()) => health.ready(),
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "failed to publish permissions; it is tried again");
                metrics.failures.inc();
                // What is in the bucket by now is asked for anew.
                publisher = None;
                sleep(PAUSE).await;
            }
        }
    }
}

/// Publishes what changed, and that nothing else did.
async fn step(
    publisher: &mut Option<Publisher>,
    world: &mut World,
    (nats, replicas): (&Nats, usize),
    metrics: &IdentityMetrics,
) -> Result<(), PublishError> {
    let changes = world.changes();
    let (publisher, count) = match publisher {
        Some(publisher) => {
            publisher.publish(&changes).await?;
            (publisher, changes.len())
        }
        None => {
            let opened = Publisher::open(nats, replicas).await?;
            let count = opened.publish_all(&world.all()).await?;
            (publisher.insert(opened), count)
        }
    };
    if count > 0 {
        metrics.entries.set(i64::try_from(world.len()).unwrap_or(i64::MAX));
        metrics.changes.inc_by(count as u64);
        tracing::debug!(entries = world.len(), changed = count, "published permissions");
    }
    publisher.beat().await
}
