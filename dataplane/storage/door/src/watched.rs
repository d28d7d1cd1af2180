//! Connections whose other side may take nothing of what it asked for, and memory with it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::patience::Patience;

/// Where memory is short, only this part of the silence that is borne otherwise is.
const SHORT_OF: u32 = 12;
/// Connections are looked at so often, or more often where little silence is borne.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A connection, and what was taken of it.
pub(crate) struct Watched {
    stream: TcpStream,
    taken: Arc<Taken>,
}

/// What the other side of a connection takes.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    bytes: AtomicU64,
    /// There is more, and nothing of it is being taken.
    waits: AtomicBool,
}

impl Watched {
    pub(crate) fn new(stream: TcpStream) -> (Self, Arc<Taken>) {
        let taken = Arc::new(Taken::default());
        (Self { stream, taken: taken.clone() }, taken)
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.taken.waits.store(written.is_pending(), Ordering::Relaxed);
        let written = ready!(written)?;
        self.taken.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }
}

impl Taken {
    /// Returns when the other side has taken nothing, or hardly anything, for too long: sooner where memory is short.
    pub(crate) async fn too_little(&self, silence_max: Duration, is_memory_short: impl Fn() -> bool) {
        let mut patience = Patience::new(silence_max);
        let mut looks = tokio::time::interval(LOOK_EVERY.min(silence_max / (2 * SHORT_OF)));
        let (mut bytes, mut looked) = (0, Instant::now());
        let mut moved = looked;
        loop {
            let now = looks.tick().await;
            let before = std::mem::replace(&mut bytes, self.bytes.load(Ordering::Relaxed));
            patience.set_moved(bytes);
            if self.waits.load(Ordering::Relaxed) {
                patience.waited(now - looked);
            }
            if before != bytes || !self.waits.load(Ordering::Relaxed) {
                moved = now;
            }
            looked = now;
            let borne = if is_memory_short() { silence_max / SHORT_OF } else { silence_max };
            if now - moved >= borne || patience.left().is_zero() {
                return;
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// How long somebody is waited for who takes so many bytes every ten seconds.
    async fn waited(bytes: u64, is_short: bool) -> Option<u64> {
        let taken = Arc::new(Taken { waits: AtomicBool::new(true), ..Taken::default() });
        let (takes, start) = (taken.clone(), Instant::now());
        tokio::spawn(async move {
            loop {
                takes.bytes.fetch_add(bytes, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        });
        let ended = tokio::time::timeout(60 * MINUTE, taken.too_little(MINUTE, || is_short)).await;
        ended.is_ok().then(|| start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_hardly_anything_is_left_and_sooner_where_memory_is_short() {
        assert!((59..=62).contains(&waited(0, false).await.unwrap()));
        // 100 bytes a second earn a tenth of the time that they take.
        assert!((60..=70).contains(&waited(1_000, false).await.unwrap()));
        assert_eq!(waited(20_000, false).await, None);
        assert!((4..=7).contains(&waited(0, true).await.unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_is_not_said_to_take_too_little() {
        let taken = Taken::default();
        assert!(tokio::time::timeout(60 * MINUTE, taken.too_little(MINUTE, || true)).await.is_err());
    }
}
