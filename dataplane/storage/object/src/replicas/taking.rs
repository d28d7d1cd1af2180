//! Replicas that fail to take a needle after enough others have it.
//!
//! Whoever writes goes on by then, and may say much later that an object needs that needle. A note that such a replica lacks something is
//! made at once, and may be gone by then: repair found that nobody needed what it lacks. So whoever writes remembers them, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::objects::Objects;
use crate::schema::Replica;

/// Those of one who writes. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Late(Arc<Mutex<BTreeSet<(u64, Replica)>>>);

impl Late {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<(u64, Replica)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A replica of a chunk failed.
    pub(crate) fn add(&self, chunk: u64, replica: Replica) {
        self.lock().insert((chunk, replica));
    }

    /// They do not count as having taken anything of their chunks.
    pub(crate) fn leave_out_of(&self, taken: &mut BTreeMap<u64, Vec<Replica>>) {
        for (chunk, replica) in &*self.lock() {
            if let Some(taken) = taken.get_mut(chunk) {
                taken.retain(|one| one != replica);
            }
        }
    }

    /// To be held while what they lack comes to be needed: they may have failed since they were left out.
    pub(crate) fn noted_after(&self, objects: &Objects) -> NotedAfter {
        NotedAfter { late: self.clone(), objects: objects.clone() }
    }
}

/// Notes those that failed once it is dropped, whatever came of the transaction: of one that failed, or that nobody waits for any more, it
/// is not known whether it was done.
#[must_use]
pub(crate) struct NotedAfter {
    late: Late,
    objects: Objects,
}

impl Drop for NotedAfter {
    fn drop(&mut self) {
        for (chunk, replica) in &*self.late.lock() {
            self.objects.degrade(*chunk, *replica);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_failed_has_taken_nothing_of_that_chunk() {
        let [one, other] = [1, 2].map(|server| Replica { server, file: 7 });
        let mut taken = BTreeMap::from([(5, vec![one, other]), (6, vec![one, other])]);
        let late = Late::default();
        late.clone().add(5, other);
        late.add(9, one);
        late.leave_out_of(&mut taken);
        assert_eq!(taken, BTreeMap::from([(5, vec![one]), (6, vec![one, other])]));
    }
}
