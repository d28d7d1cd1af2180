//! Storage as processes: `eddy-dataplane chunkserver`, and `eddy-dataplane storage-master`, which keeps objects whole.

mod chunkserver;
mod error;
mod kv;
mod master;

pub use self::chunkserver::{ChunkserverOptions, run_chunkserver};
pub use self::error::StorageError;
pub use self::master::{StorageMasterOptions, run_master};
