//! A connection with TLS in the shape that Pingora reads and writes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use pingora_proxy::Session;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::server;

use crate::ahead::{Ahead, HTTP2_PREFACE};
use crate::head::Head;
use crate::stream::SocketStream;
use crate::tls::HTTP2;

/// To tell the other end that this is the end, which it may not take.
const END_WITHIN: Duration = Duration::from_secs(2);

/// A connection whose TLS ends here.
#[derive(Debug)]
pub(crate) struct TlsStream {
    stream: server::TlsStream<SocketStream>,
    ahead: Ahead,
    digest: Arc<SslDigest>,
    is_http2: bool,
}

impl TlsStream {
    /// Takes over a connection after its handshake.
    pub(crate) fn new(stream: server::TlsStream<SocketStream>) -> Self {
        let connection = stream.get_ref().1;
        let name = connection.server_name().map(str::to_ascii_lowercase);
        let is_http2 = connection.alpn_protocol() == Some(HTTP2);
        // Only Pingora's own streams can keep something else here. Clients show no certificates, of which the organization would be; the name
        // that they asked for is kept in its place.
        let digest = Arc::new(SslDigest::new("", "", name, None, Vec::new()));
        Self { stream, ahead: Ahead::default(), digest, is_http2 }
    }

    /// Tells from now on when something comes, and what it is that the client speaks.
    pub(crate) fn tell(&mut self) -> (Arc<Head>, bool) {
        (self.stream.get_mut().0.tell().0, self.is_http2)
    }

    /// Waits until the client says something, and of HTTP/2 all that it begins with: Pingora would wait for that without end. What it says is
    /// read again by whoever serves it.
    ///
    /// # Errors
    /// That it does not in time, or speaks no HTTP/2 where that was agreed on.
    pub(crate) async fn begins(&mut self) -> std::io::Result<()> {
        self.ahead.begin(&mut self.stream).await?;
        if self.is_http2 && self.ahead.same() < HTTP2_PREFACE.len() {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

/// Whether a session's client came by TLS.
pub(crate) fn is_secure(session: &Session) -> bool {
    session.digest().is_some_and(|digest| digest.ssl_digest.is_some())
}

/// The name that a session's client asked for when TLS began, if it did.
pub(crate) fn asked_name(session: &Session) -> Option<&str> {
    session.digest()?.ssl_digest.as_ref()?.organization.as_deref()
}

impl AsyncRead for TlsStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.ahead.give(buffer) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsStream {
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
impl Shutdown for TlsStream {
    async fn shutdown(&mut self) {
        // The other end may be gone already, which is an end as well, or take nothing any more.
        let _ = timeout(END_WITHIN, AsyncWriteExt::shutdown(self)).await;
    }
}

impl UniqueID for TlsStream {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().0.id()
    }
}

impl Ssl for TlsStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(self.digest.clone())
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(if self.is_http2 { ALPN::H2 } else { ALPN::H1 })
    }
}

/// What TLS carries is agreed on beforehand: there is nothing to look for.
impl Peek for TlsStream {}

impl GetTimingDigest for TlsStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_ref().0.get_timing_digest()
    }
}

impl GetProxyDigest for TlsStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for TlsStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_ref().0.get_socket_digest()
    }
}
