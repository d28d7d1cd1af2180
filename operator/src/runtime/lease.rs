//! Leader election: of all replicas, the holder of the Lease reconciles.
//!
//! A Lease does not fence: a leader that was held up may write once more after another took over. Every write is an
//! idempotent apply of the same desired state, so that does no harm.

use std::time::Duration;

use eddy_crds::FIELD_MANAGER;
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::options::Options;

/// The Lease's name.
const NAME: &str = "eddy-operator";
/// How long giving the Lease back may take; after that, the others wait until it expires.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);

/// A bid for the Lease.
pub(super) struct Lease {
    held: watch::Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Lease {
    /// Begins to bid.
    pub(super) async fn watch(client: Client, options: &Options) -> Result<Self, LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(client, NAME)
            .with_namespace(&options.namespace)
            .with_identity(&options.identity)
            .with_duration(options.lease_seconds)
            // Renewed when half of it is over: one failed renewal does not lose it.
            .with_grace(options.lease_seconds / 2)
            .with_field_manager(format!("{FIELD_MANAGER}-lease-{}", options.identity))
            .build()
            .await?;
        let (held, task) = manager.watch().await;
        Ok(Self { held, task })
    }

    /// Waits until this replica leads.
    pub(super) async fn acquired(&mut self) -> Result<(), super::RuntimeError> {
        self.held.wait_for(|held| *held).await.map(drop).map_err(|_| super::RuntimeError::LostLease)
    }

    /// Waits until this replica no longer leads.
    pub(super) async fn lost(&mut self) {
        // The sender is gone when the task has ended, and with it the Lease.
        let _ = self.held.wait_for(|held| !*held).await;
    }

    /// Gives the Lease back, so that another replica leads at once.
    pub(super) async fn release(self) {
        drop(self.held);
        match tokio::time::timeout(RELEASE_DEADLINE, self.task).await {
            Ok(Ok(Ok(_))) => tracing::debug!("gave back the Lease"),
            other => {
                tracing::debug!(outcome = ?other.map(|ended| ended.map(|ended| ended.map(drop))), "the Lease expires by itself");
            }
        }
    }
}
