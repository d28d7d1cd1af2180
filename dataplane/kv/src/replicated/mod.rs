//! The store as a group of replicas that agree by Raft, over the journal and redb.

mod batcher;
mod durable;
mod group;
mod identity;
mod incoming;
mod log_store;
mod network;
mod options;
mod peers;
mod read_index;
mod room;
mod runtime;
mod salvage;
mod server;
mod short_log;
mod state_machine;
mod store;
mod types;

pub use self::options::{GroupOptions, LogOptions, ReplicaError, ReplicatedOptions};
pub use self::salvage::{SalvageError, salvage};
pub use self::server::serve;
pub use self::store::Replicated;
pub(crate) use self::types::{ImportedRow, Types};

#[cfg(test)]
mod tests;
