//! Chunks: what objects' bytes lie in.
//!
//! A chunk is a file of at most [`CHUNK_BYTES_MAX`](format::CHUNK_BYTES_MAX) bytes, the same on each of its replicas. It holds needles: an object's bytes, or
//! some of them, in blocks of 64 KiB with a checksum each. [`format`](mod@format) is what is on the disk and on the wire, [`ChunkStore`] one
//! disk's chunks.

pub mod format;
mod store;

pub use self::format::{Damage, Extent};
pub use self::store::{ChunkStore, StoreError, StoreOptions, SyncPoint, Writing};
