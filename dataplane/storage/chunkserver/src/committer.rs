//! One sync for all needles of a file that wait for one.

use std::io;
use std::sync::mpsc;

use eddy_chunks::SyncPoint;
use eddy_disk::Disk;
use tokio::sync::oneshot;

use crate::protocol::Refusal;

type Reply = oneshot::Sender<Result<(), Refusal>>;

/// The thread that waits for the disk; none where nobody has to.
#[derive(Clone)]
pub(crate) struct Committer(Option<mpsc::Sender<(SyncPoint, Reply)>>);

impl Committer {
    /// Starts the thread, which ends with the last holder.
    ///
    /// # Errors
    /// Where the kernel gives no thread.
    pub(crate) fn start(disk: &dyn Disk) -> io::Result<Self> {
        if disk.is_simulated() {
            return Ok(Self(None));
        }
        let (give, take) = mpsc::channel();
        std::thread::Builder::new().name("chunk-sync".into()).spawn(move || run(&take))?;
        Ok(Self(Some(give)))
    }

    /// Waits until a needle is durable.
    pub(crate) async fn sync(&self, point: SyncPoint) -> Result<(), Refusal> {
        let Some(thread) = &self.0 else { return point.sync().map_err(Refusal::from) };
        let (reply, replied) = oneshot::channel();
        let ended = || Refusal::Disk("the thread that syncs has ended".into());
        thread.send((point, reply)).map_err(|_| ended())?;
        replied.await.map_err(|_| ended())?
    }
}

fn run(take: &mpsc::Receiver<(SyncPoint, Reply)>) {
    while let Ok(first) = take.recv() {
        let mut waiting = vec![first];
        waiting.extend(take.try_iter());
        while let Some((point, _)) = waiting.first() {
            let point = point.clone();
            let (same, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(other, _)| other.is_of_same_file(&point));
            let synced = point.sync().map_err(Refusal::from);
            for (_, reply) in same {
                // Nobody may be waiting any more.
                let _ = reply.send(synced.clone());
            }
            waiting = others;
        }
    }
}
