//! Connections: how many, how long, how slow.

use std::time::Duration;

use eddy_listen::listen;
use eddy_telemetry::Shutdown;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::door::Door;
use crate::front::Front;
use crate::metrics::DoorMetrics;
use crate::watched::Watched;

/// What connections may cost.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// More at once wait.
    pub connections_max: usize,
    /// The head of a request must come within this.
    pub head_timeout: Duration,
    /// Subdomains of these are buckets, to S3's clients.
    pub s3_domains: Vec<String>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { connections_max: 4096, head_timeout: Duration::from_secs(30), s3_domains: Vec::new() }
    }
}

/// Serves until the end is requested, and what is under way then.
pub async fn serve(listener: TcpListener, door: Door, options: ServeOptions, metrics: DoorMetrics, shutdown: Shutdown) {
    let front = Front::new(&door, &options.s3_domains, metrics.clone());
    let until = shutdown.clone();
    let serve = |stream| {
        let (front, door, shutdown) = (front.clone(), door.clone(), shutdown.clone());
        let (head_timeout, open) = (options.head_timeout, metrics.connections.clone());
        async move {
            open.inc();
            connection(stream, front, &door, head_timeout, &shutdown).await;
            open.dec();
        }
    };
    listen(listener, options.connections_max, &until, serve).await;
}

async fn connection(stream: TcpStream, front: Front, door: &Door, head_timeout: Duration, shutdown: &Shutdown) {
    let _ = stream.set_nodelay(true);
    let (stream, taken) = Watched::new(stream);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(64 * 1024);
    let serving = http.serve_connection(TokioIo::new(stream), front);
    let mut serving = std::pin::pin!(serving);
    let served = async {
        tokio::select! {
            ended = &mut serving => ended,
            () = shutdown.requested() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        }
    };
    let ended = tokio::select! {
        ended = served => ended,
        () = taken.too_little(door.silence_max(), || door.objects().is_short_of_memory()) => {
            tracing::debug!("a connection was cut off whose other side takes nothing");
            return;
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection was cut off");
    }
}
