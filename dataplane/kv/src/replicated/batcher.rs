//! Transactions that wait while others become durable go on together, as one entry of the log.
//!
//! openraft 0.9 waits for the disk before it takes the next entry: without this, every transaction would cost a sync.

use openraft::{Raft, ServerState};
use tokio::sync::{mpsc, oneshot};

use super::types::{Command, Outcome, Types};
use crate::error::{KvError, Result};
use crate::model::{Transaction, Version};

/// Transactions that wait at once; more wait for room.
const WAITING_MAX: usize = 4096;
/// Most transactions of one entry.
const BATCH_MAX: usize = 1024;
/// No more are added to an entry that has this many bytes: it must come to others within the time of a heartbeat.
const BATCH_BYTES_MAX: usize = 256 * 1024;

type Reply = oneshot::Sender<Result<Version>>;

/// Hands transactions over to consensus.
#[derive(Clone)]
pub(super) struct Batcher(mpsc::Sender<(Transaction, Reply)>);

impl Batcher {
    /// Starts the task, which ends with the last batcher.
    pub(super) fn start(raft: Raft<Types>) -> Self {
        let (give, take) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(raft, take));
        Self(give)
    }

    pub(super) async fn commit(&self, transaction: Transaction) -> Result<Version> {
        let (reply, replied) = oneshot::channel();
        let ended = || KvError::Unavailable { reason: "the replica is closing".into() };
        self.0.send((transaction, reply)).await.map_err(|_| ended())?;
        replied.await.map_err(|_| KvError::Unknown { reason: "the replica ended".into() })?
    }
}

async fn run(raft: Raft<Types>, mut take: mpsc::Receiver<(Transaction, Reply)>) {
    while let Some(first) = take.recv().await {
        // Whoever gave up looks whether it happened: it must not happen after that.
        if first.1.is_closed() {
            continue;
        }
        let mut bytes = first.0.bytes();
        let (mut transactions, mut replies) = (vec![first.0], vec![first.1]);
        while transactions.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
            let Ok((transaction, reply)) = take.try_recv() else { break };
            if reply.is_closed() {
                continue;
            }
            bytes += transaction.bytes();
            transactions.push(transaction);
            replies.push(reply);
        }
        let written = write(&raft, Command::Commits(transactions)).await;
        let outcomes = match written {
            Ok(Outcome::Commits(outcomes)) => outcomes.into_iter().map(Outcome::into_result).collect(),
            // All of them met the same.
            Ok(other) => vec![other; replies.len()].into_iter().map(Outcome::into_result).collect(),
            Err(error) => (0..replies.len()).map(|_| Err(error.clone())).collect::<Vec<_>>(),
        };
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // Nobody may be waiting any more.
            let _ = reply.send(outcome);
        }
    }
}

/// Makes every replica do something, and says what became of it.
pub(super) async fn write(raft: &Raft<Types>, command: Command) -> Result<Outcome> {
    if raft.metrics().borrow().state != ServerState::Leader {
        return Err(KvError::Unavailable { reason: "another replica leads, or none".into() });
    }
    match raft.client_write(command).await {
        Ok(response) => Ok(response.data),
        // It may be in other replicas' logs, and one of those may lead later.
        Err(error) => Err(KvError::Unknown { reason: error.to_string() }),
    }
}
