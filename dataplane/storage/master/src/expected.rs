//! What each server of a chunk should have.

use std::collections::BTreeSet;

use eddy_chunks::Extent;
use eddy_kv::{Transaction, Value};
use eddy_object::schema::{ChunkForm, ChunkRow, live_key};
use eddy_object::{Metadata, ObjectError};

use crate::Master;
use crate::chunks::needed;

/// What the servers of a chunk should have.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// Each all needles that someone needs.
    Copies(BTreeSet<Extent>),
    /// Each its shard, in the order of the chunk's servers; so many of them are enough to make the others.
    Shards { extents: Vec<Extent>, data: usize },
}

impl Expected {
    /// That of a chunk, as its row says.
    pub(crate) async fn of(metadata: &Metadata, chunk: u64, row: &ChunkRow) -> Result<Self, ObjectError> {
        Ok(match &row.form {
            ChunkForm::Shards(shards) => {
                let extents = (0..shards.count()).map(|index| shards.extent(chunk, index)).collect();
                Self::Shards { extents, data: usize::from(shards.data) }
            }
            ChunkForm::Whole => Self::Copies(needed(metadata, chunk).await?),
            ChunkForm::Coded(_) => Self::Copies(BTreeSet::new()),
        })
    }

    /// What the server at this place among the chunk's should have.
    pub(crate) fn at(&self, place: usize) -> BTreeSet<Extent> {
        match self {
            Self::Copies(needed) => needed.clone(),
            Self::Shards { extents, .. } => extents.get(place).copied().into_iter().collect(),
        }
    }

    /// Bytes of what so many servers should have together.
    pub(crate) fn bytes(&self, servers: usize) -> u64 {
        let of = |extent: &Extent| u64::from(extent.bytes);
        match self {
            Self::Copies(needed) => needed.iter().map(of).sum::<u64>() * servers as u64,
            Self::Shards { extents, .. } => extents.iter().map(of).sum(),
        }
    }

    /// What can be read from no server nor be made of what can, where this is all that can be read.
    pub(crate) fn unreadable(&self, readable: &BTreeSet<Extent>) -> Vec<Extent> {
        match self {
            Self::Copies(needed) => needed.difference(readable).copied().collect(),
            Self::Shards { data, .. } if readable.len() >= *data => Vec::new(),
            Self::Shards { extents, .. } => extents.iter().filter(|extent| !readable.contains(extent)).copied().collect(),
        }
    }
}

/// A file that was made of all that is needed of a chunk, in the place of another.
pub(crate) struct InPlace<'a> {
    pub(crate) chunk: u64,
    pub(crate) row: &'a ChunkRow,
    /// Whose place it is among the chunk's.
    pub(crate) place: usize,
    /// What it has.
    pub(crate) has: &'a BTreeSet<Extent>,
    /// The counter of what is needed, as it was before that was read.
    pub(crate) live: Option<Value>,
}

impl Master {
    /// The transaction, to be done only while nobody needs more of the chunk than the file has; none where somebody does already. Of what
    /// somebody came to need since it was read, whoever goes for the file may be one of the two that have it.
    pub(crate) async fn unless_more_is_needed(
        &self,
        file: InPlace<'_>,
        transaction: Transaction,
    ) -> Result<Option<Transaction>, ObjectError> {
        let InPlace { chunk, row, place, has, live: before } = file;
        let live = self.metadata.store().get(live_key(chunk)).await?;
        let is_same = live.as_ref().map(|live| live.version) == before.map(|live| live.version);
        let has_all = is_same || Expected::of(&self.metadata, chunk, row).await?.at(place).is_subset(has);
        Ok(has_all.then(|| transaction.check(live_key(chunk), live.as_ref())))
    }
}
