//! The master as a process.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use eddy_chunkserver::ChunkClient;
use eddy_object::{Metadata, ObjectError, Objects};
use eddy_rpc::TcpTransport;
use eddy_storage_master::{Collected, Expired, Master, MasterOptions, Repaired, Scrubbed};
use eddy_telemetry::prometheus::registry::Registry;
use eddy_telemetry::{Admin, Figure, Gauges, Health, Shutdown, figure};

use crate::error::StorageError;
use crate::kv::{KvServers, cluster_of};

/// Between tries to reach the store.
const PAUSE: Duration = Duration::from_secs(1);

/// Options of the master.
#[derive(clap::Args, Clone, Debug)]
pub struct StorageMasterOptions {
    /// Seconds for which nobody must have needed what is deleted
    #[arg(long, default_value_t = 3600)]
    grace_seconds: u64,

    /// Seconds after which a server that does not answer is lost, and what it had is copied from others
    #[arg(long, default_value_t = 300)]
    patience_seconds: u64,

    /// Chunks that are repaired at once
    #[arg(long, default_value_t = 4)]
    repairs_at_once: usize,

    /// Seconds between rounds of repair
    #[arg(long, default_value_t = 10)]
    repair_interval_seconds: u64,

    /// Seconds between rounds of collection
    #[arg(long, default_value_t = 300)]
    collect_interval_seconds: u64,

    /// Percent of a chunk that nobody may need before what is needed of it is moved
    #[arg(long, default_value_t = 30)]
    compact_above_percent: u8,

    /// Days within which all copies of every chunk are read
    #[arg(long, default_value_t = 28)]
    scrub_days: u64,

    /// Seconds between rounds of that, which share the work
    #[arg(long, default_value_t = 60)]
    scrub_interval_seconds: u64,

    /// Seconds between rounds of what namespaces' rules let go
    #[arg(long, default_value_t = 3600)]
    lifecycle_interval_seconds: u64,

    /// Seconds of a day in these rules: fewer are for tests
    #[arg(long, default_value_t = 86_400, hide = true)]
    lifecycle_day_seconds: u64,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, default_value = "0.0.0.0:9090")]
    admin_address: SocketAddr,

    #[command(flatten)]
    kv: KvServers,
}

/// What became of the last rounds.
#[derive(Default)]
struct Rounds {
    repaired: Repaired,
    collected: Collected,
    scrubbed: Scrubbed,
    expired: u64,
    compacted: u64,
    copies: u64,
    files: u64,
    ended: Option<Instant>,
}

