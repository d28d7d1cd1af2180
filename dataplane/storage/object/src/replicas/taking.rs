//! Who takes the needles of one upload, as far as they have said so.
//!
//! Whoever writes goes on when enough servers have a needle durable, and may say much later that an object needs it. Until then others of its
//! chunk may take their places, so that only those count which have it for certain. One that fails to take it after all is noted at once,
//! and that note may be gone by then: repair found that nobody needed what it lacks. So whoever writes remembers it, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::objects::Objects;
use crate::schema::Replica;

/// How a replica stands.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Needles that it has not answered for.
    under_way: usize,
    failed: bool,
}

/// Who takes the needles of one upload. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Taking(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    chunks: Mutex<BTreeMap<u64, BTreeMap<Replica, Standing>>>,
    ended: Notify,
}

impl Taking {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, BTreeMap<Replica, Standing>>> {
        self.0.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These replicas have another needle of a chunk, are about to, or failed to take it.
    pub(crate) fn add(&self, chunk: u64, durable: &[Replica], under_way: &[Replica], failed: &[Replica]) {
        let mut chunks = self.lock();
        let replicas = chunks.entry(chunk).or_default();
        for replica in durable {
            replicas.entry(*replica).or_default();
        }
        for replica in under_way {
            replicas.entry(*replica).or_default().under_way += 1;
        }
        for replica in failed {
            replicas.entry(*replica).or_default().failed = true;
        }
    }

    /// A replica that was about to take a needle did, or failed to.
    pub(crate) fn end(&self, chunk: u64, replica: Replica, well: bool) {
        if let Some(standing) = self.lock().get_mut(&chunk).and_then(|replicas| replicas.get_mut(&replica)) {
            standing.under_way = standing.under_way.saturating_sub(1);
            standing.failed |= !well;
        }
        self.0.ended.notify_waiters();
    }

    /// The chunks of all needles.
    pub(crate) fn chunks(&self) -> Vec<u64> {
        self.lock().keys().copied().collect()
    }

    /// Those of a chunk's replicas that lack some of its needles, once enough others have all, durably; none where too few do. Who may yet
    /// fail to take some does not count, and is waited for where that matters.
    pub(crate) async fn lacking(&self, chunk: u64, replicas: &[Replica], needed: usize) -> Option<Vec<Replica>> {
        loop {
            let mut ended = std::pin::pin!(self.0.ended.notified());
            // From now on none is missed.
            ended.as_mut().enable();
            let standings: Vec<(Replica, Option<Standing>)> = {
                let chunks = self.lock();
                let of = |replica: &Replica| chunks.get(&chunk).and_then(|known| known.get(replica)).copied();
                replicas.iter().map(|replica| (*replica, of(replica).filter(|standing| !standing.failed))).collect()
            };
            let took = || standings.iter().filter_map(|(_, standing)| *standing);
            if took().filter(|standing| standing.under_way == 0).count() >= needed {
                let lacks = standings.iter().filter(|(_, standing)| standing.is_none());
                return Some(lacks.map(|(replica, _)| *replica).collect());
            }
            if took().count() < needed {
                return None;
            }
            ended.await;
        }
    }

    /// To be held while what they took comes to be needed: others may fail until then.
    pub(crate) fn noted_after(&self, objects: &Objects) -> NotedAfter {
        NotedAfter { taking: self.clone(), objects: objects.clone() }
    }

    fn failed(&self) -> Vec<(u64, Replica)> {
        let chunks = self.lock();
        let all = chunks.iter().flat_map(|(chunk, replicas)| replicas.iter().map(|one| (*chunk, one)));
        all.filter(|(_, (_, standing))| standing.failed).map(|(chunk, (replica, _))| (chunk, *replica)).collect()
    }
}

/// Notes those that failed once it is dropped, whatever came of the transaction: of one that failed, or that nobody waits for any more, it
/// is not known whether it was done.
#[must_use]
pub(crate) struct NotedAfter {
    taking: Taking,
    objects: Objects,
}

impl Drop for NotedAfter {
    fn drop(&mut self) {
        for (chunk, replica) in self.taking.failed() {
            self.objects.degrade(chunk, replica);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const CHUNK: u64 = 5;

    fn on(server: u64) -> Replica {
        Replica { server, file: 7 }
    }

    /// Of three; none where whoever asks has to wait.
    fn lacking(taking: &Taking, needed: usize) -> Option<Option<Vec<Replica>>> {
        taking.lacking(CHUNK, &[on(1), on(2), on(3)], needed).now_or_never()
    }

    #[test]
    fn who_failed_has_taken_nothing_of_that_chunk_and_who_is_unknown_neither() {
        let taking = Taking::default();
        taking.add(CHUNK, &[on(1), on(2)], &[on(3)], &[]);
        taking.add(9, &[on(1)], &[], &[on(2)]);
        assert_eq!(lacking(&taking, 2), Some(Some(vec![])));
        let anew = Replica { file: 8, ..on(2) };
        assert_eq!(taking.lacking(CHUNK, &[on(1), anew], 1).now_or_never(), Some(Some(vec![anew])));
        taking.end(CHUNK, on(3), false);
        assert_eq!(lacking(&taking, 2), Some(Some(vec![on(3)])));
        taking.add(CHUNK, &[on(1)], &[], &[on(2)]);
        assert_eq!(lacking(&taking, 1), Some(Some(vec![on(2), on(3)])));
        assert_eq!(lacking(&taking, 2), Some(None));
        assert_eq!(taking.failed(), [(CHUNK, on(2)), (CHUNK, on(3)), (9, on(2))]);
    }

    #[test]
    fn who_is_about_to_take_one_needle_counts_once_it_has_all() {
        let taking = Taking::default();
        taking.add(CHUNK, &[on(1), on(2)], &[on(3)], &[]);
        taking.add(CHUNK, &[on(2), on(3)], &[on(1)], &[]);
        assert_eq!(lacking(&taking, 1), Some(Some(vec![])));
        assert_eq!(lacking(&taking, 2), None, "no two have both");
        let replicas = [on(1), on(2), on(3)];
        let mut waiting = Box::pin(taking.lacking(CHUNK, &replicas, 2));
        assert!(waiting.as_mut().now_or_never().is_none());
        taking.end(CHUNK, on(3), true);
        assert_eq!(waiting.now_or_never(), Some(Some(vec![])));
        taking.end(CHUNK, on(1), false);
        assert_eq!(lacking(&taking, 2), Some(Some(vec![on(1)])));
        assert_eq!(lacking(&taking, 3), Some(None), "nobody waits for what never comes");
    }
}
