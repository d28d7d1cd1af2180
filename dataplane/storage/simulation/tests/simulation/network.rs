//! The simulated network as storage uses it, with what the kernel does about peers that are gone: connections through a cut, or to
//! a machine that crashed, end after some seconds. turmoil's stay open for ever.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use eddy_rpc::{Connection, Listener, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How soon a connection notices that the other side is gone.
const NOTICED_AFTER: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    /// How often what goes between two hosts has been cut: what went before is lost.
    static CUTS: RefCell<BTreeMap<(IpAddr, IpAddr), u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Notes that what goes between two hosts is cut, for a while or by a crash.
pub(crate) fn note_cut(left: IpAddr, right: IpAddr) {
    CUTS.with_borrow_mut(|cuts| *cuts.entry(pair(left, right)).or_default() += 1);
}

fn pair(left: IpAddr, right: IpAddr) -> (IpAddr, IpAddr) {
    (left.min(right), left.max(right))
}

fn cuts(between: (IpAddr, IpAddr)) -> u64 {
    CUTS.with_borrow(|cuts| cuts.get(&between).copied().unwrap_or_default())
}

/// Connections of the host that uses it.
#[derive(Clone, Copy)]
pub(crate) struct Network;

#[async_trait]
impl Transport for Network {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await.map_err(late)??;
        Ok(Box::new(Noticing::new(stream)?))
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(Listening(TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await?)))
    }
}

struct Listening(TcpListener);

#[async_trait]
impl Listener for Listening {
    async fn accept(&mut self) -> io::Result<(Box<dyn Connection>, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Box::new(Noticing::new(stream)?), peer))
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection that ends some time after a cut.
struct Noticing {
    stream: TcpStream,
    between: (IpAddr, IpAddr),
    cuts: u64,
    since: Option<Instant>,
    look: Pin<Box<Sleep>>,
}

impl Noticing {
    fn new(stream: TcpStream) -> io::Result<Self> {
        let between = pair(stream.local_addr()?.ip(), stream.peer_addr()?.ip());
        Ok(Self { stream, between, cuts: cuts(between), since: None, look: Box::pin(sleep(LOOK_EVERY)) })
    }

    /// Whether the other side has been gone for too long; it is looked at again where that is not so.
    fn is_gone(&mut self, context: &mut Context<'_>) -> bool {
        while self.look.as_mut().poll(context).is_ready() {
            self.look.as_mut().reset(Instant::now() + LOOK_EVERY);
        }
        if self.since.is_none() && cuts(self.between) != self.cuts {
            self.since = Some(Instant::now());
        }
        self.since.is_some_and(|since| since.elapsed() >= NOTICED_AFTER)
    }

    fn or_gone<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.is_gone(context) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side is gone")));
        }
        polled
    }
}

impl AsyncRead for Noticing {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.or_gone(context, polled)
    }
}

impl AsyncWrite for Noticing {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.or_gone(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
