//! Bodies in chunks ("Signature calculations for the authorization header: transferring payload in multiple chunks").
//!
//! `s3s` holds each chunk in memory whole, and a chunk may be as long as whoever sends it likes: some clients send a whole object as one.
//! Those without signatures of their own are cut into short ones on their way; those with one must be short, as all clients make them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::{Body, Frame};

use crate::arriving::Arriving;

/// Longest chunk that has a signature: clients make them of 64 KiB to 1 MiB.
const SIGNED_BYTES_MAX: u64 = 1024 * 1024;
/// Longest line before a chunk.
const LINE_BYTES_MAX: usize = 1024;

/// Why chunks cannot be taken. Its words are looked for where `s3s` passes them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FramingError {
    #[error("ChunkTooLong: a chunk that is signed has at most {SIGNED_BYTES_MAX} bytes")]
    TooLong,
    #[error("a chunk does not begin with its length, or does not end after it")]
    Malformed,
}

/// Whether a body comes in chunks.
pub(super) fn is_chunked(headers: &HeaderMap) -> bool {
    headers.get("x-amz-content-sha256").is_some_and(|hash| hash.as_bytes().starts_with(b"STREAMING-"))
}

/// A body whose chunks are short.
pub(super) struct Framed {
    body: Arriving,
    chunks: Chunks,
}

impl Framed {
    pub(super) fn new(body: Arriving) -> Self {
        Self { body, chunks: Chunks::default() }
    }
}

impl Body for Framed {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        let this = &mut *self;
        loop {
            if let Some(next) = this.chunks.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(next))));
            }
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if let Err(error) = this.chunks.take(data) {
                        return Poll::Ready(Some(Err(error.into())));
                    }
                }
                other => return other,
            }
        }
    }
}

/// What is read next.
#[derive(Debug, Default)]
enum Next {
    /// The line that says how long a chunk is.
    #[default]
    Line,
    /// So many bytes of a chunk, and what follows them; which come as they are, or as chunks of their own.
    Data { left: u64, as_is: bool },
    /// What ends a chunk that is cut.
    End { left: usize },
    /// What comes after the last chunk.
    Trailers,
}

#[derive(Debug, Default)]
struct Chunks {
    next: Next,
    line: BytesMut,
    out: VecDeque<Bytes>,
}

impl Chunks {
    fn take(&mut self, mut data: Bytes) -> Result<(), FramingError> {
        while !data.is_empty() {
            match &mut self.next {
                Next::Line => self.take_line(&mut data)?,
                Next::Data { left, as_is } => {
                    let some = data.split_to(usize::try_from(*left).unwrap_or(usize::MAX).min(data.len()));
                    *left -= some.len() as u64;
                    let (is_whole, as_is) = (*left == 0, *as_is);
                    if as_is {
                        self.out.push_back(some);
                    } else {
                        self.out.extend([Bytes::from(format!("{:x}\r\n", some.len())), some, Bytes::from_static(b"\r\n")]);
                    }
                    if is_whole {
                        self.next = if as_is { Next::Line } else { Next::End { left: 2 } };
                    }
                }
                Next::End { left } => {
                    if data.get_u8() != b"\n\r"[*left - 1] {
                        return Err(FramingError::Malformed);
                    }
                    *left -= 1;
                    if *left == 0 {
                        self.next = Next::Line;
                    }
                }
                Next::Trailers => self.out.push_back(std::mem::take(&mut data)),
            }
        }
        Ok(())
    }

    fn take_line(&mut self, data: &mut Bytes) -> Result<(), FramingError> {
        let end = data.iter().position(|byte| *byte == b'\n').map_or(data.len(), |at| at + 1);
        self.line.extend_from_slice(&data.split_to(end));
        if self.line.len() > LINE_BYTES_MAX {
            return Err(FramingError::Malformed);
        }
        if !self.line.ends_with(b"\n") {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line).freeze();
        let text = std::str::from_utf8(&line).ok().and_then(|line| line.strip_suffix("\r\n")).ok_or(FramingError::Malformed)?;
        let (length, signature) = text.split_once(';').map_or((text, None), |(length, more)| (length, Some(more)));
        let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bytes = u64::from_str_radix(length, 16).ok().filter(|_| is_number).ok_or(FramingError::Malformed)?;
        self.next = match (bytes, signature) {
            (0, _) => {
                self.out.push_back(line);
                Next::Trailers
            }
            // Of its digits, `s3s` reads eight.
            (_, Some(_)) if bytes > SIGNED_BYTES_MAX || length.len() > 8 => return Err(FramingError::TooLong),
            (_, Some(_)) => {
                self.out.push_back(line);
                // With what ends it.
                Next::Data { left: bytes + 2, as_is: true }
            }
            (_, None) => Next::Data { left: bytes, as_is: false },
        };
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What comes out of what came in pieces of this length.
    fn framed(body: &[u8], piece: usize) -> Result<Vec<u8>, FramingError> {
        let mut chunks = Chunks::default();
        for piece in body.chunks(piece) {
            chunks.take(Bytes::copy_from_slice(piece))?;
        }
        Ok(chunks.out.iter().flat_map(|bytes| bytes.to_vec()).collect())
    }

    #[test]
    fn a_long_chunk_is_cut_as_it_comes() {
        let body = b"c\r\nhello world!\r\n0\r\nx-amz-checksum-crc32:sOO8/Q==\r\n\r\n";
        let cut = b"5\r\nhello\r\n5\r\n worl\r\n2\r\nd!\r\n0\r\nx-amz-checksum-crc32:sOO8/Q==\r\n\r\n";
        let mut chunks = Chunks::default();
        for piece in [&body[..8], &body[8..13], &body[13..]] {
            chunks.take(Bytes::copy_from_slice(piece)).unwrap();
        }
        assert_eq!(chunks.out.iter().flat_map(|bytes| bytes.to_vec()).collect::<Vec<u8>>(), cut);
        for piece in 1..body.len() {
            let out = framed(body, piece).unwrap();
            assert!(out.ends_with(b"0\r\nx-amz-checksum-crc32:sOO8/Q==\r\n\r\n"), "{piece}");
        }
    }

    #[test]
    fn a_chunk_with_a_signature_comes_as_it_is_and_must_be_short() {
        let signature = "0".repeat(64);
        let body = format!("5;chunk-signature={signature}\r\nhello\r\n0;chunk-signature={signature}\r\n\r\n");
        for piece in 1..body.len() {
            assert_eq!(framed(body.as_bytes(), piece).unwrap(), body.as_bytes(), "{piece}");
        }
        let long = |bytes: u64| framed(format!("{bytes:x};chunk-signature={signature}\r\n").as_bytes(), 7);
        assert!(long(SIGNED_BYTES_MAX).is_ok());
        assert_eq!(long(SIGNED_BYTES_MAX + 1), Err(FramingError::TooLong));
        assert_eq!(long(u64::MAX), Err(FramingError::TooLong));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bad in
            ["\r\n", "x\r\n", "+5\r\nhello\r\n", "5\nhello\r\n", "5\r\nhello!!", "11111111111111111\r\n", &"1".repeat(2000)]
        {
            assert_eq!(framed(bad.as_bytes(), 3), Err(FramingError::Malformed), "{bad:?}");
        }
    }
}
