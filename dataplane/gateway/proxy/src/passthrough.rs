//! Connections that are passed on as they are: to whom, and both ways until both have ended or nobody says anything.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::client::TlsStream;

use crate::endpoints::InFlight;
use crate::entry::RouteEntry;
use crate::metrics::Metrics;
use crate::secured::{Secured, Speaks};

/// What is on its way of one direction.
const BUFFER_BYTES: usize = 8 * 1024;

/// Once no more connections are taken, one on which nobody says anything for so long has ended.
const IDLE_AT_END: Duration = Duration::from_secs(2);

/// Why a connection was not passed on, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    /// The Route asks for what cannot be done.
    #[error("its Route asks for what cannot be done")]
    Broken,
    /// The Route does not let this address in.
    #[error("its Route does not let this address in")]
    Address,
    /// There are as many as may be.
    #[error("as many are passed on as may be")]
    TooMany,
    /// There is nobody to take it.
    #[error("nothing is ready to take it")]
    NoEndpoint,
    /// Nobody took it.
    #[error("no backend took it in time")]
    Connect,
    /// Nobody said anything for long.
    #[error("nobody said anything for {} s", .0.as_secs())]
    Idle(Duration),
    /// One of both broke it.
    #[error("it broke")]
    Broke(#[from] std::io::Error),
}

impl PassError {
    /// The name in metrics; none where it was passed on, and has ended as connections do.
    pub(crate) fn label(&self) -> Option<&'static str> {
        match self {
            Self::Broken => Some("broken"),
            Self::Address => Some("address"),
            Self::TooMany => Some("too_many"),
            Self::NoEndpoint => Some("no_endpoint"),
            Self::Connect => Some("upstream"),
            Self::Idle(_) | Self::Broke(_) => None,
        }
    }
}

impl RouteEntry {
    /// Whether what comes from an address is passed on.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn lets_in(&self, from: IpAddr) -> Result<(), PassError> {
        if self.is_broken {
            return Err(PassError::Broken);
        }
        match &self.filters.addresses {
            Some(addresses) if !addresses.lets_in(from) => Err(PassError::Address),
            _ => Ok(()),
        }
    }
}

/// Passes a client's connection on to a backend of a Route, to its end.
///
/// # Errors
/// See [`PassError`].
pub(crate) async fn pass<C: AsyncRead + AsyncWrite>(
    client: C,
    from: IpAddr,
    route: &Arc<RouteEntry>,
    metrics: &Metrics,
    mut closed: watch::Receiver<bool>,
) -> Result<(), PassError> {
    route.lets_in(from)?;
    let (backend, _under_way) = connect(route, metrics).await?;
    metrics.passed.inc();
    let (client, heard) = (tokio::io::split(client), Heard::new());
    let both_ways = async {
        match backend {
            Backend::Plain(backend) => both_ways(client, backend.into_split(), &heard).await,
            Backend::Secured(backend) => both_ways(client, tokio::io::split(backend), &heard).await,
        }
    };
    tokio::select! {
        ended = both_ways => ended.map_err(PassError::Broke),
        () = heard.nothing_for(route.idle_timeout) => Err(PassError::Idle(route.idle_timeout)),
        () = async {
            let _ = closed.wait_for(|closed| *closed).await;
            heard.nothing_for(IDLE_AT_END).await;
        } => Ok(()),
    }
}

/// A connection to one of a Route's backends. Nothing was sent to one that does not take it, so another may.
async fn connect(route: &RouteEntry, metrics: &Metrics) -> Result<(Backend, InFlight), PassError> {
    let mut failed = None;
    for _ in 0..=route.retries {
        let chosen = route.backends.choose(failed).map_err(|_| PassError::NoEndpoint)?;
        let secured = route.backends.at(chosen.backend).and_then(|backend| backend.secured.as_deref());
        let (address, under_way) = (chosen.endpoint.address, InFlight::start(chosen.endpoint));
        match timeout(route.connect_timeout, open(address, secured)).await {
            Ok(Ok(stream)) => {
                metrics.upstream_connections.inc();
                under_way.trust().kept();
                return Ok((stream, under_way));
            }
            Ok(Err(_)) | Err(_) => {
                metrics.upstream_failures.inc();
                if under_way.trust().broken(std::time::Instant::now()) {
                    metrics.ejections.inc();
                }
                failed = Some(address);
            }
        }
    }
    Err(PassError::Connect)
}

/// A connection to a backend.
enum Backend {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

async fn open(address: SocketAddr, secured: Option<&Secured>) -> std::io::Result<Backend> {
    if let Some(secured) = secured {
        return Ok(Backend::Secured(Box::new(secured.connect(address, Speaks::Anything).await?)));
    }
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Backend::Plain(stream))
}

/// Both directions, to their ends.
async fn both_ways(
    client: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    backend: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    heard: &Heard,
) -> std::io::Result<()> {
    tokio::try_join!(one_way(client.0, backend.1, heard), one_way(backend.0, client.1, heard)).map(drop)
}

/// One direction, to its end, which the other side is told: it may go on to say something itself.
pub(crate) async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    heard: &Heard,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
    loop {
        let count = from.read(&mut buffer).await?;
        heard.now();
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
        heard.now();
    }
}

/// When something was heard last.
pub(crate) struct Heard {
    began: Instant,
    after_ms: AtomicU64,
}

impl Heard {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), after_ms: AtomicU64::new(0) }
    }

    pub(crate) fn now(&self) {
        self.after_ms.store(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When something was heard last.
    pub(crate) fn last(&self) -> Instant {
        self.until(Duration::ZERO)
    }

    /// Until when it is not so long since anything was heard.
    fn until(&self, limit: Duration) -> Instant {
        self.began + Duration::from_millis(self.after_ms.load(Ordering::Relaxed)) + limit
    }

    /// Whether nothing has been heard for so long.
    pub(crate) fn nothing_since(&self, limit: Duration) -> bool {
        Instant::now() >= self.until(limit)
    }

    /// Waits until nothing was heard for so long.
    async fn nothing_for(&self, limit: Duration) {
        while !self.nothing_since(limit) {
            sleep_until(self.until(limit)).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_says_something_is_not_idle() {
        let heard = Heard::new();
        let limit = Duration::from_secs(10);
        let speaks = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                heard.now();
            }
        };
        let began = Instant::now();
        tokio::join!(speaks, heard.nothing_for(limit));
        assert_eq!(began.elapsed().as_secs(), 55);
    }

    #[tokio::test]
    async fn an_end_is_passed_on_and_the_other_direction_goes_on() {
        let (client, mut outside) = tokio::io::duplex(64);
        let (backend, mut inside) = tokio::io::duplex(64);
        let heard = Heard::new();
        let passed = both_ways(tokio::io::split(client), tokio::io::split(backend), &heard);
        let talk = async {
            outside.write_all(b"question").await.unwrap();
            outside.shutdown().await.unwrap();
            let mut asked = String::new();
            inside.read_to_string(&mut asked).await.unwrap();
            inside.write_all(b"answer").await.unwrap();
            inside.shutdown().await.unwrap();
            let mut said = String::new();
            outside.read_to_string(&mut said).await.unwrap();
            (asked, said)
        };
        let (passed, said) = tokio::join!(passed, talk);
        assert_eq!((passed.is_ok(), said), (true, ("question".into(), "answer".into())));
    }
}
