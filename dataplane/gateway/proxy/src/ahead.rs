//! What was read of a connection before anybody asked for it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::timeout;

/// What a connection of HTTP/2 begins with (RFC 9113, section 3.4).
pub(crate) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A client begins to speak within this.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);
/// What is read at most before it is known what a client speaks.
const BYTES_MAX: usize = 4096;

/// Bytes that are read again, once.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    bytes: Vec<u8>,
    taken: usize,
}

impl Ahead {
    /// Reads until it is known whether a client begins as HTTP/2 does.
    ///
    /// # Errors
    /// That it does not say so much in time, or that the connection broke.
    pub(crate) async fn begin(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
        let begin = async {
            while self.bytes.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&self.bytes) {
                self.bytes.reserve_exact(BYTES_MAX.saturating_sub(self.bytes.len()));
                if stream.read_buf(&mut self.bytes).await? == 0 {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
                }
            }
            Ok(())
        };
        timeout(BEGINS_WITHIN, begin).await.map_err(|_| std::io::ErrorKind::TimedOut)?
    }

    /// Where more is to be read into, whatever it is.
    pub(crate) fn more(&mut self) -> &mut Vec<u8> {
        self.bytes.reserve(BYTES_MAX);
        &mut self.bytes
    }

    /// How many bytes are those that HTTP/2 begins with.
    pub(crate) fn same(&self) -> usize {
        self.bytes.iter().zip(HTTP2_PREFACE).take_while(|(read, expected)| read == expected).count()
    }

    /// Gives what there is; false if there is nothing any more.
    pub(crate) fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if self.bytes.is_empty() {
            return false;
        }
        let rest = &self.bytes[self.taken..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.bytes.len() {
            *self = Self::default();
        }
        true
    }
}
