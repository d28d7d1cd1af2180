//! How much of something one user has under way, so that nobody takes all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many at once of each user. Clones count together.
#[derive(Clone)]
pub(crate) struct PerUser {
    counts: Arc<Mutex<HashMap<Box<str>, usize>>>,
    max: usize,
}

/// One of them, until it is dropped.
pub(crate) struct Entered {
    all: PerUser,
    user: Box<str>,
}

impl PerUser {
    pub(crate) fn new(max: usize) -> Self {
        Self { counts: Arc::default(), max }
    }

    /// One more of a user; none where they have as many as they may.
    pub(crate) fn enter(&self, user: &str) -> Option<Entered> {
        let mut counts = self.lock();
        let count = counts.entry(user.into()).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Entered { all: self.clone(), user: user.into() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut counts = self.all.lock();
        if let Some(count) = counts.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_so_many_and_nothing_stays_behind() {
        let all = PerUser::new(2);
        let (first, second) = (all.enter("ada"), all.enter("ada"));
        assert!(first.is_some() && second.is_some() && all.enter("ada").is_none() && all.enter("bob").is_some());
        drop(first);
        assert!(all.enter("ada").is_some());
        drop(second);
        assert!(all.lock().is_empty());
    }
}
