//! One connection, HTTP/1.1.

use std::error::Error;
use std::time::Duration;

use eddy_telemetry::Shutdown;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

/// The head of a request must come within this, where nothing else is said.
pub const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// A head is no longer than this.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Serves a connection until its other side, or the service, has had enough; once the end was requested, until the request that is
/// under way is answered.
pub async fn connection<S, B>(stream: impl AsyncRead + AsyncWrite + Unpin, service: S, head_within: Duration, shutdown: &Shutdown)
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_within).max_buf_size(HEAD_BYTES_MAX);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
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
