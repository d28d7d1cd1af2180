//! The master as a process.

mod figures;
mod rounds;

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use eddy_chunkserver::ChunkClient;
use eddy_kv::component::KvStoreOptions;
use eddy_object::{Memory, Metadata, Objects};
use eddy_storage_master::{Master, MasterOptions};
use eddy_telemetry::prometheus::registry::Registry;
use eddy_telemetry::{Admin, Gauges, Health, Shutdown};

use self::figures::Figures;
use crate::error::StorageError;
use crate::kv::cluster_of;

/// Between tries to reach the store.
const PAUSE: Duration = Duration::from_secs(1);

/// Options of the master.
#[derive(clap::Args, Clone, Debug)]
pub struct StorageMasterOptions {
    /// Seconds for which nobody must have needed what is deleted
    #[arg(long, env = "EDDY_GRACE_SECONDS", default_value_t = 3600)]
    grace_seconds: u64,

    /// Seconds after which a server that does not answer is lost, and what it had is copied from others
    #[arg(long, default_value_t = 300)]
    patience_seconds: u64,

    /// Chunks that are repaired at once
    #[arg(long, default_value_t = 4)]
    repairs_at_once: usize,

    /// MiB that are copied a second to repair chunks; 0 for as many as can be
    #[arg(long, default_value_t = 0)]
    repair_mebibytes_per_second: u64,

    /// Percent by which the shares of servers' disks that are taken may differ before chunks are moved; 100 for never
    #[arg(long, env = "EDDY_BALANCE_ABOVE_PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    balance_above_percent: u8,

    /// Seconds between rounds of moving chunks
    #[arg(long, default_value_t = 60)]
    balance_interval_seconds: u64,

    /// MiB that are moved a second to balance servers, to empty them, and out of wasteful chunks; 0 for as many as can be
    #[arg(long, default_value_t = 32)]
    move_mebibytes_per_second: u64,

    /// Seconds after which all doors know that a server is to be emptied
    #[arg(long, default_value_t = 60)]
    settle_seconds: u64,

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

    /// MiB that are read a second for that, of all copies; 0 for as many as can be
    #[arg(long, default_value_t = 64)]
    scrub_mebibytes_per_second: u64,

    /// Seconds between rounds of what namespaces' rules let go
    #[arg(long, default_value_t = 3600)]
    lifecycle_interval_seconds: u64,

    /// Files of chunks that nobody needs and that are removed a second; 0 for as many as can be
    #[arg(long, default_value_t = 0)]
    collect_files_per_second: u64,

    /// Objects, versions and uploads that these rules end a second; 0 for as many as can be
    #[arg(long, default_value_t = 500)]
    lifecycle_per_second: u64,

    /// Seconds of a day in these rules: fewer are for tests
    #[arg(long, default_value_t = 86_400, hide = true)]
    lifecycle_day_seconds: u64,

    /// Seconds between rounds of moving objects to the cold tier and back, and of coding chunks
    #[arg(long, default_value_t = 300)]
    tier_interval_seconds: u64,

    /// MiB that are moved to another tier, or coded, a second; 0 for as many as can be
    #[arg(long, default_value_t = 32)]
    tier_mebibytes_per_second: u64,

    /// Seconds of a day after which objects are cold: fewer are for tests
    #[arg(long, default_value_t = 86_400, hide = true)]
    tier_day_seconds: u64,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, default_value = "0.0.0.0:9090")]
    admin_address: SocketAddr,

    #[command(flatten)]
    kv: KvStoreOptions,
}

/// Keeps objects whole until the end is requested. Any number of masters may run.
///
/// # Errors
/// See [`StorageError`].
pub async fn run_master(options: StorageMasterOptions, shutdown: Shutdown) -> Result<(), StorageError> {
    let health = Health::default();
    let store = health.part("metadata");
    let admin = Admin::bind(options.admin_address).await?;
    let figures = Arc::new(Figures::default());
    let mut registry = Registry::default();
    let scraped = figures.clone();
    registry.register_collector(Box::new(Gauges(move || scraped.gauges())));
    tokio::spawn(admin.serve(health, registry, shutdown.clone()));
    let transport = options.kv.transport()?;
    let metadata = tokio::select! {
        store = options.kv.open(&transport) => Metadata::new(store?),
        () = shutdown.requested() => return Ok(()),
    };
    let work = async {
        let client = ChunkClient::new(transport, cluster_of(&metadata).await);
        store.ready();
        let patience = MasterOptions {
            grace: Duration::from_secs(options.grace_seconds),
            patience: Duration::from_secs(options.patience_seconds),
            repairs_at_once: options.repairs_at_once.max(1),
            repair_bytes_per_second: mebibytes(options.repair_mebibytes_per_second),
            settle: Duration::from_secs(options.settle_seconds),
            move_bytes_per_second: mebibytes(options.move_mebibytes_per_second),
            tier_bytes_per_second: mebibytes(options.tier_mebibytes_per_second),
            scrub_bytes_per_second: mebibytes(options.scrub_mebibytes_per_second),
            expire_per_second: NonZeroU64::new(options.lifecycle_per_second),
            collect_per_second: NonZeroU64::new(options.collect_files_per_second),
            ..MasterOptions::default()
        };
        let objects = loop {
            match Objects::open(metadata.clone(), client.clone(), Memory::default()).await {
                Ok(objects) => break objects,
                Err(error) => tracing::info!(error = eddy_telemetry::error_chain(&error), "waiting for the store of metadata"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let master = Master::new(objects, client, patience);
        tracing::info!("keeping objects whole");
        // It is large, and whoever waits for it would be.
        Box::pin(rounds::run(&master, &options, &figures)).await;
    };
    tokio::select! { () = work => {}, () = shutdown.requested() => {} }
    Ok(())
}

fn mebibytes(number: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(number.saturating_mul(1024 * 1024))
}
