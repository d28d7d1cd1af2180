//! What runs on the hosts: the same code as on real machines, put together as the processes put it together.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use eddy_chunks::{ChunkStore, StoreOptions};
use eddy_chunkserver::{ChunkClient, Server};
use eddy_disk::SimulatedDisk;
use eddy_kv::{GroupOptions, LogOptions, Remote, Replicated, ReplicatedOptions};
use eddy_object::schema::{Class, ServerRow};
use eddy_object::{Memory, Metadata, Objects};
use eddy_rpc::Transport;
use eddy_storage_master::{Master, MasterOptions};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::clock;
use crate::network::Network;

const KV_PORT: u16 = 7400;
const CHUNK_PORT: u16 = 7500;
const PAUSE: Duration = Duration::from_millis(200);
/// What nobody needs goes after this time; clocks are wrong by less.
pub(crate) const GRACE: Duration = Duration::from_secs(60);
/// A day of the rules for how long things stay.
pub(crate) const DAY: Duration = Duration::from_secs(20);

/// A host: its disk outlives what runs on it.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) disk: SimulatedDisk,
    /// By how many milliseconds its calendar is wrong.
    pub(crate) wrong_ms: Arc<AtomicI64>,
}

impl Host {
    /// Makes its calendar that of whatever runs from now on.
    pub(crate) fn set_clock(&self) {
        clock::set_wrong(self.wrong_ms.clone());
    }
}

fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

pub(crate) fn kv_address(host: &str) -> String {
    format!("{host}:{KV_PORT}")
}

fn remote(servers: &[String]) -> Remote {
    Remote::new(Arc::new(Network), servers)
}

/// The metadata, and the number of the cluster, once they can be reached.
async fn metadata_of(servers: &[String]) -> (Metadata, u64) {
    let metadata = Metadata::new(Arc::new(remote(servers)));
    loop {
        if let Ok(cluster) = metadata.cluster().await {
            return (metadata, cluster);
        }
        sleep(PAUSE).await;
    }
}

/// Waits until all replicas vote: before that, one of them may have what no other has.
pub(crate) async fn until_whole(servers: &[String]) {
    let remote = remote(servers);
    let voters = |status: eddy_kv::Status| status.members.iter().filter(|member| member.voter).count();
    while !remote.status().await.into_iter().all(|(_, status)| status.is_ok_and(|status| voters(status) == servers.len())) {
        sleep(PAUSE).await;
    }
}

/// A replica of the metadata's store, until its disk fails.
pub(crate) async fn kv(host: Host, servers: Vec<String>) -> turmoil::Result {
    host.set_clock();
    let listener = Network.bind(any(KV_PORT)).await?;
    let options = ReplicatedOptions {
        folder: "/kv".into(),
        cache_bytes: 1024 * 1024,
        reserved_bytes: 16 * 1024,
        log: LogOptions {
            commands_between_snapshots: 200,
            commands_kept: 50,
            bytes_between_snapshots: 100_000,
            ..LogOptions::default()
        },
        group: Some(GroupOptions { advertise: kv_address(&host.name), peers: servers, standby: false }),
    };
    let opened = Replicated::open_on(Arc::new(host.disk.clone()), options, Some(Arc::new(Network))).await;
    let replica = match opened {
        Ok(replica) => Arc::new(replica),
        // As a process would end, and be started again.
        Err(error) => return ended(&host, &error),
    };
    tokio::spawn(eddy_kv::serve(listener, replica.clone()));
    let joining = replica.clone();
    tokio::spawn(async move { joining.join().await });
    let error = replica.broken().await;
    ended(&host, &error)
}

fn ended(host: &Host, error: &dyn std::error::Error) -> turmoil::Result {
    tracing::info!(host = host.name, %error, "ended");
    Ok(())
}

/// A chunkserver.
pub(crate) async fn chunkserver(host: Host, servers: Vec<String>) -> turmoil::Result {
    host.set_clock();
    let (metadata, cluster) = metadata_of(&servers).await;
    let options = StoreOptions { folder: Path::new("/chunks").to_owned(), cluster, reserved_bytes: 4096, capacity_bytes: None };
    let store = match ChunkStore::open(Arc::new(host.disk.clone()), options) {
        Ok(store) => Arc::new(store),
        Err(error) => return ended(&host, &error),
    };
    let listener = Network.bind(any(CHUNK_PORT)).await?;
    let server = Server::new(store.clone(), cluster, Arc::new(Network))?;
    let serving = tokio::spawn(eddy_chunkserver::serve(listener, server));
    let (address, failure_domain) = (format!("{}:{CHUNK_PORT}", host.name), host.name.clone());
    let row = ServerRow { address, failure_domain, class: Class::Fast };
    while metadata.put_server(store.server(), &row).await.is_err() {
        sleep(PAUSE).await;
    }
    Ok(serving.await?)
}

/// A door: objects, as every client has them.
pub(crate) async fn objects(servers: &[String]) -> (Objects, ChunkClient) {
    let (metadata, cluster) = metadata_of(servers).await;
    let client = ChunkClient::new(Arc::new(Network), cluster);
    // So little that there often is none.
    let memory = Memory { cache_bytes: 256 * 1024, buffer_bytes: 1024 * 1024, streams_max: 2 };
    loop {
        match Objects::open(metadata.clone(), client.clone(), memory).await {
            Ok(objects) => return (objects, client),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// A master, far less patient than real ones.
pub(crate) async fn master(host: Host, servers: Vec<String>) -> turmoil::Result {
    host.set_clock();
    let (objects, client) = objects(&servers).await;
    let options = MasterOptions {
        grace: GRACE,
        patience: Duration::from_secs(8),
        settle: Duration::from_secs(10),
        ..MasterOptions::default()
    };
    let master = Master::new(objects, client, options);
    let seconds = Duration::from_secs;
    tokio::join!(
        every(seconds(2), async || {
            let noted = master.note_lost_servers().await.map(drop);
            noted.and(master.repair().await.map(drop))
        }),
        every(seconds(15), async || {
            let compacted = master.compact(30).await.map(drop);
            compacted.and(master.collect().await.map(drop))
        }),
        every(seconds(10), async || master.expire(DAY).await.map(drop)),
        every(seconds(7), async || master.scrub(seconds(14), seconds(7)).await.map(drop)),
        every(seconds(5), async || master.balance(10, seconds(5)).await.map(drop)),
        every(seconds(6), async || {
            let tiered = master.tier(seconds(10), seconds(5)).await.map(drop);
            tiered.and(master.code(seconds(5)).await.map(drop))
        }),
    );
    Ok(())
}

async fn every<E: std::error::Error + 'static>(time: Duration, mut round: impl AsyncFnMut() -> Result<(), E>) {
    let mut interval = interval(time);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if let Err(error) = round().await {
            tracing::debug!(%error, source = ?error.source(), "a round failed");
        }
    }
}
