//! Up to which command a replica's rows are durable: what the log waits for before it forgets.
//!
//! openraft 0.9 has the log purged when it hands a snapshot to the state machine, not when that has it. A replica that ended between
//! would lack what the snapshot had, and what its log had until then and others counted on.

use tokio::sync::watch;

/// The rows failed: what they lack will not be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rows failed before they were durable")]
pub(super) struct Failed;

/// Clones tell of the same rows.
#[derive(Clone, Debug)]
pub(crate) struct Durable(watch::Sender<Result<Option<u64>, Failed>>);

impl Durable {
    pub(super) fn new(index: Option<u64>) -> Self {
        Self(watch::Sender::new(Ok(index)))
    }

    /// All commands up to this one are durable.
    pub(super) fn reach(&self, index: Option<u64>) {
        self.0.send_modify(|reached| *reached = reached.map(|before| before.max(index)));
    }

    pub(super) fn fail(&self) {
        self.0.send_modify(|reached| *reached = Err(Failed));
    }

    /// Waits until the rows are durable up to this command.
    ///
    /// # Errors
    /// [`Failed`].
    pub(super) async fn wait(&self, index: u64) -> Result<(), Failed> {
        let mut reached = self.0.subscribe();
        let reached = reached.wait_for(|reached| reached.is_err() || reached.is_ok_and(|durable| durable >= Some(index)));
        // The sender is this one: it is there.
        (*reached.await.map_err(|_| Failed)?).map(drop)
    }
}
