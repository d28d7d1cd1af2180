//! How fast work in the background goes.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Spends no more than so many bytes, or deeds, a second, however many spend at once.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: Option<NonZeroU64>,
    /// When all that was spent so far has been paid for.
    paid: Mutex<Instant>,
}

impl Pace {
    /// As fast as it goes, where nothing is said.
    pub(crate) fn new(per_second: Option<NonZeroU64>) -> Self {
        Self { per_second, paid: Mutex::new(Instant::now()) }
    }

    /// Waits until so many may be copied, read or done.
    pub(crate) async fn spend(&self, count: u64) {
        let Some(rate) = self.per_second else { return };
        let cost = Duration::from_secs_f64(count as f64 / rate.get() as f64);
        let begin = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = (*paid).max(Instant::now());
            *paid = begin + cost;
            begin
        };
        tokio::time::sleep_until(begin).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_together_spend_no_faster_than_one() {
        let pace = Pace::new(NonZeroU64::new(1000));
        let start = Instant::now();
        futures::future::join_all((0..10).map(|_| pace.spend(500))).await;
        pace.spend(1).await;
        assert_eq!(start.elapsed().as_millis(), 5000);
        // What was not spent is not saved up.
        tokio::time::sleep(Duration::from_secs(100)).await;
        let start = Instant::now();
        futures::future::join_all((0..3).map(|_| pace.spend(1000))).await;
        assert_eq!(start.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nobody_waits() {
        let (pace, start) = (Pace::new(None), Instant::now());
        pace.spend(u64::MAX).await;
        assert!(start.elapsed().is_zero());
    }
}
