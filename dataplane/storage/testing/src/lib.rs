//! A cluster in this process, for tests: real chunkservers on real disks that come and go, metadata in a file. Whatever fails
//! ends the test.
#![allow(missing_docs, reason = "it is there to panic, and its names say what it does")]

mod proxy;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eddy_chunks::{ChunkStore, Extent, StoreOptions};
use eddy_chunkserver::{ChunkClient, Load, Server, serve};
use eddy_disk::RealDisk;
use eddy_kv::{Embedded, EmbeddedOptions, KeyRange, Row};
use eddy_object::schema::{Class, Contents, NamespaceSettings, ObjectRow, PieceRow, ReferenceRow, ServerRow, decode};
use eddy_object::{Attributes, Memory, Metadata, Objects, Precondition, Result};
use eddy_rpc::{TcpTransport, Transport};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub use self::proxy::{Proxy, Way};

pub const CLUSTER: u64 = 3;
pub const SPACE: &str = "space";

pub struct Cluster {
    pub objects: Objects,
    pub namespace: u64,
    servers: Vec<ChunkServer>,
    folder: TempDir,
    capacity_bytes: Option<u64>,
}

struct ChunkServer {
    address: String,
    number: u64,
    /// None where it was stopped: its folder is another's then.
    server: Option<Server>,
    task: JoinHandle<()>,
}

impl Cluster {
    pub async fn start(servers: usize) -> Self {
        Self::start_with_capacity(servers, None).await
    }

    /// With servers whose chunks may take so much of the disk that they share.
    pub async fn start_with_capacity(servers: usize, capacity_bytes: Option<u64>) -> Self {
        Self::start_with(servers, capacity_bytes, Memory::default()).await
    }

    /// With clients that take so much memory.
    pub async fn start_with(servers: usize, capacity_bytes: Option<u64>, memory: Memory) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder takes a test's files");
        let store = Embedded::open(&EmbeddedOptions::new(folder.path().join("metadata"))).expect("an empty folder takes a store");
        let metadata = Metadata::new(Arc::new(store));
        let mut running = Vec::new();
        for at in 0..servers {
            running.push(introduce(&metadata, &folder, at, capacity_bytes).await);
        }
        let namespace =
            metadata.create_namespace(SPACE, NamespaceSettings::default()).await.expect("the store takes a namespace").id;
        let client = ChunkClient::new(Arc::new(TcpTransport::default()), CLUSTER);
        let objects = Objects::open(metadata, client, memory).await.expect("the store says which servers there are");
        Self { objects, namespace, servers: running, folder, capacity_bytes }
    }

    /// Adds a server, as another failure domain. Returns which it is.
    pub async fn add(&mut self) -> usize {
        let at = self.servers.len();
        let server = introduce(self.metadata(), &self.folder, at, self.capacity_bytes).await;
        self.servers.push(server);
        at
    }

    pub fn metadata(&self) -> &Metadata {
        self.objects.metadata()
    }

    pub fn number(&self, server: usize) -> u64 {
        self.servers[server].number
    }

    /// Which server has this number.
    pub fn place_of(&self, server: u64) -> usize {
        self.servers.iter().position(|one| one.number == server).expect("a server of the cluster")
    }

    /// Has a server say that its machine is so busy.
    pub fn set_load(&self, server: usize, load: Load) {
        self.servers[server].server.as_ref().expect("the server runs").set_load(load);
    }

    /// A client of the servers.
    pub fn client(&self) -> ChunkClient {
        ChunkClient::new(Arc::new(TcpTransport::default()), CLUSTER)
    }

    pub fn address(&self, server: usize) -> &str {
        &self.servers[server].address
    }

    /// Flips a bit of a chunk on a server's disk.
    pub fn flip(&self, server: usize, chunk: u64, at: u64) {
        let file = File::options().read(true).write(true).open(self.file_of(server, chunk)).expect("the server has the chunk");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("the chunk has this byte");
        file.write_all_at(&[byte[0] ^ 1], at).expect("the chunk can be written to");
    }

    /// Ends a server without a word.
    pub async fn stop(&mut self, server: usize) {
        let server = &mut self.servers[server];
        server.server = None;
        server.task.abort();
        let _ = (&mut server.task).await;
    }

    pub async fn start_again(&mut self, server: usize) {
        let address = self.servers[server].address.clone();
        self.servers[server] = run(&self.folder.path().join(server.to_string()), &address, self.capacity_bytes).await;
    }

    /// The latest file of a chunk on a server.
    pub fn file_of(&self, server: usize, chunk: u64) -> PathBuf {
        let folder = std::fs::read_dir(self.folder.path().join(server.to_string())).expect("the server has a folder");
        let paths = folder.map(|entry| entry.expect("the folder can be read").path());
        let is_of =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{chunk:016x}-")));
        let changed = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).ok();
        paths.filter(is_of).max_by_key(changed).expect("the server has the chunk")
    }

    pub async fn put(&self, key: &str, data: &Bytes) -> Result<ObjectRow> {
        put(&self.objects, key, data).await
    }

    pub async fn put_in_pieces(&self, key: &str, data: &Bytes, announced: Option<u64>, piece: usize) -> Result<ObjectRow> {
        put_in_pieces(&self.objects, key, data, announced, piece).await
    }

    pub async fn get(&self, key: &str) -> Result<Vec<u8>> {
        let row = self.metadata().object(self.namespace, key).await?;
        self.read(&row, 0, row.bytes).await
    }

    pub async fn read(&self, row: &ObjectRow, start: u64, end: u64) -> Result<Vec<u8>> {
        let mut download = self.objects.download(row, start, end)?;
        let mut data = Vec::new();
        while let Some(block) = download.next().await? {
            data.extend_from_slice(&block);
        }
        Ok(data)
    }

    pub async fn rows(&self, tag: &'static [u8]) -> Vec<Row> {
        rows(self.metadata(), tag).await
    }

    pub async fn check(&self) {
        check(self.metadata(), SPACE).await;
    }
}

