//! Where chunks are: asked once, and again when that turns out wrong.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::coded::Coded;
use crate::error::Result;
use crate::metadata::Metadata;
use crate::schema::{ChunkForm, ChunkRow, Replica};

/// Chunks that are remembered: six terabytes of them, in some ten megabytes.
const REMEMBERED_MAX: usize = 100_000;

/// Where a chunk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// Each of these has all of it.
    Whole(Arc<[Replica]>),
    /// Each of some has a shard of it.
    Coded(Arc<Coded>),
}

/// What is remembered. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Locations(Arc<RwLock<HashMap<u64, Location>>>);

impl Locations {
    /// Where a chunk is; nowhere if there is no such chunk.
    pub(crate) async fn of(&self, metadata: &Metadata, chunk: u64) -> Result<Location> {
        let remembered = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&chunk).cloned();
        if let Some(location) = remembered {
            return Ok(location);
        }
        let location = match metadata.chunk(chunk).await? {
            Some(ChunkRow { form: ChunkForm::Coded(shards), .. }) => coded(metadata, shards).await?,
            Some(row) => Location::Whole(row.replicas.into()),
            None => Location::Whole([].into()),
        };
        self.remember(chunk, location.clone());
        Ok(location)
    }

    pub(crate) fn remember(&self, chunk: u64, location: Location) {
        let mut remembered = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX
            && let Some(any) = remembered.keys().next().copied()
        {
            remembered.remove(&any);
        }
        remembered.insert(chunk, location);
    }

    pub(crate) fn forget(&self, chunk: u64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&chunk);
    }
}

async fn coded(metadata: &Metadata, chunk: u64) -> Result<Location> {
    Ok(match metadata.chunk(chunk).await? {
        Some(ChunkRow { form: ChunkForm::Shards(shards), replicas, .. }) => {
            Location::Coded(Arc::new(Coded { chunk, shards, replicas: replicas.into() }))
        }
        // It was collected meanwhile, and what it was made of with it.
        _ => Location::Whole([].into()),
    })
}
