//! What was read of a connection before anybody asked for it.

use tokio::io::ReadBuf;

/// What a connection of HTTP/2 begins with (RFC 9113, section 3.4).
pub(crate) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read at most before it is known what a client speaks.
const BYTES_MAX: usize = 4096;

/// Bytes that are read again, once.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    bytes: Vec<u8>,
    taken: usize,
}

impl Ahead {
    /// Where more is to be read into, if it is not known yet whether this begins as HTTP/2 does.
    pub(crate) fn wants(&mut self) -> Option<&mut Vec<u8>> {
        let is_open = self.bytes.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&self.bytes);
        if is_open {
            self.bytes.reserve_exact(BYTES_MAX.saturating_sub(self.bytes.len()));
        }
        is_open.then_some(&mut self.bytes)
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
