//! How often something may be, of many things that strangers may make up.

use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;

/// Places of a table.
const PLACES: usize = 1 << 16;

/// So many at once, and one more as time goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// So many.
    pub at_once: u32,
    /// As often.
    pub one_more_every: Duration,
}

/// Counts things of one kind in a table of fixed size: who makes up names fills no memory. Two that share a place in it share its count; who is
/// where is drawn anew for each table.
pub struct Limits {
    rate: Rate,
    hasher: RandomState,
    began: Instant,
    /// When all that was counted in a place is forgotten (as in GCRA), in milliseconds.
    forgotten_ms: Mutex<Box<[u64]>>,
}

impl Limits {
    /// Nothing was counted yet.
    pub fn new(rate: Rate) -> Self {
        let forgotten_ms = Mutex::new(vec![0; PLACES].into());
        Self { rate, hasher: RandomState::default(), began: Instant::now(), forgotten_ms }
    }

    /// Counts one.
    ///
    /// # Errors
    /// When one more may be: it is not counted.
    pub fn count(&self, key: impl Hash, now: Instant) -> Result<(), Duration> {
        let now_ms = u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX);
        let mut all = self.forgotten_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten_ms = &mut all[self.place(key)];
        let allowed_ms = now_ms.saturating_add(self.one_ms().saturating_mul(u64::from(self.rate.at_once.max(1) - 1)));
        let before_ms = (*forgotten_ms).max(now_ms);
        if before_ms > allowed_ms {
            return Err(Duration::from_millis(before_ms - allowed_ms));
        }
        *forgotten_ms = before_ms.saturating_add(self.one_ms());
        Ok(())
    }

    /// Takes one back that was counted.
    pub fn uncount(&self, key: impl Hash) {
        let mut all = self.forgotten_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten_ms = &mut all[self.place(key)];
        *forgotten_ms = forgotten_ms.saturating_sub(self.one_ms());
    }

    fn one_ms(&self) -> u64 {
        u64::try_from(self.rate.one_more_every.as_millis()).unwrap_or(u64::MAX)
    }

    fn place(&self, key: impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(key)).unwrap_or_default() % PLACES
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_at_once_and_one_more_as_time_goes_by() {
        let (limits, now) = (Limits::new(Rate { at_once: 3, one_more_every: Duration::from_secs(10) }), Instant::now());
        for _ in 0..3 {
            limits.count("a", now).unwrap();
        }
        let wait = limits.count("a", now).unwrap_err();
        assert!(wait <= Duration::from_secs(10), "{wait:?}");
        for _ in 0..100 {
            assert_eq!(limits.count("a", now), Err(wait), "what was refused is not counted");
        }
        assert_eq!(limits.count("b", now), Ok(()));
        limits.count("a", now + wait).unwrap();
        assert!(limits.count("a", now + wait).is_err());
        limits.uncount("a");
        assert_eq!(limits.count("a", now + wait), Ok(()));
    }
}
