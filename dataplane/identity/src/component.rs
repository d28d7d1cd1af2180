//! Identity as a process.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use async_nats::Client as Nats;
use eddy_audit::Trail;
use eddy_authz::feed::{HEARTBEAT_EVERY, NatsError};
use eddy_crds::{Container, ServiceAccount, Token, User};
use eddy_kv::component::KvStoreError;
use eddy_people::{People, PeopleError, SignInError};
use eddy_rpc::TlsError;
use eddy_telemetry::prometheus::registry::Registry;
use eddy_telemetry::{Admin, AdminError, Health, Readiness, Shutdown, error_chain};
use eddy_watch::{Bid, watch_well_formed};
use futures::future::ready;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use kube::Client;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::election::{ConfirmError, confirm, elect};
use crate::fact::Says;
use crate::metrics::IdentityMetrics;
use crate::outage::Outages;
use crate::people::PeopleOptions;
use crate::publish::{PublishError, Publisher};
use crate::signed_in;
use crate::used::{self, LastUses};
use crate::world::{Change, Listing, World};

/// Between tries to open the bucket.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
/// Between two times that what has ended is removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Between two times that the stream of records is looked after.
const TRAIL_EVERY: Duration = Duration::from_secs(300);
/// What keys of sessions begin with.
const SESSIONS: &str = "session.";

/// Options of identity.
#[derive(clap::Args, Clone, Debug)]
pub struct IdentityOptions {
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, default_value = "0.0.0.0:9090")]
    admin_address: SocketAddr,

    /// Replicas of the bucket that permissions are in
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    bucket_replicas: u8,

    /// The core namespace that holds the Lease of whoever publishes
    #[arg(long, env = "POD_NAMESPACE", default_value = "eddy-system")]
    namespace: String,

    /// This replica's name in the Lease
    #[arg(long, env = "POD_NAME", default_value = "eddy-identity")]
    identity: String,

    /// Seconds after which a replica that publishes and was not heard of is replaced
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(5..=60))]
    lease_seconds: u64,

    #[command(flatten)]
    people: PeopleOptions,
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
    /// The address cannot be listened on.
    #[error("failed to listen on {address}: choose another --bind")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Nobody is known who could sign in.
    #[error("signing in asks who there is: give --permissions-file")]
    NoPermissions,
    /// Rows of people cannot be sealed.
    #[error(transparent)]
    SealingKey(#[from] eddy_authz::KeyError),
    /// The store cannot be talked to.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] KvStoreError),
    /// Who there is cannot be asked.
    #[error("failed to ask the Kubernetes API for the User")]
    Users(#[source] Box<kube::Error>),
    /// There is no such User.
    #[error("there is no User {0:?}: make it first")]
    NoUser(String),
    /// What is kept of people cannot be written.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// Nobody can sign in.
    #[error(transparent)]
    SignIn(#[from] SignInError),
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
    let client = eddy_watch::client().await.map_err(|error| IdentityError::Kubernetes(Box::new(error)))?;
    let nats = options.people.nats().connect("eddy-identity").await?;
    let signing_in = tokio::select! {
        signing_in = options.people.open(&nats, &health, &mut registry) => signing_in?,
        () = shutdown.requested() => return Ok(()),
    };
    tokio::spawn(admin.serve(health, registry, shutdown.clone()));
    tokio::spawn(keep_trail(nats.clone(), usize::from(options.bucket_replicas)));
    let (leads, led) = watch::channel(false);
    let bid =
        Bid { namespace: &options.namespace, name: "eddy-identity", identity: &options.identity, seconds: options.lease_seconds };
    let mut lease = None;
    let used = used::messages(nats.clone()).map(Heard::Used);
    let mut changes = stream::select(watched(&client), used).boxed();
    let (mut world, mut swept) = (World::default(), None);
    let serving = match signing_in {
        Some(signing_in) => {
            let signed_in = signed_in::changes(signing_in.sessions.clone(), nats.clone()).map(Heard::Change);
            changes = stream::select(changes, signed_in).boxed();
            swept = Some(signing_in.people.clone());
            tokio::spawn(signing_in.serve(shutdown.clone()))
        }
        None => {
            // Nobody has signed in.
            world.take(Change::All(signed_in::KIND, Vec::new()));
            tokio::spawn(async {})
        }
    };
    let publishing =
        publish(world, changes, led.clone(), (&client, bid), (&nats, usize::from(options.bucket_replicas)), published, metrics);
    tokio::select! {
        () = publishing => {}
        () = elect(&client, bid, &mut lease, &leads) => {}
        () = sweep(swept, led) => {}
        () = shutdown.requested() => {}
    }
    // Nothing is published any more: another may begin at once.
    if let Some(lease) = lease {
        lease.release().await;
    }
    let _ = serving.await;
    Ok(())
}

/// Kinds that are watched. Sessions are not among them: while the store is away, tokens go on being published.
const KINDS: [&str; 4] = [User::KIND, ServiceAccount::KIND, Token::KIND, Container::KIND];

/// What is heard of what is watched.
enum Heard {
    Change(Change),
    /// The watch of a kind failed. It goes on by itself.
    Failed(&'static str),
    /// Tokens of these ids were used.
    Used(Vec<Box<str>>),
}

/// What happens to everything that permissions are made of.
fn watched(client: &Client) -> BoxStream<'static, Heard> {
    stream::select_all([
        followed::<User>(client),
        followed::<ServiceAccount>(client),
        followed::<Token>(client),
        followed::<Container>(client),
    ])
    .boxed()
}

fn followed<K>(client: &Client) -> BoxStream<'static, Heard>
where
    K: Says + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let mut listing = Listing::<K>::default();
    let changes = watch_well_formed::<K>(client).filter_map(move |event| {
        ready(match event {
            Ok(event) => listing.change(event).map(Heard::Change),
            Err(error) => {
                tracing::warn!(error = error_chain(&error), kind = K::KIND, "failed to watch");
                Some(Heard::Failed(K::KIND))
            }
        })
    });
    changes.boxed()
}

/// Makes the stream that records of who did what go into.
async fn keep_trail(nats: Nats, replicas: usize) {
    loop {
        let pause = match Trail::open(&nats, replicas).await {
            // A bus that lost its disk gets another.
            Ok(_) => TRAIL_EVERY,
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "failed to make the stream of records; it is tried again");
                PAUSE
            }
        };
        sleep(pause).await;
    }
}

