//! Which servers have a chunk: asked once, and again when that turns out wrong.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::Result;
use crate::metadata::Metadata;

/// Chunks that are remembered: six terabytes of them, in some ten megabytes.
const REMEMBERED_MAX: usize = 100_000;

/// What is remembered. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Locations(Arc<RwLock<HashMap<u64, Arc<[u64]>>>>);

impl Locations {
    /// The servers of a chunk; none if there is no such chunk.
    pub(crate) async fn of(&self, metadata: &Metadata, chunk: u64) -> Result<Arc<[u64]>> {
        let remembered = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&chunk).cloned();
        if let Some(servers) = remembered {
            return Ok(servers);
        }
        let row = metadata.chunk(chunk).await?;
        let servers: Arc<[u64]> = row.map(|row| row.servers).unwrap_or_default().into();
        self.remember(chunk, servers.clone());
        Ok(servers)
    }

    pub(crate) fn remember(&self, chunk: u64, servers: Arc<[u64]>) {
        let mut remembered = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX
            && let Some(any) = remembered.keys().next().copied()
        {
            remembered.remove(&any);
        }
        remembered.insert(chunk, servers);
    }

    pub(crate) fn forget(&self, chunk: u64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&chunk);
    }
}
