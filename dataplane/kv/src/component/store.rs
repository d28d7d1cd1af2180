//! Which store has a process' rows, as the process is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eddy_rpc::{TlsError, Transport};
use eddy_telemetry::error_chain;

use super::transport::TransportOptions;
use crate::error::KvError;
use crate::etcd::{Etcd, EtcdAccess, EtcdOptions};
use crate::remote::Remote;
use crate::store::Store;

/// Between tries to be let in.
const PAUSE: Duration = Duration::from_millis(500);
/// Tries of which one is told.
const SAID_EVERY: u32 = 60;

/// Which store has the rows, and how it is talked to.
#[derive(clap::Args, Clone, Debug)]
pub struct KvStoreOptions {
    /// host:port of every replica of the store, separated by commas
    #[arg(long, env = "EDDY_KV_SERVERS", value_delimiter = ',', conflicts_with = "kv_etcd")]
    kv_servers: Vec<String>,

    /// Instead of a store of our own, http://host:port of every member of an etcd, separated by commas: for some millions of objects,
    /// since it keeps all in memory
    #[arg(long, env = "EDDY_KV_ETCD", value_delimiter = ',')]
    kv_etcd: Vec<String>,

    /// What all keys in that etcd begin with
    #[arg(long, env = "EDDY_KV_ETCD_PREFIX", default_value = "eddy/storage/")]
    kv_etcd_prefix: String,

    /// A folder, as a Secret is mounted, by what that etcd lets one in: ca.crt for https://, tls.crt and tls.key where it asks for a
    /// certificate, username and password where it has users
    #[arg(long, env = "EDDY_KV_ETCD_FOLDER", requires = "kv_etcd")]
    kv_etcd_folder: Option<PathBuf>,

    #[command(flatten)]
    transport: TransportOptions,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum KvStoreError {
    /// None was said.
    #[error("it is not said where the store is: give --kv-servers, or --kv-etcd")]
    None,
    /// It is not known by what an etcd lets one in.
    #[error("failed to read by what etcd lets one in, --kv-etcd-folder {path}")]
    EtcdFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// It cannot be one.
    #[error("the store cannot be used")]
    Store(#[from] KvError),
}

impl KvStoreOptions {
    /// How the store, and whoever else is of the same trust, is talked to.
    ///
    /// # Errors
    /// That nobody can be.
    pub fn transport(&self) -> Result<Arc<dyn Transport>, TlsError> {
        self.transport.transport()
    }

    /// The store. Connections are opened when they are needed; where one has to sign in first, it waits until that can be done.
    ///
    /// # Errors
    /// See [`KvStoreError`].
    pub async fn open(&self, transport: &Arc<dyn Transport>) -> Result<Arc<dyn Store>, KvStoreError> {
        if self.kv_etcd.is_empty() {
            let servers = Some(&self.kv_servers).filter(|servers| !servers.is_empty()).ok_or(KvStoreError::None)?;
            return Ok(Arc::new(Remote::new(transport.clone(), servers)));
        }
        let mut tries: u32 = 0;
        loop {
            // What is wrong with it may be put right meanwhile.
            let access = match &self.kv_etcd_folder {
                Some(folder) => {
                    EtcdAccess::read(folder).map_err(|source| KvStoreError::EtcdFolder { path: folder.clone(), source })?
                }
                None => EtcdAccess::default(),
            };
            let signs_in = access.user.is_some();
            if signs_in && tries == 0 && self.kv_etcd.iter().any(|endpoint| endpoint.starts_with("http://")) {
                tracing::warn!("the password for etcd goes over http:// where anyone on the way reads it");
            }
            let options = EtcdOptions { endpoints: self.kv_etcd.clone(), prefix: self.kv_etcd_prefix.clone(), access };
            match Etcd::connect(&options).await {
                Ok(store) => return Ok(Arc::new(store)),
                Err(error) if !signs_in => return Err(error.into()),
                Err(error) if tries.is_multiple_of(SAID_EVERY) => {
                    tracing::warn!(error = error_chain(&error), "etcd does not let this process in yet");
                }
                Err(_) => {}
            }
            tries = tries.wrapping_add(1);
            tokio::time::sleep(PAUSE).await;
        }
    }
}
