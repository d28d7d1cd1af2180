//! Storage as processes: `eddy-dataplane chunkserver`, `eddy-dataplane storage-master`, which keeps objects whole, and
//! `eddy-dataplane storage-door`, which clients reach; `eddy-dataplane storage-namespace` and
//! `eddy-dataplane storage-server` are tools.

mod chunkserver;
mod door;
mod error;
mod kv;
mod load;
mod master;
mod namespaces;
mod servers;

pub use self::chunkserver::{ChunkserverOptions, run_chunkserver};
pub use self::door::{StorageDoorOptions, run_door};
pub use self::error::StorageError;
pub use self::master::{StorageMasterOptions, run_master};
pub use self::namespaces::{StorageNamespaceOptions, run_namespace};
pub use self::servers::{StorageServerOptions, run_server};
