//! Why a process of storage ended.

use eddy_chunks::StoreError;
use eddy_telemetry::AdminError;

/// Why a process of storage ended.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The address is taken or not of this machine.
    #[error("failed to listen on {address} for readers and writers: choose another --bind")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
    /// The folder of chunks cannot be used.
    #[error(transparent)]
    Chunks(#[from] StoreError),
    /// Health and metrics cannot be served.
    #[error(transparent)]
    Admin(#[from] AdminError),
}
