//! A connection in the shape that Pingora reads and writes.
//!
//! Pingora's own stream, made outside its listeners, has no write buffer: a response's header and body would
//! leave as two small segments, and the second would wait for the client's delayed acknowledgement. Made by its
//! connector, it has buffers of its own both ways, which at hundreds of connections no longer fit the processor's
//! cache. Here reads are unbuffered, since Pingora reads into buffers, and connections share what holds writes until they are
//! flushed.

use std::cell::Cell;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID, UniqueIDType,
};
use pingora_proxy::Session;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::ahead::{Ahead, HTTP2_PREFACE};
use crate::head::Head;
use crate::hello::{self, Hearing, Hello};

/// Room for a response's header and a small body.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

thread_local! {
    /// A buffer that no connection of this thread needs at the moment.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A connection that holds writes back until they are flushed, and knows its other end.
#[derive(Debug)]
pub(crate) struct SocketStream {
    stream: TcpStream,
    /// What is held back, from `written` on. Without capacity where nothing is.
    held: Vec<u8>,
    written: usize,
    ahead: Ahead,
    /// Told when something comes; none where nobody waits for requests.
    head: Option<Arc<Head>>,
    id: UniqueIDType,
    established: SystemTime,
    socket: Arc<SocketDigest>,
}

impl SocketStream {
    /// Takes over a connection. `peer` is whom it is with, which need not be the socket's other end.
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr) -> std::io::Result<Self> {
        Self::at(stream, peer, None)
    }

    /// The same of one that came to a port which is opened for a Gateway: [`came_to`] tells later.
    pub(crate) fn at(stream: TcpStream, peer: SocketAddr, came_to: Option<CameTo>) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        let id = stream.as_raw_fd();
        let socket = SocketDigest::from_raw_fd(id);
        // Known already: without this, each request would ask the kernel again.
        let _ = socket.peer_addr.set(Some(peer.into()));
        let _ = socket.local_addr.set(came_to.map(|came_to| came_to.as_address().into()));
        let (held, ahead) = (Vec::new(), Ahead::default());
        let (established, socket) = (SystemTime::now(), Arc::new(socket));
        Ok(Self { stream, held, written: 0, ahead, head: None, id, established, socket })
    }

    /// Tells from now on when something comes, and what it is that the client speaks.
    pub(crate) fn tell(&mut self) -> (Arc<Head>, bool) {
        let head = Head::begun();
        self.head = Some(head.clone());
        (head, self.ahead.same() == HTTP2_PREFACE.len())
    }

    /// Waits until the client has said for whom it begins TLS, or something else. What it says is read again by whoever speaks with it.
    ///
    /// # Errors
    /// That the connection broke, or that it says too much.
    pub(crate) async fn hello(&mut self) -> std::io::Result<Hello> {
        let (mut hearing, mut heard) = (Hearing::default(), 0);
        loop {
            let bytes = self.ahead.more();
            if self.stream.read_buf(bytes).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            match hearing.hear(&bytes[heard..]) {
                Hello::More if bytes.len() >= hello::BYTES_MAX => return Err(std::io::ErrorKind::InvalidData.into()),
                Hello::More => heard = bytes.len(),
                hello => return Ok(hello),
            }
        }
    }

    /// Writes what is held back.
    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while self.written < self.held.len() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.written = 0;
        if self.held.capacity() > 0 {
            self.held.clear();
            SPARE.set(std::mem::take(&mut self.held));
        }
        Poll::Ready(Ok(()))
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.held.capacity() == 0 {
            self.held = SPARE.take();
            self.held.reserve_exact(WRITE_BUFFER_BYTES);
        }
        self.held.extend_from_slice(bytes);
    }
}

impl AsyncRead for SocketStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.ahead.give(buffer) {
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let (Poll::Ready(Ok(())), Some(head)) = (&read, &self.head) {
            head.comes();
        }
        read
    }
}

impl AsyncWrite for SocketStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.held.len() + bytes.len() > WRITE_BUFFER_BYTES {
            ready!(self.poll_release(context))?;
        }
        if bytes.len() >= WRITE_BUFFER_BYTES {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        self.hold(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll_release(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for SocketStream {
    async fn shutdown(&mut self) {
        // The other end may be gone already, which is an end as well.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for SocketStream {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

impl Ssl for SocketStream {}

#[async_trait]
impl Peek for SocketStream {
    /// Fills the buffer with what a client begins with, as far as that is the preface of HTTP/2, and with zeros from there: a request may be
    /// shorter than what is looked for.
    async fn try_peek(&mut self, buffer: &mut [u8]) -> std::io::Result<bool> {
        self.ahead.begin(&mut self.stream).await?;
        let count = self.ahead.same().min(buffer.len());
        buffer.fill(0);
        buffer[..count].copy_from_slice(&HTTP2_PREFACE[..count]);
        Ok(true)
    }
}

impl GetTimingDigest for SocketStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest { established_ts: self.established, ..TimingDigest::default() })]
    }
}

impl GetProxyDigest for SocketStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for SocketStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }
}

