//! How often something may be, of many things that strangers may make up.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;

/// Places of a table for things of one kind.
const PLACES: usize = 1 << 16;

/// So many at once, and one more as time goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// So many.
    pub at_once: u32,
    /// As often.
    pub one_more_every: Duration,
}

/// Counts things in a table of fixed size: who makes up names fills no memory. Two that share a place in it share its count; who is where is
/// drawn anew for each table.
pub struct Allowances {
    hasher: RandomState,
    began: Instant,
    /// When all that was counted in a place is forgotten (as in GCRA), in nanoseconds.
    forgotten_ns: Box<[AtomicU64]>,
}

impl Allowances {
    /// Nothing was counted yet. A place is 8 bytes.
    pub fn new(places: usize) -> Self {
        let forgotten_ns = (0..places.max(1)).map(|_| AtomicU64::new(0)).collect();
        Self { hasher: RandomState::default(), began: Instant::now(), forgotten_ns }
    }

    /// Counts one.
    ///
    /// # Errors
    /// When one more may be: it is not counted.
    pub fn count(&self, rate: Rate, key: impl Hash, now: Instant) -> Result<(), Duration> {
        let now_ns = nanoseconds(now.saturating_duration_since(self.began));
        let one_ns = nanoseconds(rate.one_more_every);
        let allowed_ns = now_ns.saturating_add(one_ns.saturating_mul(u64::from(rate.at_once.max(1) - 1)));
        let counted = self.place(key).try_update(Ordering::Relaxed, Ordering::Relaxed, |forgotten_ns| {
            let before_ns = forgotten_ns.max(now_ns);
            (before_ns <= allowed_ns).then(|| before_ns.saturating_add(one_ns))
        });
        counted.map(drop).map_err(|forgotten_ns| Duration::from_nanos(forgotten_ns.saturating_sub(allowed_ns)))
    }

    /// Takes one back that was counted.
    pub fn uncount(&self, rate: Rate, key: impl Hash) {
        let one_ns = nanoseconds(rate.one_more_every);
        let back = |forgotten_ns: u64| Some(forgotten_ns.saturating_sub(one_ns));
        // It is always given back.
        let _ = self.place(key).try_update(Ordering::Relaxed, Ordering::Relaxed, back);
    }

    fn place(&self, key: impl Hash) -> &AtomicU64 {
        let hash = usize::try_from(self.hasher.hash_one(key)).unwrap_or_default();
        &self.forgotten_ns[hash % self.forgotten_ns.len()]
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Counts things of one kind, which all may be as often.
pub struct Limits {
    rate: Rate,
    counts: Allowances,
}

impl Limits {
    /// Nothing was counted yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, counts: Allowances::new(PLACES) }
    }

    /// Counts one.
    ///
    /// # Errors
    /// When one more may be: it is not counted.
    pub fn count(&self, key: impl Hash, now: Instant) -> Result<(), Duration> {
        self.counts.count(self.rate, key, now)
    }

    /// Takes one back that was counted.
    pub fn uncount(&self, key: impl Hash) {
        self.counts.uncount(self.rate, key);
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

    #[test]
    fn a_million_a_second_are_counted_one_by_one() {
        let (counts, now) = (Allowances::new(16), Instant::now());
        let rate = Rate { at_once: 1, one_more_every: Duration::from_micros(1) };
        counts.count(rate, "a", now).unwrap();
        assert_eq!(counts.count(rate, "a", now), Err(Duration::from_micros(1)));
        assert_eq!(counts.count(rate, "a", now + Duration::from_micros(1)), Ok(()));
    }
}
