//! Chunks: what objects' bytes lie in.
//!
//! A chunk is at most [`CHUNK_BYTES_MAX`](format::CHUNK_BYTES_MAX) bytes, the same in each of its files. It holds needles: an object's bytes, or
//! some of them, in blocks of 64 KiB with a checksum each. [`format`](mod@format) is what is on the disk and on the wire, [`ChunkStore`] one
//! disk's files.

pub mod format;
mod store;

pub use self::format::{Damage, Extent, FileId};
pub use self::store::{ChunkStore, StoreError, StoreOptions, SyncPoint, Writing};
