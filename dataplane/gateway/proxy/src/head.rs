//! How long a client of HTTP/1 takes to say what it asks for.
//!
//! Pingora bounds the time between two reads only: whoever says a byte a minute would hold a connection for days. Each connection is a task of
//! its own, and what it is doing is known to the task: its socket tells when something comes, the proxy when a request is whole and when it has
//! been answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Nothing of a request has come.
const QUIET: u64 = 0;
/// A request is being answered.
const ANSWERED: u64 = u64::MAX;

tokio::task_local! {
    static OF_TASK: Arc<Head>;
}

/// What a connection's client is doing.
#[derive(Debug)]
pub(crate) struct Head {
    opened: Instant,
    /// Or when a request began to come, in milliseconds and one after the connection was opened.
    state: AtomicU64,
}

impl Head {
    /// Of a connection on which something has come.
    pub(crate) fn begun() -> Arc<Self> {
        let head = Self { opened: Instant::now(), state: AtomicU64::new(QUIET) };
        head.comes();
        Arc::new(head)
    }

    /// Something comes.
    pub(crate) fn comes(&self) {
        if self.state.load(Ordering::Relaxed) == QUIET {
            let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 2) + 1;
            self.state.store(now, Ordering::Relaxed);
        }
    }

    /// Serves a connection that this is of. None if a request takes longer than so to come.
    pub(crate) async fn watch<T>(self: &Arc<Self>, within: Duration, served: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            served = OF_TASK.scope(self.clone(), served) => Some(served),
            () = self.late(within) => None,
        }
    }

    async fn late(&self, within: Duration) {
        loop {
            let since = match self.state.load(Ordering::Relaxed) {
                QUIET | ANSWERED => Instant::now(),
                state => self.opened + Duration::from_millis(state - 1),
            };
            if since.elapsed() >= within {
                return;
            }
            sleep_until(since + within).await;
        }
    }
}

/// A request of this task's connection is whole. What comes of HTTP/2 is no connection's task.
pub(crate) fn is_whole() {
    let _ = OF_TASK.try_with(|head| head.state.store(ANSWERED, Ordering::Relaxed));
}

/// It has been answered.
pub(crate) fn is_answered() {
    let _ = OF_TASK.try_with(|head| head.state.store(QUIET, Ordering::Relaxed));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);
    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn only_a_head_that_takes_long_is_cut() {
        let head = Head::begun();
        let served = head.watch(WITHIN, async {
            sleep(WITHIN / 2).await;
            is_whole();
            // A body may take as long as it likes, and what comes of it is no head.
            head.comes();
            sleep(LONG).await;
            is_answered();
            // Nor is a silence, which is bounded elsewhere.
            sleep(LONG).await;
            head.comes();
            sleep(WITHIN / 2).await;
            is_whole();
        });
        assert_eq!(served.await, Some(()));
        let drips = Head::begun();
        let began = Instant::now();
        let served = drips.watch(WITHIN, async {
            loop {
                drips.comes();
                sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!((served.await, began.elapsed()), (None::<()>, WITHIN));
        // The next request of a connection as well.
        let next = Head::begun();
        let served = next.watch(WITHIN, async {
            is_whole();
            is_answered();
            sleep(LONG).await;
            next.comes();
            sleep(LONG).await;
        });
        assert!(served.await.is_none() && began.elapsed() < WITHIN * 4 + LONG);
    }
}
