//! A client's connection in the shape that Pingora reads and writes.
//!
//! Pingora's own stream, made outside its listeners, has no write buffer: a response's header and body would
//! leave as two small segments, and the second would wait for the client's delayed acknowledgement.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;

/// Room for a response's header and a small body.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// A buffered connection that knows whose it is.
#[derive(Debug)]
pub(crate) struct ClientStream {
    stream: BufWriter<TcpStream>,
    id: UniqueIDType,
    accepted: SystemTime,
    socket: Arc<SocketDigest>,
}

impl ClientStream {
    /// Takes over a connection. `client` is who it is from, which need not be the socket's other end.
    pub(crate) fn new(stream: TcpStream, client: SocketAddr) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        let id = stream.as_raw_fd();
        let socket = SocketDigest::from_raw_fd(id);
        // Known already: without this, each request would ask the kernel again.
        let _ = socket.peer_addr.set(Some(client.into()));
        Ok(Self {
            stream: BufWriter::with_capacity(WRITE_BUFFER_BYTES, stream),
            id,
            accepted: SystemTime::now(),
            socket: Arc::new(socket),
        })
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // The client may be gone already, which is an end as well.
        let _ = self.stream.shutdown().await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

impl Ssl for ClientStream {}

#[async_trait]
impl Peek for ClientStream {}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest { established_ts: self.accepted, ..TimingDigest::default() })]
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }
}
