//! Leader election: of all replicas of a process, one holds the Lease.
//!
//! A Lease does not fence: a holder that was held up may go on for a moment after another took over. What it does must do no harm then.

use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long giving the Lease back may take; after that, the others wait until it expires.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);

/// Which Lease, and who bids for it.
#[derive(Clone, Copy, Debug)]
pub struct Bid<'a> {
    /// The core namespace that it is in.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// This replica's name.
    pub identity: &'a str,
    /// Seconds after which a holder that was not heard of is replaced.
    pub seconds: u64,
}

/// Why the Lease cannot be bid for.
#[derive(Debug, thiserror::Error)]
#[error("failed to hold the Lease")]
pub struct LeaseError(#[from] LeaseManagerError);

/// Nobody bids any more: the Lease cannot be held again.
#[derive(Debug, thiserror::Error)]
#[error("lost the Lease: another replica leads now")]
pub struct LostLease;

/// A bid for the Lease.
pub struct Lease {
    held: watch::Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Lease {
    /// Begins to bid.
    ///
    /// # Errors
    /// That the API does not answer.
    pub async fn watch(client: Client, bid: Bid<'_>) -> Result<Self, LeaseError> {
        let manager = LeaseManagerBuilder::new(client, bid.name)
            .with_namespace(bid.namespace)
            .with_identity(bid.identity)
            .with_duration(bid.seconds)
            // Renewed when half of it is over: one failed renewal does not lose it.
            .with_grace(bid.seconds / 2)
            .with_field_manager(format!("{}-lease-{}", bid.name, bid.identity))
            .build()
            .await?;
        let (held, task) = manager.watch().await;
        Ok(Self { held, task })
    }

    /// Waits until this replica leads.
    ///
    /// # Errors
    /// That it never will.
    pub async fn acquired(&mut self) -> Result<(), LostLease> {
        self.held.wait_for(|held| *held).await.map(drop).map_err(|_| LostLease)
    }

    /// Waits until this replica no longer leads.
    pub async fn lost(&mut self) {
        // The sender is gone when the task has ended, and with it the Lease.
        let _ = self.held.wait_for(|held| !*held).await;
    }

    /// Gives the Lease back, so that another replica leads at once.
    pub async fn release(self) {
        drop(self.held);
        match tokio::time::timeout(RELEASE_DEADLINE, self.task).await {
            Ok(Ok(Ok(_))) => tracing::debug!("gave back the Lease"),
            other => {
                tracing::debug!(outcome = ?other.map(|ended| ended.map(|ended| ended.map(drop))), "the Lease expires by itself");
            }
        }
    }
}
