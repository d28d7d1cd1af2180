//! What goes over a connection: a head of 13 bytes and a payload.
//!
//! | bytes | |
//! |---|---|
//! | 4 | length of the payload, little end first |
//! | 8 | number of the call, little end first |
//! | 1 | [`Kind`] |

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Longest payload.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The first bytes from whoever connects: the protocol and its version.
pub(crate) const PREAMBLE: [u8; 8] = *b"eddyrpc1";

const HEAD_BYTES: usize = 13;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A call.
    Request = 0,
    /// A part of an answer; more follow.
    Part = 1,
    /// An answer, or its end.
    Answer = 2,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which call it belongs to; unique on its connection while the call lasts.
    pub call: u64,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub payload: Bytes,
}

/// Why bytes are no frame. The connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum FrameError {
    #[error("the connection failed")]
    Connection(#[from] io::Error),
    #[error("a message of {0} bytes is longer than {FRAME_BYTES_MAX}")]
    TooLong(usize),
    #[error("there is no message of kind {0}")]
    UnknownKind(u8),
}

/// Frames as bytes and back. It holds no more memory than what has arrived.
#[derive(Debug, Default)]
pub struct FrameCodec;

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(mut head) = bytes.get(..HEAD_BYTES) else { return Ok(None) };
        let length = head.get_u32_le() as usize;
        let (call, kind) = (head.get_u64_le(), head.get_u8());
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let kind = match kind {
            0 => Kind::Request,
            1 => Kind::Part,
            2 => Kind::Answer,
            other => return Err(FrameError::UnknownKind(other)),
        };
        if bytes.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        bytes.advance(HEAD_BYTES);
        Ok(Some(Frame { call, kind, payload: bytes.split_to(length).freeze() }))
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, bytes: &mut BytesMut) -> Result<(), FrameError> {
        let length = frame.payload.len();
        let short = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX).ok_or(FrameError::TooLong(length))?;
        bytes.reserve(HEAD_BYTES + length);
        bytes.put_u32_le(short);
        bytes.put_u64_le(frame.call);
        bytes.put_u8(frame.kind as u8);
        bytes.extend_from_slice(&frame.payload);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let frames = [
            Frame { call: 1, kind: Kind::Request, payload: Bytes::from_static(b"one") },
            Frame { call: u64::MAX, kind: Kind::Part, payload: Bytes::new() },
            Frame { call: 2, kind: Kind::Answer, payload: Bytes::from(vec![7; 70_000]) },
        ];
        let mut bytes = BytesMut::new();
        for frame in &frames {
            FrameCodec.encode(frame.clone(), &mut bytes).unwrap();
        }
        for piece in [1, 13, 14, 4096] {
            let (mut buffer, mut decoded) = (BytesMut::new(), Vec::new());
            for arrived in bytes.chunks(piece) {
                buffer.extend_from_slice(arrived);
                while let Some(frame) = FrameCodec.decode(&mut buffer).unwrap() {
                    decoded.push(frame);
                }
            }
            assert_eq!(decoded, frames);
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn nonsense_is_refused_before_its_payload_arrives() {
        let head = |length: u32, kind| [&length.to_le_bytes()[..], &[0; 8], &[kind]].concat();
        let decode = |head: Vec<u8>| FrameCodec.decode(&mut BytesMut::from(&head[..]));
        assert!(matches!(decode(head(u32::MAX, 0)), Err(FrameError::TooLong(_))));
        assert!(matches!(decode(head(5, 3)), Err(FrameError::UnknownKind(3))));
        assert!(matches!(decode(head(5, 0)), Ok(None)));
        let long = Frame { call: 0, kind: Kind::Part, payload: vec![0; FRAME_BYTES_MAX + 1].into() };
        assert!(matches!(FrameCodec.encode(long, &mut BytesMut::new()), Err(FrameError::TooLong(_))));
    }
}
