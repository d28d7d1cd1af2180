//! `eddy-dataplane kv`: a replica as a process, and tools for whoever runs replicas.

mod metrics;
mod options;
mod serve;
mod store;
mod tools;
mod transport;

use eddy_rpc::TlsError;
use eddy_telemetry::{AdminError, Shutdown};

use self::options::KvCommand;
pub use self::options::KvOptions;
pub use self::store::{KvStoreError, KvStoreOptions};
pub use self::transport::TransportOptions;
use crate::backup::BackupError;
use crate::error::KvError;
use crate::replicated::{ReplicaError, SalvageError};

/// Why a replica ended or a tool failed.
#[derive(Debug, thiserror::Error)]
pub enum KvComponentError {
    /// The address is taken or not of this machine.
    #[error("failed to listen on {address} for replicas and clients: choose another --bind")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Nobody can be talked to.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The replica cannot be used.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// Health and metrics cannot be served.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A backup was not made or not restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// What a replica has was not written to a backup.
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    /// The replicas did not do it.
    #[error(transparent)]
    Store(#[from] KvError),
    /// None of the replicas can be asked.
    #[error("none of the servers can be asked")]
    NoneAnswers,
}

/// Serves until the end is requested, or does what one tool does.
///
/// # Errors
/// See [`KvComponentError`].
pub async fn run(options: KvOptions, shutdown: Shutdown) -> Result<(), KvComponentError> {
    match options.command {
        KvCommand::Serve(options) => serve::run(options, shutdown).await,
        KvCommand::Status(servers) => tools::status(&servers.remote()?).await,
        KvCommand::Backup { servers, file } => tools::backup(&servers.remote()?, &file).await,
        KvCommand::Restore { servers, file } => tools::restore(&servers.remote()?, &file).await,
        KvCommand::Verify { file } => tools::verify(&file).await,
        KvCommand::Salvage { folder, file } => tools::salvage(&folder, &file).await,
        KvCommand::Remove { servers, address } => Ok(servers.remote()?.remove(&address).await?),
    }
}
