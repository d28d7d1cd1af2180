//! Taking connections, not too many at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::transport::{Connection, Listener};

/// After a failure to accept, as when there are too many open files.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Gives each connection to `converse`, in a task of its own, so many at once; more wait in the kernel. It goes on until it is dropped; then
/// what is under way ends, too.
pub async fn accept_all<C>(
    mut listener: Box<dyn Listener>,
    connections_max: usize,
    converse: impl Fn(Box<dyn Connection>, SocketAddr) -> C,
) where
    C: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((connection, peer)) => {
                let conversation = converse(connection, peer);
                connections.spawn(async move {
                    conversation.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to take a connection");
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}
