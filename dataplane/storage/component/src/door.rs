//! The door as a process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eddy_audit::{Recorder, Writing};
use eddy_authz::feed::FeedOptions;
use eddy_authz::{Authenticator, Keys, SigningKey};
use eddy_chunkserver::ChunkClient;
use eddy_kv::component::KvStoreOptions;
use eddy_object::{Memory, Metadata, Objects};
use eddy_rpc::Transport;
use eddy_storage_door::{Door, DoorMetrics, ServeOptions, serve};
use eddy_telemetry::prometheus::registry::Registry;
use eddy_telemetry::{Admin, Health, Shutdown};
use tokio::net::TcpListener;

use crate::error::StorageError;
use crate::kv::cluster_of;

/// Between tries to reach the store.
const PAUSE: Duration = Duration::from_secs(1);

/// Options of the door.
#[derive(clap::Args, Clone, Debug)]
pub struct StorageDoorOptions {
    /// Where clients connect
    #[arg(long, default_value = "0.0.0.0:7600")]
    bind: SocketAddr,

    /// A folder with a file for each user, named after them, whose lines are access keys, id:secret; read again when it
    /// changes
    #[arg(long)]
    keys_folder: PathBuf,

    /// A file with the key that access keys of S3 are derived with; without it, tokens are none
    #[arg(long)]
    signing_key_file: Option<PathBuf>,

    #[command(flatten)]
    permissions: FeedOptions,

    /// A domain whose subdomains are buckets, to S3's clients; may be given several times. Without one, paths begin with the
    /// bucket
    #[arg(long = "s3-domain")]
    s3_domains: Vec<String>,

    /// More connections at once wait
    #[arg(long, default_value_t = ServeOptions::default().connections_max)]
    connections_max: usize,

    /// Whoever sends or takes nothing for so long has gone, and sooner where memory is short; chunkservers wait no longer than 300
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=240))]
    silence_max_seconds: u64,

    /// Memory for short files that were read not long ago
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(0..=1_048_576))]
    cache_mebibytes: u64,

    /// Memory for what is being written and, as much again, for what is being read; who finds none waits
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    buffer_mebibytes: u64,

    /// Long uploads that are sent on as they come, each with a connection to three chunkservers, which take 1,024; of others some MiB
    /// are gathered at a time
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(..=100_000))]
    streams_max: u32,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, default_value = "0.0.0.0:9090")]
    admin_address: SocketAddr,

    #[command(flatten)]
    kv: KvStoreOptions,
}

/// Serves until the end is requested.
///
/// # Errors
/// See [`StorageError`].
pub async fn run_door(options: StorageDoorOptions, shutdown: Shutdown) -> Result<(), StorageError> {
    let health = Health::default();
    let open = health.part("open");
    let admin = Admin::bind(options.admin_address).await?;
    let bound = TcpListener::bind(options.bind).await;
    let listener = bound.map_err(|source| StorageError::Bind { address: options.bind, source })?;
    let transport = options.kv.transport()?;
    let mut registry = Registry::default();
    let metrics = DoorMetrics::register(&mut registry);
    let authenticator = authenticator(&options, &mut registry).await?;
    let (recorder, writing) = recorder(&options, &mut registry).await?;
    tokio::spawn(admin.serve(health, registry, shutdown.clone()));
    let mebibytes = |count: u64| count * 1024 * 1024;
    let memory = Memory {
        cache_bytes: mebibytes(options.cache_mebibytes),
        buffer_bytes: mebibytes(options.buffer_mebibytes),
        streams_max: options.streams_max as usize,
    };
    let metadata = tokio::select! {
        store = options.kv.open(&transport) => Metadata::new(store?),
        () = shutdown.requested() => return Ok(()),
    };
    let objects = tokio::select! {
        objects = objects(metadata, transport, memory) => objects,
        () = shutdown.requested() => return Ok(()),
    };
    // A door that knows nobody yet would refuse whom others know; without NATS it serves what is public all the same.
    tokio::select! {
        () = authenticator.filled_soon() => {}
        () = shutdown.requested() => return Ok(()),
    }
    open.ready();
    tracing::info!(address = %options.bind, "serving files");
    let serving = ServeOptions {
        connections_max: options.connections_max.max(1),
        s3_domains: options.s3_domains,
        ..ServeOptions::default()
    };
    let door = Door::new(objects, authenticator, recorder, Duration::from_secs(options.silence_max_seconds));
    serve(listener, door, serving, metrics, shutdown).await;
    if let Some(writing) = writing {
        writing.end().await;
    }
    Ok(())
}

/// Where it is written down who changed what: nowhere without NATS.
async fn recorder(options: &StorageDoorOptions, registry: &mut Registry) -> Result<(Recorder, Option<Writing>), StorageError> {
    if options.permissions.permissions_file.is_none() {
        return Ok((Recorder::nowhere(), None));
    }
    let (recorder, writing) = Recorder::open(&options.permissions.nats.connect("eddy-storage-door-audit").await?, registry);
    Ok((recorder, Some(writing)))
}

/// By what the door knows who asks.
async fn authenticator(options: &StorageDoorOptions, registry: &mut Registry) -> Result<Authenticator, StorageError> {
    let known = Authenticator::of_keys(Keys::open(&options.keys_folder)?);
    let Some(feed) = options.permissions.open("eddy-storage-door", registry).await? else { return Ok(known) };
    let signing = options.signing_key_file.as_deref().map(SigningKey::read).transpose()?;
    Ok(known.with_tokens(feed, signing))
}

async fn objects(metadata: Metadata, transport: Arc<dyn Transport>, memory: Memory) -> Objects {
    let client = ChunkClient::new(transport, cluster_of(&metadata).await);
    loop {
        match Objects::open(metadata.clone(), client.clone(), memory).await {
            Ok(objects) => return objects,
            Err(error) => {
                tracing::warn!(error = eddy_telemetry::error_chain(&error), "failed to open storage; it is tried again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
