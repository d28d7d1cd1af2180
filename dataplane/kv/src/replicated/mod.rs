//! The store as a group of replicas that agree by Raft, over the journal and redb.

mod batcher;
mod log_store;
mod network;
mod state_machine;
mod store;
mod types;

pub use self::store::{ReplicaError, Replicated, ReplicatedOptions};

#[cfg(test)]
mod tests;
