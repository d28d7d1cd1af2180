//! The chunkservers as they were when last asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use eddy_chunkserver::{ChunkClient, ServerAddress, Source};
use futures::future::join_all;

use crate::error::Result;
use crate::metadata::Metadata;
use crate::placement::Candidate;
use crate::schema::Replica;

/// A snapshot of all servers. Clones share it.
#[derive(Clone, Default)]
pub struct Servers {
    known: Arc<ArcSwap<BTreeMap<u64, Known>>>,
}

struct Known {
    address: String,
    /// None if it did not answer.
    candidate: Option<Candidate>,
}

impl Servers {
    /// None is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all of them.
    ///
    /// # Errors
    /// The store's.
    pub async fn refresh(&self, metadata: &Metadata, client: &ChunkClient) -> Result<()> {
        let (rows, draining) = (metadata.servers().await?, metadata.drains().await?);
        let draining = &draining;
        let asked = rows.into_iter().map(|(server, row)| async move {
            let status = client.status(&row.address).await;
            // Another server may have its address by now.
            let status = status.ok().filter(|status| status.server == server);
            let candidate = status.map(|status| Candidate {
                server,
                failure_domain: row.failure_domain,
                class: row.class,
                total_bytes: status.total_bytes,
                available_bytes: status.available_bytes,
                load: status.load,
                draining: draining.contains_key(&server),
            });
            (server, Known { address: row.address, candidate })
        });
        self.known.store(Arc::new(join_all(asked).await.into_iter().collect()));
        Ok(())
    }

    /// Those that answered.
    pub fn candidates(&self) -> Vec<Candidate> {
        self.known.load().values().filter_map(|known| known.candidate.clone()).collect()
    }

    /// Whether a server is being emptied, so that nothing more is to be written to it.
    pub(crate) fn is_draining(&self, server: u64) -> bool {
        let known = self.known.load();
        known.get(&server).and_then(|known| known.candidate.as_ref()).is_some_and(|candidate| candidate.draining)
    }

    /// Where a server is.
    pub fn address(&self, server: u64) -> Option<ServerAddress> {
        self.known.load().get(&server).map(|known| ServerAddress::of(server, known.address.clone()))
    }

    /// Where a replica is read.
    pub fn source(&self, replica: Replica) -> Option<Source> {
        Some(Source { server: self.address(replica.server)?, file: replica.file })
    }
}
