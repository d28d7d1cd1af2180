//! Connections: how many, how long, how slow.

use std::time::Duration;

use eddy_http::{HEAD_WITHIN, connection, listen};
use eddy_telemetry::Shutdown;
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
    pub head_within: Duration,
    /// Subdomains of these are buckets, to S3's clients.
    pub s3_domains: Vec<String>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { connections_max: 4096, head_within: HEAD_WITHIN, s3_domains: Vec::new() }
    }
}

/// Serves until the end is requested, and what is under way then.
pub async fn serve(listener: TcpListener, door: Door, options: ServeOptions, metrics: DoorMetrics, shutdown: Shutdown) {
    let front = Front::new(&door, &options.s3_domains, metrics.clone());
    let until = shutdown.clone();
    let serve = |stream| {
        let (front, door, shutdown) = (front.clone(), door.clone(), shutdown.clone());
        let (head_within, open) = (options.head_within, metrics.connections.clone());
        async move {
            open.inc();
            served(stream, front, &door, head_within, &shutdown).await;
            open.dec();
        }
    };
    listen(listener, options.connections_max, &until, serve).await;
}

async fn served(stream: TcpStream, front: Front, door: &Door, head_within: Duration, shutdown: &Shutdown) {
    let _ = stream.set_nodelay(true);
    let front = front.to(stream.peer_addr().ok().map(|peer| peer.ip()));
    let (stream, taken) = Watched::new(stream);
    tokio::select! {
        () = connection(stream, front, head_within, shutdown) => {}
        () = taken.too_little(door.silence_max(), || door.objects().is_short_of_memory()) => {
            tracing::debug!("a connection was cut off whose other side takes nothing");
        }
    }
}
