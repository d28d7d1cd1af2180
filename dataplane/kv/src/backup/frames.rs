//! The form of a backup: a sequence of frames.
//!
//! A frame is the length and the CRC-32C (Castagnoli, RFC 3720) of its payload, four bytes each, little end first,
//! and the payload. The first one holds [`MAGIC`], each further one rows, an empty one ends them, and the last one holds the number of
//! rows in eight bytes: a file that was cut off anywhere is known as such. A row is the length of its key (two bytes)
//! and value (four), key and value. Versions are not kept: they have no meaning in another store.

use bytes::{Buf, BufMut, Bytes};
use crc_fast::crc32_iscsi;

use crate::model::{KEY_BYTES_MAX, Row, SCAN_BYTES_MAX, VALUE_BYTES_MAX, Value};

/// By what a backup is known.
pub(super) const MAGIC: &[u8] = b"eddy kv backup 1\n";
pub(super) const FRAME_HEAD_BYTES: usize = 8;
const ROW_HEAD_BYTES: usize = 6;
/// A page of the smallest rows, and one more of the largest.
pub(super) const FRAME_BYTES_MAX: usize = (ROW_HEAD_BYTES + 1) * SCAN_BYTES_MAX + KEY_BYTES_MAX + VALUE_BYTES_MAX;

/// What is wrong with a backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It begins with something else.
    #[error("it is no backup of a store, or one of another version")]
    NotABackup,
    /// It ends before it should.
    #[error("it is cut off")]
    CutOff,
    /// Bytes changed.
    #[error("a frame's checksum is wrong")]
    Checksum,
    /// Bytes changed.
    #[error("a frame of {0} bytes is longer than any can be")]
    FrameTooLong(usize),
    /// A frame holds no rows though its checksum is right.
    #[error("a frame holds something else than rows")]
    NotRows,
    /// Whole frames are missing.
    #[error("it does not hold as many rows as it says")]
    RowsMissing,
    /// There is something behind the last frame.
    #[error("something follows its end")]
    Trailing,
}

pub(super) fn encode_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEAD_BYTES + payload.len());
    frame.put_u32_le(payload.len() as u32);
    frame.put_u32_le(crc32_iscsi(payload));
    frame.put_slice(payload);
    frame
}

/// Length and checksum of a frame's payload.
pub(super) fn frame_head(mut head: [u8; FRAME_HEAD_BYTES]) -> (usize, u32) {
    let mut head = head.as_mut_slice() as &[u8];
    (head.get_u32_le() as usize, head.get_u32_le())
}

pub(super) fn check_frame(payload: &[u8], crc: u32) -> Result<(), Damage> {
    if crc32_iscsi(payload) == crc { Ok(()) } else { Err(Damage::Checksum) }
}

/// The payloads of as many frames as keep each within [`FRAME_BYTES_MAX`], however many rows come at once.
pub(super) fn encode_rows(rows: &[Row]) -> Vec<Vec<u8>> {
    let (mut payloads, mut payload) = (Vec::new(), Vec::new());
    for Row { key, value } in rows {
        if payload.len() >= SCAN_BYTES_MAX {
            payloads.push(std::mem::take(&mut payload));
        }
        payload.put_u16_le(key.len() as u16);
        payload.put_u32_le(value.bytes.len() as u32);
        payload.put_slice(key);
        payload.put_slice(&value.bytes);
    }
    if !payload.is_empty() {
        payloads.push(payload);
    }
    payloads
}

/// The rows of a frame's payload, without their versions.
///
/// # Errors
/// [`Damage::NotRows`].
pub fn decode_rows(payload: &[u8]) -> Result<Vec<Row>, Damage> {
    let mut rest = Bytes::copy_from_slice(payload);
    let mut rows = Vec::new();
    while rest.has_remaining() {
        if rest.remaining() < ROW_HEAD_BYTES {
            return Err(Damage::NotRows);
        }
        let (key_bytes, value_bytes) = (usize::from(rest.get_u16_le()), rest.get_u32_le() as usize);
        let valid = (1..=KEY_BYTES_MAX).contains(&key_bytes) && value_bytes <= VALUE_BYTES_MAX;
        if !valid || rest.remaining() < key_bytes + value_bytes {
            return Err(Damage::NotRows);
        }
        let (key, bytes) = (rest.split_to(key_bytes), rest.split_to(value_bytes));
        rows.push(Row { key, value: Value { bytes, version: 0 } });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &'static [u8], bytes: &'static [u8]) -> Row {
        Row { key: key.into(), value: Value { bytes: bytes.into(), version: 0 } }
    }

    #[test]
    fn rows_come_back() {
        let rows = [row(b"a", b""), row(b"\x00\xff", b"value"), row(b"z", &[7; 1000])];
        assert_eq!(encode_rows(&rows).iter().map(|payload| decode_rows(payload)).collect::<Vec<_>>(), [Ok(rows.to_vec())]);
    }

    #[test]
    fn many_long_rows_that_come_at_once_are_in_frames_that_can_be_read() {
        let rows = vec![row(b"a", &[7; VALUE_BYTES_MAX]); 512];
        let payloads = encode_rows(&rows);
        assert!(payloads.iter().all(|payload| payload.len() <= FRAME_BYTES_MAX));
        let back: Vec<Row> = payloads.iter().flat_map(|payload| decode_rows(payload).unwrap()).collect();
        assert!(back == rows);
    }

    #[test]
    fn anything_else_is_refused() {
        let whole = encode_rows(&[row(b"key", b"value")]).remove(0);
        for end in 1..whole.len() {
            assert_eq!(decode_rows(&whole[..end]), Err(Damage::NotRows), "cut off at {end}");
        }
        assert_eq!(decode_rows(&[0, 0, 0, 0, 0, 0]), Err(Damage::NotRows), "an empty key");
        assert_eq!(decode_rows(&[1, 0, 255, 255, 255, 255, 1]), Err(Damage::NotRows), "a value beyond any limit");
    }

    #[test]
    fn a_frame_tells_of_a_flipped_bit() {
        let frame = encode_frame(b"payload");
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let head = <[u8; FRAME_HEAD_BYTES]>::try_from(&flipped[..FRAME_HEAD_BYTES]).unwrap();
            let (bytes, crc) = frame_head(head);
            assert!(bytes != 7 || check_frame(&flipped[FRAME_HEAD_BYTES..], crc).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_checksum_is_the_one_of_the_rfc() {
        // RFC 3720, appendix B.4: 32 bytes of zeroes.
        assert_eq!(crc32_iscsi(&[0; 32]), 0x8a91_36aa);
    }
}
