//! Our own accept loop around Pingora's HTTP proxy: one a thread, so that listeners can come and go at run time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use eddy_router::AddressFilter;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::{IO, Peek};
use pingora_proxy::HttpProxy;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::metrics::Metrics;
use crate::proxy::Gateway;
use crate::proxy_protocol::{self, ProxyProtocolError};
use crate::stream::SocketStream;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;
/// The wait after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens a listener that others of this process share the address with: the kernel spreads connections over them.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How a listener is told to end.
pub(crate) struct Drain {
    /// True from the request to end: responses ask clients to close.
    pub(crate) announced: watch::Receiver<bool>,
    /// True when no more connections are taken, and idle ones are closed.
    pub(crate) closed: watch::Receiver<bool>,
}

/// One thread's accept loop.
pub(crate) struct Acceptor {
    pub(crate) listener: TcpListener,
    pub(crate) proxy: Arc<HttpProxy<Gateway>>,
    pub(crate) metrics: Metrics,
    pub(crate) connections_max: usize,
    /// Who says first whom a connection is from; none if nobody does.
    pub(crate) balancers: Option<Arc<AddressFilter>>,
    pub(crate) drain: Drain,
}

impl Acceptor {
    /// Accepts until it is closed, then waits until every connection has ended.
    pub(crate) async fn run(self) {
        let Self { listener, proxy, metrics, connections_max, balancers, mut drain } = self;
        let permits = Arc::new(Semaphore::new(connections_max));
        loop {
            let permit = tokio::select! {
                permit = permits.clone().acquire_owned() => permit,
                _ = drain.closed.wait_for(|closed| *closed) => break,
            };
            let Ok(permit) = permit else { break };
            let accepted = tokio::select! {
                // What the kernel has taken already is served, even when it is time to close.
                biased;
                accepted = listener.accept() => accepted,
                _ = drain.closed.wait_for(|closed| *closed) => break,
            };
            match accepted {
                Ok((stream, client)) => {
                    let (proxy, announced, mut closed) = (proxy.clone(), drain.announced.clone(), drain.closed.clone());
                    let counted = Counted::start(metrics.clone());
                    let is_balancer = balancers.as_ref().is_some_and(|balancers| balancers.lets_in(client.ip()));
                    tokio::spawn(async move {
                        // Who has said nothing until the end has nothing to lose.
                        let begun = tokio::select! {
                            begun = begin(stream, client, is_balancer) => begun,
                            _ = closed.wait_for(|closed| *closed) => Ok(None),
                        };
                        match begun {
                            Ok(Some(stream)) => serve(stream, &proxy, &announced).await,
                            Ok(None) => {}
                            Err(error) => tracing::debug!(%error, %client, "a connection ended before it began"),
                        }
                        drop((permit, counted));
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        proxy.http_cleanup().await;
        // All permits are back when the last connection has ended.
        let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
        let _ = permits.acquire_many(all).await;
    }
}

/// Waits until a connection says something; whom it is from, a balancer says first. None where it says nothing more.
async fn begin(mut stream: TcpStream, client: SocketAddr, is_balancer: bool) -> Result<Option<SocketStream>, ProxyProtocolError> {
    let said = if is_balancer { proxy_protocol::read(&mut stream).await? } else { None };
    let mut stream = SocketStream::new(stream, said.unwrap_or(client))?;
    // What it says is read again by whoever serves it.
    let begins = stream.try_peek(&mut [0; 1]).await;
    Ok(begins.is_ok().then_some(stream))
}

async fn serve(stream: SocketStream, proxy: &Arc<HttpProxy<Gateway>>, announced: &watch::Receiver<bool>) {
    let mut next: Option<Box<dyn IO>> = Some(Box::new(stream));
    while let Some(stream) = next {
        next = proxy.process_new(stream, announced).await;
    }
}

/// Counts a connection as open for as long as it lives.
struct Counted(Metrics);

impl Counted {
    fn start(metrics: Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
