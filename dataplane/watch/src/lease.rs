//! Leader election: of all replicas of a process, one holds the Lease.
//!
//! A Lease does not fence: a holder that was held up may go on for a moment after another took over. What it does must do no harm then.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as Held;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long giving the Lease back may take; after that, the others wait until it expires.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);
/// Between two looks whether a Lease that another holds has been given back.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    client: Client,
    namespace: String,
    name: String,
    identity: String,
    seconds: u64,
}

impl Lease {
    /// Begins to bid.
    ///
    /// # Errors
    /// That the API does not answer.
    pub async fn watch(client: Client, bid: Bid<'_>) -> Result<Self, LeaseError> {
        let (held, task) = begin(&client, bid).await?;
        let (namespace, name, identity) = (bid.namespace.to_owned(), bid.name.to_owned(), bid.identity.to_owned());
        Ok(Self { held, task, client, namespace, name, identity, seconds: bid.seconds })
    }

    /// Waits until this replica leads.
    ///
    /// # Errors
    /// That it never will.
    pub async fn acquired(&mut self) -> Result<(), LostLease> {
        let api = Api::<Held>::namespaced(self.client.clone(), &self.namespace);
        loop {
            tokio::select! {
                held = self.held.wait_for(|held| *held) => return held.map(drop).map_err(|_| LostLease),
                () = given_back(&api, &self.name) => {}
            }
            // Whoever bids sleeps until the Lease would have expired, though its holder has given it back: it is begun anew.
            let Self { client, namespace, name, identity, seconds, .. } = &*self;
            match begin(client, Bid { namespace, name, identity, seconds: *seconds }).await {
                Ok((held, task)) => {
                    // Asked to end, it might give back what the next one has by then.
                    self.task.abort();
                    (self.held, self.task) = (held, task);
                }
                Err(error) => tracing::debug!(%error, "failed to bid anew; the bid of before goes on"),
            }
        }
    }

    /// Waits until this replica no longer leads.
    pub async fn lost(&mut self) {
        // The sender is gone when the task has ended, and with it the Lease.
        let _ = self.held.wait_for(|held| !*held).await;
    }

    /// Gives the Lease back, so that another replica leads at once.
    pub async fn release(self) {
        drop(self.held);
        match timeout(RELEASE_DEADLINE, self.task).await {
            Ok(Ok(Ok(_))) => tracing::debug!("gave back the Lease"),
            other => {
                tracing::debug!(outcome = ?other.map(|ended| ended.map(|ended| ended.map(drop))), "the Lease expires by itself");
            }
        }
    }
}

async fn begin(
    client: &Client,
    bid: Bid<'_>,
) -> Result<(watch::Receiver<bool>, JoinHandle<Result<LeaseManager, LeaseManagerError>>), LeaseError> {
    let manager = LeaseManagerBuilder::new(client.clone(), bid.name)
        .with_namespace(bid.namespace)
        .with_identity(bid.identity)
        .with_duration(bid.seconds)
        // Renewed when half of it is over: one failed renewal does not lose it.
        .with_grace(bid.seconds / 2)
        .with_field_manager(format!("{}-lease-{}", bid.name, bid.identity))
        .build()
        .await?;
    Ok(manager.watch().await)
}

/// Waits until nobody holds the Lease.
async fn given_back(api: &Api<Held>, name: &str) {
    loop {
        sleep(LOOK_EVERY).await;
        let is_free = |lease: Held| lease.spec.is_none_or(|spec| spec.holder_identity.is_none());
        // An API server that does not answer says nothing.
        if timeout(LOOK_EVERY, api.get(name)).await.is_ok_and(|found| found.is_ok_and(is_free)) {
            return;
        }
    }
}
