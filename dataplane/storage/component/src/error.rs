//! Why a process of storage ended.

use eddy_chunks::StoreError;
use eddy_telemetry::AdminError;

/// Why a process of storage ended.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The address is taken or not of this machine.
    #[error("failed to listen on {address} for clients: choose another --bind")]
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
    /// Nobody could show who they are.
    #[error(transparent)]
    Keys(#[from] eddy_authz::KeysError),
    /// What was asked of objects or namespaces failed.
    #[error(transparent)]
    Object(#[from] eddy_object::ObjectError),
    /// Health and metrics cannot be served.
    #[error(transparent)]
    Admin(#[from] AdminError),
}