/// Writes an object through any door.
pub async fn put(objects: &Objects, key: &str, data: &Bytes) -> Result<ObjectRow> {
    put_in_pieces(objects, key, data, Some(data.len() as u64), 100_000).await
}

async fn put_in_pieces(objects: &Objects, key: &str, data: &Bytes, announced: Option<u64>, piece: usize) -> Result<ObjectRow> {
    let mut upload = objects.upload(SPACE, announced).await?;
    for start in (0..data.len()).step_by(piece) {
        upload.write(data.slice(start..data.len().min(start + piece))).await?;
    }
    upload.finish(key, Attributes::default(), &Precondition::None).await
}

pub async fn rows(metadata: &Metadata, tag: &'static [u8]) -> Vec<Row> {
    metadata.scan_all(KeyRange::prefix(tag)).await.expect("the store is read")
}

/// Every needle of every object and piece is referred to once and counted; nothing else is; quotas count what is there.
pub async fn check(metadata: &Metadata, space: &str) {
    let versions = [rows(metadata, b"o").await, rows(metadata, b"v").await].concat();
    let versions: Vec<ObjectRow> = versions.iter().map(|row| decode(&row.value.bytes).expect("a row of this kind")).collect();
    let pieces = rows(metadata, b"q").await;
    let pieces: Vec<(u64, PieceRow)> = pieces
        .iter()
        .map(|row| {
            (
                u64::from_be_bytes(row.key[1..9].try_into().expect("a number of eight bytes")),
                decode(&row.value.bytes).expect("a row of this kind"),
            )
        })
        .collect();
    let gone: Vec<u64> = rows(metadata, b"t")
        .await
        .iter()
        .map(|row| u64::from_be_bytes(row.key[1..].try_into().expect("a number of eight bytes")))
        .collect();
    let needles = |contents: &Contents| contents.needles().to_vec();
    let mut needed: Vec<Extent> = versions.iter().flat_map(|row| needles(&row.contents)).collect();
    needed.extend(pieces.iter().flat_map(|(_, row)| needles(&row.contents)));
    let references = rows(metadata, b"r").await;
    let mut referred: Vec<Extent> =
        references.iter().map(|row| decode::<ReferenceRow>(&row.value.bytes).expect("a row of this kind").extent).collect();
    needed.sort_unstable();
    referred.sort_unstable();
    assert_eq!(needed, referred);
    for row in rows(metadata, b"l").await {
        let chunk = u64::from_be_bytes(row.key[1..].try_into().expect("a number of eight bytes"));
        let live = i64::from_le_bytes(row.value.bytes[..].try_into().expect("a counter of eight bytes"));
        let stored = |extent: &Extent| i64::try_from(extent.end()).expect("a chunk is shorter") - i64::from(extent.offset);
        assert_eq!(live, needed.iter().filter(|extent| extent.chunk == chunk).map(stored).sum::<i64>());
    }
    let usage = metadata.usage(space).await.expect("the namespace is there");
    assert_eq!(usage.objects, versions.len() as i64);
    // Parts of what is still to be an object count, too.
    let part = |(of, row): &&(u64, PieceRow)| {
        row.part.is_some() && !gone.contains(of) && !versions.iter().any(|version| version.upload == *of)
    };
    let bytes = versions.iter().map(|row| row.bytes as i64).sum::<i64>();
    assert_eq!(usage.bytes, bytes + pieces.iter().filter(part).map(|(_, row)| row.bytes as i64).sum::<i64>());
}

async fn introduce(metadata: &Metadata, folder: &TempDir, at: usize, capacity_bytes: Option<u64>) -> ChunkServer {
    let server = run(&folder.path().join(at.to_string()), "127.0.0.1:0", capacity_bytes).await;
    let row = ServerRow { address: server.address.clone(), failure_domain: at.to_string(), class: Class::Fast };
    metadata.put_server(server.number, &row).await.expect("the store takes a server's row");
    server
}

async fn run(folder: &std::path::Path, address: &str, capacity_bytes: Option<u64>) -> ChunkServer {
    let options = StoreOptions { folder: folder.to_owned(), cluster: CLUSTER, reserved_bytes: 0, capacity_bytes };
    let store = Arc::new(ChunkStore::open(Arc::new(RealDisk), options).expect("the folder takes chunks"));
    let number = store.server();
    let listener = TcpTransport::default().bind(address.parse().expect("an address")).await.expect("the address is free");
    let address = listener.address().expect("a listener has an address").to_string();
    let server = Server::new(store, CLUSTER, Arc::new(TcpTransport::default())).expect("threads can be started");
    ChunkServer { address, number, task: tokio::spawn(serve(listener, server.clone())), server: Some(server) }
}

pub fn random_bytes(seed: u64, length: usize) -> Bytes {
    let mut data = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut data);
    data.into()
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited for 60 s until {what}"));
}
