//! Memory for bytes on their way, and what else clients may hold for as long as they take: bounded, however many come and go at once, and however slowly.
//!
//! It is given block by block as bytes arrive. Whoever gets none sends on what it has, which frees that, and then waits with nothing in its
//! hands: so some always go on.

use std::sync::Arc;

use bytes::Bytes;
use eddy_chunks::format::BLOCK_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is short where less than this part of it is left.
const SHORT_BELOW: usize = 8;

/// How much memory objects may take, and how many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of short objects that were read; none are kept if 0.
    pub cache_bytes: u64,
    /// For what is being written and, as much again, for what is being read.
    pub buffer_bytes: u64,
    /// Uploads of long objects that go on to servers as they come: each holds a connection to all servers of its chunk for as long as its client
    /// takes. What comes of others is gathered, and holds one while it is sent.
    pub streams_max: usize,
}

impl Default for Memory {
    fn default() -> Self {
        // A quarter of the connections that a server takes: readers and other doors must not be left without.
        Self { cache_bytes: 0, buffer_bytes: 256 * 1024 * 1024, streams_max: 256 }
    }
}

/// Memory for what goes one way. Clones share it.
#[derive(Clone)]
pub(crate) struct Buffers {
    blocks: Arc<Semaphore>,
    total: u32,
}

/// Some of it, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held(Option<OwnedSemaphorePermit>);

/// Bytes, and the memory that they take.
struct Owner {
    bytes: Vec<u8>,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Buffers {
    /// So many bytes, rounded to blocks, and enough for one piece of one object.
    pub(crate) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / u64::from(BLOCK_BYTES)).unwrap_or(u32::MAX).clamp(16, 1 << 24);
        Self { blocks: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// So many blocks, if there are as many now.
    pub(crate) fn take_at_once(&self, blocks: u32) -> Option<Held> {
        self.blocks.clone().try_acquire_many_owned(blocks.min(self.total)).ok().map(|held| Held(Some(held)))
    }

    /// Whether little is left, so that others wait or soon will.
    pub(crate) fn is_short(&self) -> bool {
        self.blocks.available_permits() < self.total as usize / SHORT_BELOW
    }

    /// So many blocks, once there are as many.
    pub(crate) async fn take(&self, blocks: u32) -> Held {
        // It is never closed.
        Held(self.blocks.clone().acquire_many_owned(blocks.min(self.total)).await.ok())
    }
}

impl Held {
    /// Whether it is none.
    pub(crate) fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// Holds more.
    pub(crate) fn add(&mut self, more: Self) {
        match (&mut self.0, more.0) {
            (Some(held), Some(more)) => held.merge(more),
            (held, more) => *held = more.or(held.take()),
        }
    }
}

/// Bytes that hold memory until nobody has them any more.
pub(crate) fn holding(bytes: Vec<u8>, held: &Arc<Held>) -> Bytes {
    Bytes::from_owner(Owner { bytes, _held: held.clone() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_comes_back_with_the_last_of_the_bytes_that_took_it() {
        let buffers = Buffers::new(16 * u64::from(BLOCK_BYTES));
        let mut held = buffers.take_at_once(10).unwrap();
        held.add(buffers.take(2).await);
        assert!(buffers.take_at_once(5).is_none());
        let bytes = holding(vec![1; 10], &Arc::new(held));
        let part = bytes.slice(2..3);
        drop(bytes);
        assert!(buffers.take_at_once(5).is_none());
        drop(part);
        assert!(buffers.take_at_once(16).is_some());
        // More than there is is all there is.
        assert!(buffers.take_at_once(1000).is_some());
    }
}
