//! Where metadata are, as processes are told.

use std::sync::Arc;
use std::time::Duration;

use eddy_kv::component::TransportOptions;
use eddy_kv::{Etcd, EtcdOptions, KvError, Remote, Store};
use eddy_object::Metadata;
use eddy_rpc::{TlsError, Transport};

/// Between tries to reach it.
const PAUSE: Duration = Duration::from_millis(500);

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

    #[command(flatten)]
    transport: TransportOptions,
}

impl KvServers {
    pub(crate) fn transport(&self) -> Result<Arc<dyn Transport>, TlsError> {
        self.transport.transport()
    }

    /// What is stored there. Connections are opened when they are needed.
    pub(crate) async fn metadata(&self, transport: &Arc<dyn Transport>) -> Result<Metadata, KvError> {
        let store: Arc<dyn Store> = if self.kv_etcd.is_empty() {
            Arc::new(Remote::new(transport.clone(), &self.kv_servers))
        } else {
            let options = EtcdOptions { endpoints: self.kv_etcd.clone(), prefix: self.kv_etcd_prefix.clone() };
            Arc::new(Etcd::connect(&options).await?)
        };
        Ok(Metadata::new(store))
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
