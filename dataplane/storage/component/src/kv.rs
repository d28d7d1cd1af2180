//! Where metadata are, as processes are told.

use std::sync::Arc;
use std::time::Duration;

use eddy_kv::Remote;
use eddy_kv::component::TransportOptions;
use eddy_object::Metadata;
use eddy_rpc::{TlsError, Transport};

/// Between tries to reach it.
const PAUSE: Duration = Duration::from_millis(500);

/// Which store has the metadata, and how it and chunkservers are talked to.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct KvServers {
    /// host:port of every replica of the store, separated by commas
    #[arg(long, env = "EDDY_KV_SERVERS", value_delimiter = ',', required = true)]
    kv_servers: Vec<String>,

    #[command(flatten)]
    transport: TransportOptions,
}

impl KvServers {
    pub(crate) fn transport(&self) -> Result<Arc<dyn Transport>, TlsError> {
        self.transport.transport()
    }

    pub(crate) fn remote(&self, transport: &Arc<dyn Transport>) -> Remote {
        Remote::new(transport.clone(), &self.kv_servers)
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
