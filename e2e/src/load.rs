//! A steady load on one host, whose every failure is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::Gateway;

/// Clients that ask at once.
const CLIENTS: usize = 4;
/// Each client's pause between two requests.
const PAUSE: Duration = Duration::from_millis(10);

/// A load that goes on until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Outcome>>,
}

/// What came of a load.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Requests answered with 200.
    pub succeeded: usize,
    /// All others, each as what came back.
    pub failed: Vec<String>,
}

impl Load {
    /// Starts to ask.
    pub fn start(gateway: &Gateway, host: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let (gateway, host, stop) = (gateway.clone(), host.to_owned(), stop.clone());
            tokio::spawn(async move {
                let mut outcome = Outcome::default();
                while !stop.load(Ordering::Relaxed) {
                    match gateway.try_get(&host, "/").await {
                        Ok((200, _)) => outcome.succeeded += 1,
                        other => outcome.failed.push(format!("{other:?}")),
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                outcome
            })
        };
        Self { clients: (0..CLIENTS).map(client).collect(), stop }
    }

    /// Stops, and says what came of it.
    pub async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Outcome::default();
        for client in self.clients {
            let outcome = client.await.unwrap();
            sum.succeeded += outcome.succeeded;
            sum.failed.extend(outcome.failed);
        }
        sum
    }
}

impl Outcome {
    /// Not one request failed, and there were some.
    pub fn assert_clean(&self) {
        assert!(
            self.failed.is_empty(),
            "{} of {} requests failed: {:?}",
            self.failed.len(),
            self.failed.len() + self.succeeded,
            &self.failed[..self.failed.len().min(5)]
        );
        assert!(self.succeeded > 0, "nothing was asked");
    }
}
