//! Ending in order: one request to end, heard by every part, and a deadline after which the process ends anyway.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Asks every holder of a clone to end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
    request: watch::Sender<bool>,
}

/// Why an orderly end was not possible.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    /// The signal handlers could not be installed.
    #[error("failed to listen for SIGTERM and SIGINT")]
    Signals(#[source] std::io::Error),
    /// Some part had not ended in time.
    #[error("still busy {} s after the request to end: what was under way is cut off", .0.as_secs())]
    Deadline(Duration),
}

impl Default for Shutdown {
    fn default() -> Self {
        let (request, requested) = watch::channel(false);
        Self { requested, request }
    }
}

impl Shutdown {
    /// Requests the end when SIGTERM or SIGINT comes. Needs a running Tokio runtime.
    ///
    /// # Errors
    /// Where the signal handlers cannot be installed.
    pub fn on_signal() -> Result<Self, ShutdownError> {
        let shutdown = Self::default();
        let mut terminate = signal(SignalKind::terminate()).map_err(ShutdownError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ShutdownError::Signals)?;
        let request = shutdown.clone();
        tokio::spawn(async move {
            let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
            tracing::info!(signal = name, "shutting down");
            request.request();
        });
        Ok(shutdown)
    }

    /// Asks every part to end.
    pub fn request(&self) {
        self.request.send_replace(true);
    }

    /// Whether the end was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Waits for the request to end.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        // The sender lives as long as `self`, so this cannot fail while it is waited for.
        let _ = requested.wait_for(|requested| *requested).await;
    }

    /// The request as a plain channel, for libraries that take one.
    #[must_use]
    pub fn channel(&self) -> watch::Receiver<bool> {
        self.requested.clone()
    }

    /// Runs `work` to its end, at most until `deadline` after the end was requested.
    ///
    /// # Errors
    /// Where the deadline passed first; `work` is dropped then.
    pub async fn run<T>(&self, deadline: Duration, work: impl Future<Output = T>) -> Result<T, ShutdownError> {
        tokio::select! {
            result = work => Ok(result),
            () = async { self.requested().await; tokio::time::sleep(deadline).await } => Err(ShutdownError::Deadline(deadline)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_heeds_the_request_ends_in_order() {
        let shutdown = Shutdown::default();
        let heed = shutdown.clone();
        let work = async move { heed.requested().await };
        shutdown.request();
        assert!(shutdown.run(Duration::from_secs(60), work).await.is_ok());
    }

    #[tokio::test]
    async fn work_that_does_not_is_cut_off() {
        let shutdown = Shutdown::default();
        shutdown.request();
        let result = shutdown.run(Duration::from_millis(1), std::future::pending::<()>()).await;
        assert!(matches!(result, Err(ShutdownError::Deadline(_))));
    }
}
