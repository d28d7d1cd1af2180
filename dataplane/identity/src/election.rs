//! Which of several replicas publishes.

use std::time::Duration;

use eddy_telemetry::error_chain;
use eddy_watch::{Bid, Lease};
use kube::Client;
use tokio::sync::watch;
use tokio::time::sleep;

/// Between tries to bid.
const PAUSE: Duration = Duration::from_secs(1);

/// Bids for the Lease for ever, and says whether it is held. `slot` keeps the bid, so that whoever ends this gives the Lease back.
pub(crate) async fn elect(client: &Client, bid: Bid<'_>, slot: &mut Option<Lease>, leads: &watch::Sender<bool>) {
    loop {
        match Lease::watch(client.clone(), bid).await {
            Ok(lease) => {
                let lease = slot.insert(lease);
                while lease.acquired().await.is_ok() {
                    tracing::info!(identity = bid.identity, "publishing");
                    leads.send_replace(true);
                    lease.lost().await;
                    tracing::info!(identity = bid.identity, "standing by");
                    leads.send_replace(false);
                }
            }
            Err(error) => tracing::warn!(error = error_chain(&error), "failed to bid for the Lease; it is tried again"),
        }
        sleep(PAUSE).await;
    }
}
