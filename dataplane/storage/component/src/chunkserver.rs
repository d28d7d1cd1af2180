//! A chunkserver as a process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use eddy_chunks::{ChunkStore, StoreOptions};
use eddy_chunkserver::{Server, serve};
use eddy_disk::RealDisk;
use eddy_kv::component::KvStoreOptions;
use eddy_object::Metadata;
use eddy_object::schema::{Class, ServerRow};
use eddy_telemetry::prometheus::registry::Registry;
use eddy_telemetry::{Admin, Figure, Gauges, Health, Shutdown, figure};

use crate::error::StorageError;
use crate::kv::cluster_of;
use crate::load;

const MEBIBYTE: u64 = 1024 * 1024;
/// Between tries to say where it is.
const PAUSE: Duration = Duration::from_secs(1);

/// Options of a chunkserver.
#[derive(clap::Args, Clone, Debug)]
pub struct ChunkserverOptions {
    /// Where the chunks are; one folder, and one disk, a server
    #[arg(long)]
    folder: PathBuf,

    /// Where readers and writers connect
    #[arg(long, default_value = "0.0.0.0:7500")]
    bind: SocketAddr,

    /// The host at which they reach this server
    #[arg(long)]
    advertise_host: String,

    /// The port at which they do, if it is not the one of --bind
    #[arg(long)]
    advertise_port: Option<u16>,

    /// What fails as one with this server, as its machine: copies are spread over as many of these as there are; the
    /// advertised host if unset
    #[arg(long, env = "EDDY_FAILURE_DOMAIN")]
    failure_domain: Option<String>,

    /// How fast the disk is: cold objects go to slow servers, if there are such, all others to fast ones
    #[arg(long, env = "EDDY_CLASS", value_enum, default_value_t = DiskClass::Fast)]
    class: DiskClass,

    /// Room that is left on the disk when no chunk is made any more; those that were made before may grow into half of it
    #[arg(long, default_value_t = 1024)]
    reserved_mebibytes: u64,

    /// What chunks may take of the disk, if not all of it: where the disk is not theirs alone
    #[arg(long)]
    capacity_mebibytes: Option<u64>,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, default_value = "0.0.0.0:9090")]
    admin_address: SocketAddr,

    #[command(flatten)]
    kv: KvStoreOptions,
}

/// How fast a disk is.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum DiskClass {
    /// For what is read.
    Fast,
    /// For what is kept.
    Slow,
}

/// Serves until the end is requested.
///
/// # Errors
/// See [`StorageError`].
pub async fn run_chunkserver(options: ChunkserverOptions, shutdown: Shutdown) -> Result<(), StorageError> {
    let health = Health::default();
    let registered = health.part("registered");
    let admin = Admin::bind(options.admin_address).await?;
    let transport = options.kv.transport()?;
    let listening = transport.bind(options.bind).await;
    let listener = listening.map_err(|source| StorageError::Bind { address: options.bind, source })?;
    // Before the store of metadata answers, which may take long: whoever looks after this process must not take it for one that hangs.
    let figures = Arc::new(OnceLock::<Server>::new());
    let mut registry = Registry::default();
    let scraped = figures.clone();
    registry.register_collector(Box::new(Gauges(move || scraped.get().map(gauges).unwrap_or_default())));
    tokio::spawn(admin.serve(health, registry, shutdown.clone()));
    let metadata = tokio::select! {
        store = options.kv.open(&transport) => Metadata::new(store?),
        () = shutdown.requested() => return Ok(()),
    };
    let cluster = tokio::select! {
        cluster = cluster_of(&metadata) => cluster,
        () = shutdown.requested() => return Ok(()),
    };
    let store = StoreOptions {
        folder: options.folder.clone(),
        cluster,
        reserved_bytes: options.reserved_mebibytes.saturating_mul(MEBIBYTE),
        capacity_bytes: options.capacity_mebibytes.map(|number| number.saturating_mul(MEBIBYTE)),
    };
    let store = Arc::new(ChunkStore::open(Arc::new(RealDisk), store)?);
    let server = Server::new(store.clone(), cluster, transport.clone()).map_err(StorageError::Thread)?;
    let server = figures.get_or_init(|| server).clone();
    let measuring = tokio::spawn(load::measure(server.clone(), options.folder.clone()));
    let serving = tokio::spawn(serve(listener, server));
    tracing::info!(address = %options.bind, folder = %options.folder.display(), epoch = store.epoch(), "serving chunks");
    let register = async {
        register(&metadata, store.server(), &options).await;
        registered.ready();
        std::future::pending::<()>().await;
    };
    tokio::select! { () = register => {}, () = shutdown.requested() => {} }
    serving.abort();
    measuring.abort();
    Ok(())
}

/// Says where this server is, again and again until that is known.
async fn register(metadata: &Metadata, server: u64, options: &ChunkserverOptions) {
    let port = options.advertise_port.unwrap_or_else(|| options.bind.port());
    let failure_domain = options.failure_domain.clone().unwrap_or_else(|| options.advertise_host.clone());
    let class = match options.class {
        DiskClass::Fast => Class::Fast,
        DiskClass::Slow => Class::Slow,
    };
    let row = ServerRow { address: format!("{}:{port}", options.advertise_host), failure_domain, class };
    while let Err(error) = metadata.put_server(server, &row).await {
        tracing::warn!(error = eddy_telemetry::error_chain(&error), "failed to say where this server is");
        tokio::time::sleep(PAUSE).await;
    }
    tracing::info!(server, address = row.address, failure_domain = row.failure_domain, "registered");
}

fn gauges(server: &Server) -> Vec<Figure> {
    let Ok(status) = server.status() else { return Vec::new() };
    vec![
        ("eddy_chunkserver_chunks", "Files of chunks that this server has", figure(status.files)),
        ("eddy_chunkserver_disk_bytes", "The room of its disk", figure(status.total_bytes)),
        ("eddy_chunkserver_disk_available_bytes", "What may still be written to its disk", figure(status.available_bytes)),
        ("eddy_chunkserver_disk_busy_thousandths", "Share of the time in which its disk worked", figure(status.load.disk)),
        (
            "eddy_chunkserver_processors_busy_thousandths",
            "Share of the time in which its machine's processors worked",
            figure(status.load.processors),
        ),
        ("eddy_chunkserver_memory_taken_thousandths", "Share of its machine's memory that is taken", figure(status.load.memory)),
        ("eddy_chunkserver_epoch", "How often it was started", figure(status.epoch)),
    ]
}