/// Removes what has ended of people, where this replica leads; for ever.
async fn sweep(people: Option<People>, leads: watch::Receiver<bool>) {
    let Some(people) = people else { return std::future::pending().await };
    loop {
        sleep(SWEEP_EVERY).await;
        if !*leads.borrow() {
            continue;
        }
        match people.sweep(Timestamp::now().as_second()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed what had ended of people"),
            Err(error) => tracing::warn!(error = error_chain(&error), "failed to remove what has ended of people"),
        }
    }
}

async fn publish(
    mut world: World,
    mut changes: BoxStream<'static, Heard>,
    leads: watch::Receiver<bool>,
    (client, bid): (&Client, Bid<'_>),
    (nats, replicas): (&Nats, usize),
    health: Readiness,
    metrics: IdentityMetrics,
) {
    let (mut publisher, mut outages) = (None, Outages::default());
    let mut knows_sessions = world.knows(&[signed_in::KIND]);
    let mut last_uses = LastUses::new(client.clone());
    let mut take = |world: &mut World, outages: &mut Outages, heard| match heard {
        Heard::Change(change) => world.take(change),
        Heard::Failed(kind) => outages.failed(kind, Instant::now()),
        Heard::Used(ids) if *leads.borrow() => last_uses.take(world, ids),
        Heard::Used(_) => {}
    };
    let mut beats = interval(HEARTBEAT_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            change = changes.next() => {
                let Some(change) = change else { return };
                take(&mut world, &mut outages, change);
                while let Some(Some(change)) = changes.next().now_or_never() {
                    take(&mut world, &mut outages, change);
                }
            }
            _ = beats.tick() => {}
        }
        if world.knows(&[signed_in::KIND]) && !std::mem::replace(&mut knows_sessions, true) {
            // What was left in the bucket until now is compared with who has signed in.
            publisher = None;
        }
        // What is not whole yet would take away what is only still to come.
        if !world.knows(&KINDS) {
            continue;
        }
        if !*leads.borrow() {
            // Whatever another publishes meanwhile is asked for anew.
            publisher = None;
            health.ready();
            continue;
        }
        // Who may no longer see what changes neither says that nothing does, nor what it knows.
        if let Some(kind) = outages.lasting(Instant::now()) {
            health.not_ready(format!("failed to watch {kind}s"));
            publisher = None;
            continue;
        }
        match step(&mut publisher, &mut world, (client, bid), (nats, replicas), &metrics).await {
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

/// Why nothing was published. It is tried again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Confirm(#[from] ConfirmError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Publishes what changed, and that nothing else did.
async fn step(
    publisher: &mut Option<Publisher>,
    world: &mut World,
    (client, bid): (&Client, Bid<'_>),
    (nats, replicas): (&Nats, usize),
    metrics: &IdentityMetrics,
) -> Result<(), StepError> {
    let changes = world.changes();
    let (publisher, count) = match publisher {
        Some(publisher) => {
            publisher.publish(&changes).await?;
            (publisher, changes.len())
        }
        None => {
            // Whoever lost it unawares would take over from whoever has it now, with what they knew before.
            confirm(client, bid).await?;
            let mut opened = Publisher::open(nats, replicas).await?;
            let count = {
                // Who has signed in goes on to be, until it is known who has.
                let is_left = |key: &str| !world.knows(&[signed_in::KIND]) && key.starts_with(SESSIONS);
                opened.publish_all_but(&world.all(), is_left).await?
            };
            (publisher.insert(opened), count)
        }
    };
    if count > 0 {
        metrics.entries.set(i64::try_from(world.len()).unwrap_or(i64::MAX));
        metrics.changes.inc_by(count as u64);
        tracing::debug!(entries = world.len(), changed = count, "published permissions");
    }
    Ok(publisher.beat().await?)
}
