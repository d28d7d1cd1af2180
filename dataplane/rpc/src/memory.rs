//! A network within this process, for tests: what is sent is there at once, so that clocks may be stopped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use async_trait::async_trait;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::transport::{Connection, Listener, Transport};

/// Bytes that one side may send before the other takes any.
const UNREAD_MAX: usize = 1024 * 1024;

/// A network whose every address leads to one listener.
pub struct MemoryTransport(mpsc::UnboundedSender<DuplexStream>);

struct MemoryListener(mpsc::UnboundedReceiver<DuplexStream>);

impl MemoryTransport {
    /// The network, and who listens.
    pub fn new() -> (Self, Box<dyn Listener>) {
        let (give, take) = mpsc::unbounded_channel();
        (Self(give), Box::new(MemoryListener(take)))
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn connect(&self, _address: &str) -> io::Result<Box<dyn Connection>> {
        let (ours, theirs) = tokio::io::duplex(UNREAD_MAX);
        self.0.send(theirs).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(Box::new(ours))
    }

    async fn bind(&self, _address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::AddrInUse.into())
    }
}

#[async_trait]
impl Listener for MemoryListener {
    async fn accept(&mut self) -> io::Result<(Box<dyn Connection>, SocketAddr)> {
        match self.0.recv().await {
            Some(connection) => Ok((Box::new(connection), self.address()?)),
            // Nobody can connect any more.
            None => std::future::pending().await,
        }
    }

    fn address(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, 1).into())
    }
}
