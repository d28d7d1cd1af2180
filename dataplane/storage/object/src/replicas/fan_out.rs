//! One needle on its way to all servers of its chunk at once.

use std::time::Duration;

use bytes::Bytes;
use eddy_chunkserver::{ChunkClient, ClientError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Placed;
use super::pack::Target;
use crate::error::{ObjectError, Result};
use crate::schema::Replica;

/// Pieces that wait for one server.
const QUEUE: usize = 4;
/// A server that takes no piece for so long is left behind, if enough others go on.
const STALL_MAX: Duration = Duration::from_secs(2);

/// A needle on its way.
pub(crate) struct FanOut {
    queues: Vec<(Replica, mpsc::Sender<Bytes>)>,
    tasks: JoinSet<(Replica, Result<(), ClientError>)>,
    failed: Vec<Replica>,
    needed: usize,
    last: String,
}

/// A needle that is durable on enough servers.
pub(crate) struct Written {
    /// Those that have it.
    pub(crate) durable: Vec<Replica>,
    /// Those that failed.
    pub(crate) failed: Vec<Replica>,
    /// The others have not said so yet.
    pub(crate) under_way: JoinSet<(Replica, Result<(), ClientError>)>,
}

impl FanOut {
    /// Begins with the first stored blocks.
    pub(crate) fn begin(client: &ChunkClient, placed: &Placed, needed: usize, first: &Bytes) -> Self {
        let (mut queues, mut tasks) = (Vec::new(), JoinSet::new());
        for target in placed.targets.iter().cloned() {
            let (give, take) = mpsc::channel(QUEUE);
            queues.push((target.replica, give));
            let (client, extent, first) = (client.clone(), placed.extent, first.clone());
            tasks.spawn(async move { (target.replica, deliver(&client, &target, extent, &first, take).await) });
        }
        Self { queues, tasks, failed: Vec::new(), needed, last: "too few have the chunk".into() }
    }

    /// Sends the next stored blocks.
    pub(crate) async fn send(&mut self, piece: Bytes) -> Result<()> {
        let mut dropped = Vec::new();
        for (at, (_, queue)) in self.queues.iter().enumerate() {
            if queue.send_timeout(piece.clone(), STALL_MAX).await.is_err() {
                dropped.push(at);
            }
        }
        for at in dropped.into_iter().rev() {
            let (replica, _) = self.queues.remove(at);
            self.fail(replica, "it takes no more bytes".into());
        }
        if self.queues.len() < self.needed { Err(self.too_few()) } else { Ok(()) }
    }

    /// Waits until enough servers have the needle durable.
    pub(crate) async fn finish(mut self) -> Result<Written> {
        let left_behind = std::mem::take(&mut self.failed);
        self.queues.clear();
        let mut durable = Vec::new();
        while durable.len() < self.needed {
            match self.tasks.join_next().await {
                Some(Ok((replica, Ok(())))) => durable.push(replica),
                Some(Ok((replica, Err(error)))) => self.fail(replica, eddy_telemetry::error_chain(&error)),
                Some(Err(error)) => self.last = error.to_string(),
                None => return Err(self.too_few()),
            }
        }
        self.failed.extend(left_behind.into_iter().filter(|replica| !self.failed.contains(replica)).collect::<Vec<_>>());
        Ok(Written { durable, failed: self.failed, under_way: self.tasks })
    }

    fn fail(&mut self, replica: Replica, reason: String) {
        self.last = reason;
        self.failed.push(replica);
    }

    fn too_few(&self) -> ObjectError {
        ObjectError::NoRoom(format!("fewer than {} took the bytes: {}", self.needed, self.last))
    }
}

async fn deliver(
    client: &ChunkClient,
    target: &Target,
    extent: eddy_chunks::Extent,
    first: &[u8],
    mut pieces: mpsc::Receiver<Bytes>,
) -> Result<(), ClientError> {
    let mut call = client.write(&target.address, target.replica.file, extent, first).await?;
    while let Some(piece) = pieces.recv().await {
        call.send(&piece).await?;
    }
    call.finish().await
}
