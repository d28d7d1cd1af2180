//! Which of several replicas publishes.

use std::time::Duration;

use eddy_telemetry::error_chain;
use eddy_watch::{Bid, Lease};
use k8s_openapi::api::coordination::v1::Lease as Held;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Between tries to bid.
const PAUSE: Duration = Duration::from_secs(1);

/// The Kubernetes API answers within this, or is not there.
const CONFIRM_WITHIN: Duration = Duration::from_secs(3);

/// Why it is not known that the Lease is held.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfirmError {
    /// The API says that another does, or nobody.
    #[error("the Lease is held by {0:?} by now")]
    Another(Option<String>),
    /// The API cannot be asked.
    #[error("failed to ask who holds the Lease")]
    Ask(#[source] Box<kube::Error>),
    /// The API says nothing.
    #[error("the Kubernetes API did not say within {} s who holds the Lease", CONFIRM_WITHIN.as_secs())]
    Late,
}

/// Whether the Lease is held, as the API has it at this moment.
///
/// # Errors
/// See [`ConfirmError`].
pub(crate) async fn confirm(client: &Client, bid: Bid<'_>) -> Result<(), ConfirmError> {
    let api = Api::<Held>::namespaced(client.clone(), bid.namespace);
    let lease = timeout(CONFIRM_WITHIN, api.get(bid.name)).await.map_err(|_| ConfirmError::Late)?;
    let lease = lease.map_err(|error| ConfirmError::Ask(Box::new(error)))?;
    match lease.spec.and_then(|spec| spec.holder_identity) {
        Some(holder) if holder == bid.identity => Ok(()),
        other => Err(ConfirmError::Another(other)),
    }
}

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
