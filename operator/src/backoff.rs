//! Growing pauses after failures, by object.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The pause after a first failure; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// How often each object failed in a row.
#[derive(Default)]
pub(crate) struct Backoff {
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoff {
    pub(crate) fn succeeded(&self, key: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// How long to wait before the next try.
    pub(crate) fn failed(&self, key: String) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key).or_insert(0);
        *count += 1;
        pause(*count, fastrand::f64())
    }
}

/// Doubles from a second to five minutes, with up to a quarter more by chance, so that those that failed
/// together are not tried again together.
fn pause(failures: u32, chance: f64) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(PAUSE_MAX).mul_f64(1.0 + chance / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let seconds: Vec<u64> = [1, 2, 3, 9, 10, 100].map(|failures| pause(failures, 0.0).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300]);
        assert!(pause(1, 1.0) <= Duration::from_millis(1250));
    }

    #[test]
    fn a_success_starts_over() {
        let backoff = Backoff::default();
        let first = backoff.failed("a".into());
        assert!(backoff.failed("a".into()) > first);
        backoff.succeeded("a");
        assert!(backoff.failed("a".into()) < Duration::from_millis(1300));
    }
}
