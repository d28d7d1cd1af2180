//! Whether an endpoint is worth a try: one that took no connections lately is left alone for a while.
//!
//! Kubernetes tells that a pod is gone within seconds, and that a node is within most of a minute. Until then every request that is sent there
//! would wait for the limit of connecting before it is tried elsewhere.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many failures in a row, and it is left alone
const FAILURES: u32 = 3;
/// for this long, and longer each time that it fails again after that,
const ALONE: Duration = Duration::from_secs(5);
/// up to this.
const ALONE_MAX: Duration = Duration::from_secs(60);

/// Times are counted from here: an atomic number holds no instant.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What is known of an endpoint by what became of connections to it.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// In a row.
    failures: AtomicU32,
    /// Until when it is left alone, in milliseconds.
    alone_until_ms: AtomicU64,
}

impl Trust {
    /// It took a connection, and answered: it is trusted again.
    pub(crate) fn kept(&self) {
        // Written by each request only where there is something to write.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.alone_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// It did not take a connection, or broke it. True if it is left alone from now on.
    pub(crate) fn broken(&self, now: Instant) -> bool {
        // Of many connections that break at once, those after the last that counts are one failure.
        if self.is_alone(now) {
            return false;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < FAILURES {
            return false;
        }
        let alone = ALONE.saturating_mul(failures - FAILURES + 1).min(ALONE_MAX);
        self.alone_until_ms.store(milliseconds(now + alone), Ordering::Relaxed);
        true
    }

    /// Whether it is left alone. Whoever finds no other tries it all the same.
    pub(crate) fn is_alone(&self, now: Instant) -> bool {
        let until_ms = self.alone_until_ms.load(Ordering::Relaxed);
        until_ms > 0 && milliseconds(now) < until_ms
    }
}

fn milliseconds(time: Instant) -> u64 {
    u64::try_from(time.saturating_duration_since(*BEGAN).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fails_again_and_again_is_left_alone_ever_longer() {
        let (trust, mut now) = (Trust::default(), Instant::now());
        assert!(!trust.broken(now) && !trust.broken(now) && !trust.is_alone(now));
        assert!(trust.broken(now) && trust.is_alone(now) && !trust.broken(now), "it is already");
        let mut pauses = Vec::new();
        for _ in 0..20 {
            let began = now;
            while trust.is_alone(now) {
                now += Duration::from_secs(1);
            }
            pauses.push((now - began).as_secs());
            assert!(trust.broken(now));
        }
        assert_eq!((pauses[0], pauses.last()), (5, Some(&60)));
        assert!(pauses.is_sorted());
        assert!(trust.is_alone(now));
        (0..100).for_each(|_| assert!(!trust.broken(now), "what breaks meanwhile counts for nothing"));
        // It is trusted again with the first answer.
        trust.kept();
        assert!(!trust.is_alone(now) && !trust.broken(now) && !trust.broken(now));
    }
}