/// Where a client of a Gateway came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CameTo {
    /// The port that is opened.
    pub(crate) port: u16,
    /// For whom it was then, and what was asked of clients: who comes to one Gateway is not answered by another that is given its port later, nor
    /// by one that asks for more by then.
    pub(crate) owner: u64,
}

impl CameTo {
    /// Pingora keeps nothing else of a connection than addresses: this one is nobody's.
    fn as_address(self) -> SocketAddr {
        (Ipv6Addr::from(u128::from(self.owner)), self.port).into()
    }

    fn of_address(address: SocketAddr) -> Option<Self> {
        let SocketAddr::V6(address) = address else { return None };
        Some(Self { port: address.port(), owner: u64::try_from(u128::from(*address.ip())).ok()? })
    }
}

/// Where a session's client came to, of what is opened for Gateways; none where they came to one of the gateway's own ports.
pub(crate) fn came_to(session: &Session) -> Option<CameTo> {
    let digest = session.digest()?.socket_digest.as_ref()?;
    CameTo::of_address(*digest.local_addr.get()?.as_ref()?.as_inet()?)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (SocketStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (SocketStream::new(ours.unwrap(), address).unwrap(), theirs.unwrap().0)
    }

    #[test]
    fn where_a_client_came_to_is_known_again() {
        for owner in [0, 7, u64::MAX] {
            let came_to = CameTo { port: 20_001, owner };
            assert_eq!(CameTo::of_address(came_to.as_address()), Some(came_to));
        }
        assert_eq!(CameTo::of_address(([192, 0, 2, 1], 80).into()), None);
    }

    #[tokio::test]
    async fn small_writes_leave_together_when_they_are_flushed() {
        let (mut ours, mut theirs) = pair().await;
        ours.write_all(b"head").await.unwrap();
        ours.write_all(b"body").await.unwrap();
        assert_eq!(theirs.try_read(&mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        ours.flush().await.unwrap();
        assert_eq!(ours.held.capacity(), 0, "the buffer is there for others");
        let mut received = [0; 8];
        theirs.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"headbody");
    }

    #[tokio::test]
    async fn what_a_client_begins_with_is_seen_and_read_again() {
        let http2 = [HTTP2_PREFACE, b"rest"].concat();
        for (sent, is_http2) in [(&http2[..], true), (b"GET / HTTP/1.0\r\n\r\n", false), (b"PRI * HTTP/2.1\r\n\r\n", false)] {
            let (mut ours, mut theirs) = pair().await;
            // However it comes.
            let sending = async {
                for byte in sent.chunks(7) {
                    theirs.write_all(byte).await.unwrap();
                    tokio::task::yield_now().await;
                }
                AsyncWriteExt::shutdown(&mut theirs).await.unwrap();
            };
            let mut preface = [1; HTTP2_PREFACE.len()];
            let reading = async {
                assert!(ours.try_peek(&mut preface).await.unwrap());
                let mut read = Vec::new();
                ours.read_to_end(&mut read).await.unwrap();
                read
            };
            let ((), read) = tokio::join!(sending, reading);
            assert_eq!((read.as_slice(), preface == *HTTP2_PREFACE), (sent, is_http2));
        }
        let (mut ours, theirs) = pair().await;
        drop(theirs);
        assert!(ours.try_peek(&mut [0; 24]).await.is_err());
    }

    #[tokio::test]
    async fn whatever_the_sizes_the_bytes_arrive_in_order() {
        let (mut ours, mut theirs) = pair().await;
        let sizes = [1, 16 * 1024 - 1, 16 * 1024, 5, 200_000, 16 * 1024 + 1, 3, 0, 9000, 9000, 40];
        let sent: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|at| (at % 251) as u8).collect();
        let wanted = sent.clone();
        let reader = tokio::spawn(async move {
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).await.unwrap();
            received
        });
        let mut rest = sent.as_slice();
        for size in sizes {
            let (part, after) = rest.split_at(size);
            ours.write_all(part).await.unwrap();
            assert!(ours.held.len() <= WRITE_BUFFER_BYTES);
            rest = after;
        }
        AsyncWriteExt::shutdown(&mut ours).await.unwrap();
        assert!(reader.await.unwrap() == wanted);
    }
}
