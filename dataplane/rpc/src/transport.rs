//! The network, behind a trait, so that it can be simulated.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::names::Names;

/// A connection.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects and listens.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// The network's, or that it took too long.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>>;

    /// Says that `host:port` may be connected to some day, perhaps when much else does not work.
    fn expect(&self, _address: &str) {}

    /// Listens.
    ///
    /// # Errors
    /// Where the address is taken or not of this machine.
    async fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>>;
}

/// Takes connections.
#[async_trait]
pub trait Listener: Send {
    /// The next connection, and whose.
    ///
    /// # Errors
    /// The kernel's; the listener may go on after a pause.
    async fn accept(&mut self) -> io::Result<(Box<dyn Connection>, SocketAddr)>;

    /// Where it listens, with the port that was chosen where 0 was asked for.
    ///
    /// # Errors
    /// The kernel's.
    fn address(&self) -> io::Result<SocketAddr>;
}

/// TCP, that notices within seconds that the other machine is gone, and that finds machines by the names it once found them by
/// while names cannot be looked up. Clones share what they know.
#[derive(Clone, Default)]
pub struct TcpTransport {
    names: Names,
}

/// Connecting takes no longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What was sent is acknowledged within this time, or the connection is given up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);
/// A connection without traffic is tried this often.
const KEEPALIVE: Duration = Duration::from_secs(5);

#[async_trait]
impl Transport for TcpTransport {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
        let connect = async { TcpStream::connect(self.names.resolve(address).await?.as_slice()).await };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect).await.map_err(late)??;
        configure(&stream)?;
        Ok(Box::new(stream))
    }

    fn expect(&self, address: &str) {
        self.names.expect(address);
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(TcpListener::bind(address).await?))
    }
}

#[async_trait]
impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<(Box<dyn Connection>, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        configure(&stream)?;
        Ok((Box::new(stream), peer))
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(1))
}
