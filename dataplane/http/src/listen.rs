//! Taking TCP connections: so many at once, and an end in order.

use std::sync::Arc;
use std::time::Duration;

use eddy_telemetry::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// After the end was requested, what is under way has so long.
const DRAIN: Duration = Duration::from_secs(25);
/// Between tries to take a connection, where that failed.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves connections until the end is requested, and those that are open then. More than `connections_max` at once wait.
/// `serve` is to end a connection soon after the end was requested.
pub async fn listen<Served>(
    listener: TcpListener,
    connections_max: usize,
    shutdown: &Shutdown,
    mut serve: impl FnMut(TcpStream) -> Served,
) where
    Served: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let served = serve(stream);
                connections.spawn(async move {
                    served.await;
                    drop(permit);
                });
            }
            Err(error) => {
                // As when this process has too many files open.
                tracing::warn!(%error, "failed to take a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} });
    if ended.await.is_err() {
        tracing::warn!(seconds = DRAIN.as_secs(), "requests were cut off");
    }
}
