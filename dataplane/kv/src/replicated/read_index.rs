//! From which command on a read sees all that was acknowledged before: asked for once for all who wait.

use openraft::Raft;
use tokio::sync::{mpsc, oneshot};

use super::types::Types;
use crate::error::{KvError, Result};

/// Readers that wait at once; more wait for room.
const WAITING_MAX: usize = 4096;

type Reply = oneshot::Sender<Result<Option<u64>>>;

/// Asks the leader, which is this replica or another.
#[derive(Clone)]
pub(super) struct ReadIndex(mpsc::Sender<Reply>);

impl ReadIndex {
    /// Starts the task, which ends with the last holder. `ask` asks once.
    pub(super) fn start<A>(ask: impl Fn() -> A + Send + 'static) -> Self
    where
        A: Future<Output = Result<Option<u64>>> + Send,
    {
        let (give, mut take) = mpsc::channel::<Reply>(WAITING_MAX);
        tokio::spawn(async move {
            let mut waiting = Vec::new();
            while take.recv_many(&mut waiting, WAITING_MAX).await > 0 {
                // Whoever comes from now on waits for the next answer: this one may be older than what they must see.
                let answer = ask().await;
                for reply in waiting.drain(..) {
                    // Nobody may be waiting any more.
                    let _ = reply.send(answer.clone());
                }
            }
        });
        Self(give)
    }

    /// The index of the last command that must be applied first; none where there is no command yet.
    pub(super) async fn get(&self) -> Result<Option<u64>> {
        let (reply, replied) = oneshot::channel();
        let ended = || KvError::Unavailable { reason: "the replica is closing".into() };
        self.0.send(reply).await.map_err(|_| ended())?;
        replied.await.map_err(|_| ended())?
    }
}

/// What the leader itself knows, after it has heard that it still leads.
pub(super) async fn of_leader(raft: &Raft<Types>) -> Result<Option<u64>> {
    match raft.get_read_log_id().await {
        Ok((index, _)) => Ok(index.map(|index| index.index)),
        Err(error) => Err(KvError::Unavailable { reason: error.to_string() }),
    }
}
