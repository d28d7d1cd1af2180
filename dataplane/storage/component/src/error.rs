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
    /// Nobody can be talked to.
    #[error(transparent)]
    Tls(#[from] eddy_rpc::TlsError),
    /// The store of metadata cannot be used.
    #[error(transparent)]
    Metadata(#[from] eddy_kv::component::KvStoreError),
    /// A thread could not be started.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
    /// The folder of chunks cannot be used.
    #[error(transparent)]
    Chunks(#[from] StoreError),
    /// Nobody could show who they are.
    #[error(transparent)]
    Keys(#[from] eddy_authz::KeysError),
    /// The key that access keys of S3 are derived with cannot be read.
    #[error(transparent)]
    SigningKey(#[from] eddy_authz::KeyError),
    /// NATS cannot be reached as it was said.
    #[error(transparent)]
    Nats(#[from] eddy_authz::feed::NatsError),
    /// What was asked of objects or namespaces failed.
    #[error(transparent)]
    Object(#[from] eddy_object::ObjectError),
    /// No server is called so.
    #[error("no server is {0:?}: storage-server list shows all of them")]
    NoServer(String),
    /// More than one server is.
    #[error("more than one server is {0:?}: give its number, as storage-server list shows it")]
    ManyServers(String),
    /// A server that is to be forgotten still gets chunks.
    #[error("server {0} is in use: drain it first")]
    InUse(u64),
    /// A server that is to be forgotten still has chunks.
    #[error("server {server} still has {chunks} chunks: wait until it is empty, as storage-server list shows")]
    StillHolds {
        /// The server.
        server: u64,
        /// Its chunks.
        chunks: usize,
    },
    /// Health and metrics cannot be served.
    #[error(transparent)]
    Admin(#[from] AdminError),
}
