//! Where metadata are, as processes are told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eddy_kv::component::TransportOptions;
use eddy_kv::{Etcd, EtcdAccess, EtcdOptions, Remote};
use eddy_object::Metadata;
use eddy_rpc::{TlsError, Transport};

use crate::error::StorageError;

/// Between tries to reach it.
const PAUSE: Duration = Duration::from_millis(500);
/// Tries of which one is told.
const SAID_EVERY: u32 = 60;

/// Which store has the metadata, and how it and chunkservers are talked to.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct KvServers {
    /// host:port of every replica of the store, separated by commas
    #[arg(long, env = "EDDY_KV_SERVERS", value_delimiter = ',', required_unless_present = "kv_etcd", conflicts_with = "kv_etcd")]
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

impl KvServers {
    pub(crate) fn transport(&self) -> Result<Arc<dyn Transport>, TlsError> {
        self.transport.transport()
    }

    /// What is stored there. Connections are opened when they are needed; where one has to sign in first, it waits until that can be done.
    pub(crate) async fn metadata(&self, transport: &Arc<dyn Transport>) -> Result<Metadata, StorageError> {
        if self.kv_etcd.is_empty() {
            return Ok(Metadata::new(Arc::new(Remote::new(transport.clone(), &self.kv_servers))));
        }
        let mut tries: u32 = 0;
        loop {
            // What is wrong with it may be put right meanwhile.
            let access = match &self.kv_etcd_folder {
                Some(folder) => {
                    EtcdAccess::read(folder).map_err(|source| StorageError::EtcdFolder { path: folder.clone(), source })?
                }
                None => EtcdAccess::default(),
            };
            let signs_in = access.user.is_some();
            if signs_in && tries == 0 && self.kv_etcd.iter().any(|endpoint| endpoint.starts_with("http://")) {
                tracing::warn!("the password for etcd goes over http:// where anyone on the way reads it");
            }
            let options = EtcdOptions { endpoints: self.kv_etcd.clone(), prefix: self.kv_etcd_prefix.clone(), access };
            match Etcd::connect(&options).await {
                Ok(store) => return Ok(Metadata::new(Arc::new(store))),
                Err(error) if !signs_in => return Err(error.into()),
                Err(error) if tries.is_multiple_of(SAID_EVERY) => {
                    tracing::warn!(error = eddy_telemetry::error_chain(&error), "etcd does not let this process in yet");
                }
                Err(_) => {}
            }
            tries = tries.wrapping_add(1);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The number of the cluster. It waits until metadata can be reached.
pub(crate) async fn cluster_of(metadata: &Metadata) -> u64 {
    let mut told = false;
    loop {
        match metadata.cluster().await {
            Ok(cluster) => return cluster,
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::info!(error = eddy_telemetry::error_chain(&error), "waiting for the store of metadata");
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}
