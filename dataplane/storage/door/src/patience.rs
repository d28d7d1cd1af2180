//! How long the other side of a connection is waited for.

use std::time::Duration;

/// Whoever is slower than that, in bytes a second over all the time that was waited for it, has gone.
const SLOWEST: u64 = 1024;

/// How long somebody was waited for, and what came of it.
pub(crate) struct Patience {
    silence_max: Duration,
    waited: Duration,
    moved: u64,
}

impl Patience {
    /// With somebody who has gone after saying nothing for so long.
    pub(crate) const fn new(silence_max: Duration) -> Self {
        Self { silence_max, waited: Duration::ZERO, moved: 0 }
    }

    /// For how much longer it is worth waiting.
    pub(crate) fn left(&self) -> Duration {
        let earned = Duration::from_secs(self.moved / SLOWEST);
        self.silence_max.min((self.silence_max + earned).saturating_sub(self.waited))
    }

    /// So many bytes came or went, in all.
    pub(crate) const fn set_moved(&mut self, bytes: u64) {
        self.moved = bytes;
    }

    pub(crate) const fn waited(&mut self, time: Duration) {
        self.waited = self.waited.saturating_add(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_a_byte_now_and_then_is_not_waited_for_for_ever() {
        const SILENCE_MAX: Duration = Duration::from_secs(60);
        let (mut patience, step) = (Patience::new(SILENCE_MAX), Duration::from_secs(59));
        assert_eq!(patience.left(), SILENCE_MAX);
        patience.waited(step);
        patience.set_moved(1);
        assert_eq!(patience.left(), Duration::from_secs(1));
        // Whoever is slow and goes on is waited for as long as that takes, and a pause is no longer than any.
        for round in 1..=100 {
            patience.waited(step);
            patience.set_moved(1 + round * 59 * SLOWEST);
            assert!(patience.left() >= Duration::from_secs(1));
        }
        patience.set_moved(1_000_000_000);
        assert_eq!(patience.left(), SILENCE_MAX);
    }
}
