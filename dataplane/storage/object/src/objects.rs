//! Objects whose bytes are on chunkservers.

use std::sync::Arc;
use std::time::Duration;

use eddy_chunks::Extent;
use eddy_chunkserver::ChunkClient;
use tokio::sync::Semaphore;

use crate::access::Accesses;
use crate::cache::Cache;
use crate::download::Download;
use crate::error::{ObjectError, Result};
use crate::memory::{Buffers, Memory};
use crate::metadata::Metadata;
use crate::replicas::{Locations, Pack, Placed, Servers, Taking, Written};
use crate::schema::{Contents, NamespaceRow, ObjectRow, Replica};
use crate::upload::Upload;

/// Servers are asked this often how they are.
const REFRESH: Duration = Duration::from_secs(5);

/// Objects of one cluster. Clones share chunks that are written to, and what is remembered.
#[derive(Clone)]
pub struct Objects(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) metadata: Metadata,
    pub(crate) client: ChunkClient,
    pub(crate) servers: Servers,
    pub(crate) locations: Locations,
    pub(crate) pack: Pack,
    pub(crate) cache: Cache,
    /// For what is being written.
    pub(crate) incoming: Buffers,
    /// For what is being read.
    pub(crate) outgoing: Buffers,
    /// For each upload that is sent on as it comes.
    pub(crate) streams: Arc<Semaphore>,
    accesses: Accesses,
}

impl Objects {
    /// Objects whose metadata are in a store and whose bytes are on its servers, which are asked how they are from now on, in so
    /// much memory.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(metadata: Metadata, client: ChunkClient, memory: Memory) -> Result<Self> {
        let (servers, locations) = (Servers::new(), Locations::default());
        servers.refresh(&metadata, &client).await?;
        let pack = Pack::new(metadata.clone(), client.clone(), servers.clone(), locations.clone());
        let (cache, accesses) = (Cache::new(memory.cache_bytes), Accesses::new());
        let (incoming, outgoing) = (Buffers::new(memory.buffer_bytes), Buffers::new(memory.buffer_bytes));
        let streams = Arc::new(Semaphore::new(memory.streams_max));
        let shared =
            Arc::new(Shared { metadata, client, servers, locations, pack, cache, incoming, outgoing, streams, accesses });
        tokio::spawn(refresh(Arc::downgrade(&shared)));
        Ok(Self(shared))
    }

    /// What is stored under which key.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// Whether what is being read takes so much memory that others wait or soon will.
    pub fn is_short_of_memory(&self) -> bool {
        self.0.outgoing.is_short()
    }

    /// Begins to write an object. Where its length is known, so many bytes must come.
    ///
    /// # Errors
    /// [`ObjectError::NoNamespace`], [`ObjectError::QuotaExceeded`] where it could not hold so much, or the store's.
    pub async fn upload(&self, namespace: &str, bytes: Option<u64>) -> Result<Upload> {
        let space = self.0.metadata.namespace(namespace).await?;
        self.upload_to(namespace, &space, bytes).await
    }

    /// Begins to write an object to a namespace that was read just now.
    ///
    /// # Errors
    /// [`ObjectError::QuotaExceeded`] where the namespace could not hold so much, or the store's.
    pub async fn upload_to(&self, namespace: &str, space: &NamespaceRow, bytes: Option<u64>) -> Result<Upload> {
        let mut upload = Upload::new(self.clone(), namespace, space, bytes);
        upload.check_fits(bytes.unwrap_or_default()).await.map(|()| upload)
    }

    /// Begins to read some bytes of an object, from `start` to before `end`.
    ///
    /// # Errors
    /// [`ObjectError::WrongLength`] where it has no such bytes.
    pub fn download(&self, object: &ObjectRow, start: u64, end: u64) -> Result<Download> {
        if start > end || end > object.bytes {
            return Err(ObjectError::WrongLength { announced: object.bytes, came: end });
        }
        Ok(Download::new(self.clone(), object.upload, &object.contents, start, end))
    }

    /// All of a needle.
    ///
    /// # Errors
    /// [`ObjectError::Unreadable`] where no server gives it now, or the store's.
    pub async fn needle(&self, extent: Extent) -> Result<Vec<u8>> {
        let mut download = Download::new(self.clone(), 0, &Contents::Needles(vec![extent]), 0, u64::from(extent.bytes));
        let mut data = Vec::with_capacity(extent.bytes as usize);
        while let Some(block) = download.next().await? {
            data.extend_from_slice(&block);
        }
        Ok(data)
    }

    /// An object of a namespace was read. That is written down within seconds, where it decides its tier.
    pub fn note_read(&self, space: &NamespaceRow, key: &str) {
        self.0.accesses.note(space, key);
    }

    /// Writes down at once which objects were read.
    ///
    /// # Errors
    /// The store's.
    pub async fn write_down_reads(&self) -> Result<()> {
        self.0.accesses.write_down(&self.0.metadata).await
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// A needle is durable on enough servers, and the others may still take it.
    pub(crate) async fn took(&self, placed: &Placed, written: Written, taking: &Taking) {
        let chunk = placed.extent.chunk;
        let Written { durable, failed, mut under_way } = written;
        if !failed.is_empty() {
            self.0.pack.retire(chunk).await;
        }
        let is_left = |replica: &Replica| !failed.contains(replica) && !durable.contains(replica);
        let mut left: Vec<Replica> = placed.targets.iter().map(|target| target.replica).filter(is_left).collect();
        taking.add(chunk, &durable, &left, &failed);
        let (objects, taking) = (self.clone(), taking.clone());
        tokio::spawn(async move {
            while let Some(ended) = under_way.join_next().await {
                let Ok((replica, done)) = ended else { continue };
                let Some(at) = left.iter().position(|one| *one == replica) else { continue };
                left.swap_remove(at);
                if let Err(error) = &done {
                    let (server, error) = (replica.server, eddy_telemetry::error_chain(error));
                    tracing::info!(server, chunk, error, "a copy is missing");
                }
                objects.ended(chunk, replica, done.is_ok(), &taking).await;
            }
            // Of these it will never be known.
            for replica in left {
                objects.ended(chunk, replica, false, &taking).await;
            }
        });
    }

    /// A replica that was about to take a needle did, or failed to.
    async fn ended(&self, chunk: u64, replica: Replica, well: bool, taking: &Taking) {
        taking.end(chunk, replica, well);
        if !well {
            self.0.pack.retire(chunk).await;
            self.degrade(chunk, replica);
        }
    }

    /// Notes that a replica lacks something of a chunk, while whoever found out goes on.
    pub(crate) fn degrade(&self, chunk: u64, replica: Replica) {
        let objects = self.clone();
        tokio::spawn(async move {
            if let Err(error) = objects.0.metadata.degrade(chunk, &[replica]).await {
                tracing::warn!(chunk, %error, "failed to note that a chunk is to be repaired; the next scan will find it");
            }
        });
    }
}

async fn refresh(shared: std::sync::Weak<Shared>) {
    loop {
        tokio::time::sleep(REFRESH).await;
        let Some(shared) = shared.upgrade() else { return };
        if let Err(error) = shared.servers.refresh(&shared.metadata, &shared.client).await {
            tracing::warn!(%error, "failed to ask which chunkservers there are");
        }
        if let Err(error) = shared.accesses.write_down(&shared.metadata).await {
            tracing::warn!(%error, "failed to write down what was read");
        }
    }
}
