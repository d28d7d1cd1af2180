//! What was written goes out though nobody flushes, as over plain TCP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream of TLS may keep the end of what was written to it, where the kernel did not take all at once, until it is flushed or
/// written to again. Whoever waits for an answer does neither: so reading flushes.
pub(super) struct Pushed<S> {
    stream: S,
    /// Somebody waits to write, and sends what is kept when that is possible. Only one can be woken for that.
    writer_waits: bool,
}

impl<S> Pushed<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, writer_waits: false }
    }

    fn written<T>(&mut self, poll: Poll<T>) -> Poll<T> {
        self.writer_waits = poll.is_pending();
        poll
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Pushed<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.writer_waits {
            // It wakes the reader if it has to wait; where it fails, reading does, once all that came is read.
            let _ = Pin::new(&mut this.stream).poll_flush(context);
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Pushed<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write(context, buffer);
        this.written(poll)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write_vectored(context, buffers);
        this.written(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_flush(context);
        this.written(poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_shutdown(context);
        this.written(poll)
    }
}
