//! One record of a segment.
//!
//! Magic, CRC-32C of all that follows, length of the payload (4 bytes each, little end first), index, highest index that
//! was durable when this was written (8 bytes each), payload.

use crc_fast::crc32_iscsi;

const MAGIC: [u8; 4] = *b"EJ1\n";
pub(super) const HEAD_BYTES: usize = 28;
/// More than any record has.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A record where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) index: u64,
    /// Every record up to this one was durable when this one was written.
    pub(super) durable: u64,
    pub(super) payload: &'a [u8],
}

impl<'a> Record<'a> {
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        let start = to.len();
        to.extend_from_slice(&MAGIC);
        to.extend_from_slice(&[0; 4]);
        to.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        to.extend_from_slice(&self.index.to_le_bytes());
        to.extend_from_slice(&self.durable.to_le_bytes());
        to.extend_from_slice(self.payload);
        let crc = crc32_iscsi(&to[start + 8..]);
        to[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }

    /// The record that begins these bytes; none if they are anything else, or it is not whole.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (crc, checked) = rest.split_first_chunk::<4>()?;
        let (length, rest) = checked.split_first_chunk::<4>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let (durable, rest) = rest.split_first_chunk::<8>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if *magic != MAGIC || length > PAYLOAD_BYTES_MAX {
            return None;
        }
        let payload = rest.get(..length)?;
        let whole = &checked[..HEAD_BYTES - 8 + length];
        let valid = crc32_iscsi(whole) == u32::from_le_bytes(*crc);
        valid.then(|| Self { index: u64::from_le_bytes(*index), durable: u64::from_le_bytes(*durable), payload })
    }

    pub(super) fn bytes(&self) -> usize {
        HEAD_BYTES + self.payload.len()
    }
}

/// Every whole record anywhere in these bytes.
pub(super) fn find_all(bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC);
    starts.filter_map(|(start, _)| Record::decode(&bytes[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_nothing_less_or_else_does() {
        let mut bytes = Vec::new();
        let record = Record { index: 7, durable: 5, payload: b"payload" };
        record.encode(&mut bytes);
        assert_eq!(bytes.len(), record.bytes());
        assert_eq!(Record::decode(&bytes), Some(record));
        for end in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..end]), None, "cut off at {end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&flipped), None, "bit {bit}");
        }
        assert_eq!(Record::decode(&[0; 100]), None);
    }

    #[test]
    fn records_are_found_behind_anything() {
        let mut bytes = b"EJ1\nnonsense".to_vec();
        Record { index: 1, durable: 0, payload: b"a" }.encode(&mut bytes);
        bytes.push(0);
        Record { index: 2, durable: 1, payload: b"" }.encode(&mut bytes);
        assert_eq!(find_all(&bytes).map(|record| record.index).collect::<Vec<_>>(), [1, 2]);
    }
}