/// Keeps objects whole until the end is requested. Any number of masters may run.
///
/// # Errors
/// See [`StorageError`].
pub async fn run_master(options: StorageMasterOptions, shutdown: Shutdown) -> Result<(), StorageError> {
    let health = Health::default();
    let store = health.part("metadata");
    let admin = Admin::bind(options.admin_address).await?;
    let rounds = Arc::new(Mutex::new(Rounds::default()));
    let mut registry = Registry::default();
    let figures = rounds.clone();
    registry.register_collector(Box::new(Gauges(move || gauges(&figures))));
    tokio::spawn(admin.serve(health, registry, shutdown.clone()));
    let work = async {
        let remote = options.kv.remote();
        let client = ChunkClient::new(Arc::new(TcpTransport), cluster_of(&remote).await);
        store.ready();
        let patience = MasterOptions {
            grace: Duration::from_secs(options.grace_seconds),
            patience: Duration::from_secs(options.patience_seconds),
            repairs_at_once: options.repairs_at_once.max(1),
        };
        let metadata = Metadata::new(Arc::new(remote));
        let objects = loop {
            match Objects::open(metadata.clone(), client.clone(), 0).await {
                Ok(objects) => break objects,
                Err(error) => tracing::info!(error = eddy_telemetry::error_chain(&error), "waiting for the store of metadata"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let master = Master::new(objects, client, patience);
        tracing::info!("keeping objects whole");
        tend(&master, &options, &rounds).await;
    };
    tokio::select! { () = work => {}, () = shutdown.requested() => {} }
    Ok(())
}

async fn tend(master: &Master, options: &StorageMasterOptions, rounds: &Mutex<Rounds>) {
    let mut repair = tokio::time::interval(Duration::from_secs(options.repair_interval_seconds.max(1)));
    let mut collect = tokio::time::interval(Duration::from_secs(options.collect_interval_seconds.max(1)));
    repair.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    collect.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let interval = Duration::from_secs(options.scrub_interval_seconds.max(1));
    // What has become due is read within as much time again.
    let age = Duration::from_secs(options.scrub_days * 24 * 3600 / 2);
    let mut scrub = tokio::time::interval(interval);
    scrub.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut expire = tokio::time::interval(Duration::from_secs(options.lifecycle_interval_seconds.max(1)));
    expire.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let ended = tokio::select! {
            _ = expire.tick() => expire_round(master, options, rounds).await,
            _ = scrub.tick() => scrub_round(master, age, interval, rounds).await,
            _ = repair.tick() => repair_round(master, rounds).await,
            _ = collect.tick() => collect_round(master, options, rounds).await,
        };
        match ended {
            Ok(()) => lock(rounds).ended = Some(Instant::now()),
            Err(error) => tracing::warn!(error = eddy_telemetry::error_chain(&error), "a round failed; it is tried again"),
        }
    }
}

async fn repair_round(master: &Master, rounds: &Mutex<Rounds>) -> Result<(), ObjectError> {
    let noted = master.note_lost_servers().await?;
    let repaired = master.repair().await?;
    if repaired != Repaired::default() {
        tracing::info!(
            noted,
            healthy = repaired.healthy,
            copies = repaired.copies,
            bytes = repaired.bytes,
            waiting = repaired.waiting,
            unreadable = repaired.unreadable.len(),
            "repaired"
        );
    }
    let mut rounds = lock(rounds);
    rounds.copies += repaired.copies as u64;
    rounds.repaired = repaired;
    Ok(())
}

async fn scrub_round(master: &Master, age: Duration, interval: Duration, rounds: &Mutex<Rounds>) -> Result<(), ObjectError> {
    let scrubbed = master.scrub(age, interval).await?;
    if scrubbed.noted > 0 {
        tracing::warn!(whole = scrubbed.whole, noted = scrubbed.noted, due = scrubbed.due, "scrubbing found damage");
    }
    lock(rounds).scrubbed = scrubbed;
    Ok(())
}

async fn expire_round(master: &Master, options: &StorageMasterOptions, rounds: &Mutex<Rounds>) -> Result<(), ObjectError> {
    let Expired { objects, versions, uploads, namespaces } =
        master.expire(Duration::from_secs(options.lifecycle_day_seconds.max(1))).await?;
    if objects + versions + uploads > 0 {
        tracing::info!(objects, versions, uploads, namespaces, "expired");
    }
    lock(rounds).expired += (objects + versions + uploads) as u64;
    Ok(())
}

async fn collect_round(master: &Master, options: &StorageMasterOptions, rounds: &Mutex<Rounds>) -> Result<(), ObjectError> {
    let compacted = master.compact(options.compact_above_percent).await?;
    if compacted.chunks > 0 {
        tracing::info!(chunks = compacted.chunks, needles = compacted.needles, bytes = compacted.bytes, "compacted");
    }
    let collected = master.collect().await?;
    let Collected { objects, uploads, chunks, files, strays } = collected;
    if objects + uploads + chunks + files > 0 {
        tracing::info!(objects, uploads, chunks, files, strays, "collected");
    }
    let mut rounds = lock(rounds);
    rounds.files += files as u64;
    rounds.compacted += compacted.bytes;
    rounds.collected = collected;
    Ok(())
}

fn lock(rounds: &Mutex<Rounds>) -> std::sync::MutexGuard<'_, Rounds> {
    rounds.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gauges(rounds: &Mutex<Rounds>) -> Vec<Figure> {
    let rounds = lock(rounds);
    let Some(ended) = rounds.ended else { return Vec::new() };
    vec![
        ("eddy_storage_chunks_waiting", "Chunks with too few copies that could not be made now", figure(rounds.repaired.waiting)),
        ("eddy_storage_chunks_unreadable", "Chunks with bytes that no server gives", figure(rounds.repaired.unreadable.len())),
        ("eddy_storage_copies_made", "Copies that this process has made", figure(rounds.copies)),
        ("eddy_storage_files_collected", "Files of chunks that this process has removed", figure(rounds.files)),
        ("eddy_storage_files_stray", "Files that no row names, and that are not old enough", figure(rounds.collected.strays)),
        (
            "eddy_storage_bytes_compacted",
            "Bytes that this process moved out of chunks of which too little is needed",
            figure(rounds.compacted),
        ),
        ("eddy_storage_expired", "Objects, versions and uploads that this process let go by rules", figure(rounds.expired)),
        ("eddy_storage_chunks_unverified", "Chunks whose turn to be read has come", figure(rounds.scrubbed.due)),
        (
            "eddy_storage_oldest_unverified_seconds",
            "Since all copies of the chunk were read for which that is longest ago",
            figure(rounds.scrubbed.oldest.as_secs()),
        ),
        ("eddy_storage_last_round_seconds", "Since the last round that did not fail", figure(ended.elapsed().as_secs())),
    ]
}
