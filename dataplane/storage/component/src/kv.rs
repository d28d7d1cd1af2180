//! Where metadata are.

use std::time::Duration;

use eddy_object::Metadata;

/// Between tries to reach the store.
const PAUSE: Duration = Duration::from_millis(500);

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
