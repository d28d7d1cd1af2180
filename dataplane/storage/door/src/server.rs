//! Connections: how many, how long, how slow.

use std::sync::Arc;
use std::time::Duration;

use eddy_telemetry::Shutdown;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

use crate::door::Door;
use crate::front::Front;
use crate::metrics::DoorMetrics;

/// After the end was requested, requests that are under way have so long.
const DRAIN: Duration = Duration::from_secs(25);
/// Between tries to take a connection, where that failed.
const PAUSE: Duration = Duration::from_millis(50);

/// What connections may cost.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// More at once wait.
    pub connections_max: usize,
    /// The head of a request must come within this.
    pub head_timeout: Duration,
    /// Whoever takes nothing of an answer for so long has gone.
    pub stall_timeout: Duration,
    /// Subdomains of these are buckets, to S3's clients.
    pub s3_domains: Vec<String>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            head_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            s3_domains: Vec::new(),
        }
    }
}

/// Serves until the end is requested, and what is under way then.
pub async fn serve(listener: TcpListener, door: Door, options: ServeOptions, metrics: DoorMetrics, shutdown: Shutdown) {
    let front = Front::new(&door, &options.s3_domains, metrics.clone());
    let room = Arc::new(Semaphore::new(options.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => break,
        };
        while connections.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // As when this process has too many files open.
                tracing::warn!(%error, "failed to take a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (front, shutdown) = (front.clone(), shutdown.clone());
        let (head_timeout, stall_timeout) = (options.head_timeout, options.stall_timeout);
        let open = metrics.connections.clone();
        connections.spawn(async move {
            open.inc();
            connection(stream, front, (head_timeout, stall_timeout), &shutdown).await;
            open.dec();
            drop(permit);
        });
    }
    drop(listener);
    let ended = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} });
    if ended.await.is_err() {
        tracing::warn!(seconds = DRAIN.as_secs(), "requests were cut off");
    }
}

async fn connection(stream: TcpStream, front: Front, (head, stall): (Duration, Duration), shutdown: &Shutdown) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(stall));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(64 * 1024);
    let serving = http.serve_connection(TokioIo::new(Box::pin(stream)), front);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = shutdown.requested() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection was cut off");
    }
}
