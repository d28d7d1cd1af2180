//! A needle's head and blocks.

use crc_fast::{CrcAlgorithm, Digest};

use super::{BLOCK_BYTES, CHECKSUM_BYTES, Extent, NEEDLE_HEAD_BYTES, STORED_BLOCK_BYTES, stored_bytes};

const MAGIC: [u8; 4] = *b"EN1\n";

/// Bytes are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum Damage {
    #[error("the head of the needle is damaged")]
    Head,
    #[error("block {0} is damaged")]
    Block(u32),
    #[error("it is cut off")]
    CutOff,
    #[error("the disk does not give it")]
    Lost,
}

/// A needle's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedleHead(pub [u8; NEEDLE_HEAD_BYTES as usize]);

impl NeedleHead {
    /// The head of the needle that an extent is.
    pub fn of(extent: &Extent) -> Self {
        let mut head = [0; NEEDLE_HEAD_BYTES as usize];
        head[..4].copy_from_slice(&MAGIC);
        head[8..16].copy_from_slice(&extent.needle.to_le_bytes());
        head[16..20].copy_from_slice(&extent.bytes.to_le_bytes());
        let place = [&extent.chunk.to_le_bytes()[..], &extent.offset.to_le_bytes()].concat();
        let crc = checksum(&place, &head[8..]);
        head[4..8].copy_from_slice(&crc.to_le_bytes());
        Self(head)
    }

    /// The needle whose head begins these bytes, which are at this place; none if it is no whole head.
    pub fn decode(bytes: &[u8], chunk: u64, offset: u32) -> Option<Extent> {
        let head: [u8; NEEDLE_HEAD_BYTES as usize] = bytes.get(..NEEDLE_HEAD_BYTES as usize)?.try_into().ok()?;
        if head[..4] != MAGIC {
            return None;
        }
        let needle = u64::from_le_bytes(head[8..16].try_into().ok()?);
        let length = u32::from_le_bytes(head[16..20].try_into().ok()?);
        let extent = Extent { chunk, offset, needle, bytes: length };
        (extent.is_valid() && Self::of(&extent).0 == head).then_some(extent)
    }
}

/// A whole needle, for data that is in memory.
pub fn encode_needle(extent: &Extent, data: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(stored_bytes(extent.bytes) as usize);
    stored.extend_from_slice(&NeedleHead::of(extent).0);
    encode_blocks(extent.needle, 0, data, &mut stored);
    stored.resize(stored_bytes(extent.bytes) as usize, 0);
    stored
}

/// Blocks of a needle, the first of them at this place in it.
pub fn encode_blocks(needle: u64, first: u32, data: &[u8], to: &mut Vec<u8>) {
    for (place, block) in (first..).zip(data.chunks(BLOCK_BYTES as usize)) {
        to.extend_from_slice(&block_checksum(needle, place, block).to_le_bytes());
        to.extend_from_slice(block);
    }
}

/// The data of stored blocks, the first of which is at this place in the needle.
///
/// # Errors
/// The first that is damaged: nothing of it may be used.
pub fn verify_blocks(needle: u64, first: u32, stored: &[u8]) -> Result<impl Iterator<Item = &[u8]>, Damage> {
    let blocks = || stored.chunks(STORED_BLOCK_BYTES as usize);
    for (place, block) in (first..).zip(blocks()) {
        let (crc, data) = block.split_first_chunk::<{ CHECKSUM_BYTES as usize }>().ok_or(Damage::CutOff)?;
        if block_checksum(needle, place, data) != u32::from_le_bytes(*crc) {
            return Err(Damage::Block(place));
        }
    }
    Ok(blocks().map(|block| &block[CHECKSUM_BYTES as usize..]))
}

fn block_checksum(needle: u64, place: u32, data: &[u8]) -> u32 {
    let mut prefix = [0; 12];
    prefix[..8].copy_from_slice(&needle.to_le_bytes());
    prefix[8..].copy_from_slice(&place.to_le_bytes());
    checksum(&prefix, data)
}

fn checksum(place: &[u8], bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(place);
    digest.update(bytes);
    digest.finalize() as u32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::format::HEAD_BYTES;

    fn extent(bytes: u32) -> Extent {
        Extent { chunk: 5, offset: HEAD_BYTES, needle: 77, bytes }
    }

    #[test]
    fn data_comes_back_in_whole_or_in_part() {
        for bytes in [1, 7, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 5] {
            let extent = extent(bytes);
            let data: Vec<u8> = (0..bytes).map(|at| (at / 251) as u8).collect();
            let stored = encode_needle(&extent, &data);
            assert_eq!(stored.len() as u32, stored_bytes(bytes));
            assert_eq!(NeedleHead::decode(&stored, 5, HEAD_BYTES), Some(extent));
            for range in [0..bytes, bytes / 2..bytes, bytes / 3..bytes / 2] {
                let blocks = extent.blocks(&range);
                let from = (blocks.offset - u64::from(HEAD_BYTES)) as usize;
                let found = verify_blocks(77, blocks.first, &stored[from..from + blocks.bytes as usize]).unwrap();
                let found = found.collect::<Vec<_>>().concat();
                let skip = (range.start - (blocks.first * BLOCK_BYTES).min(range.start)) as usize;
                assert_eq!(found[skip..skip + range.len()], data[range.start as usize..range.end as usize], "{range:?}");
            }
        }
    }

    #[test]
    fn whatever_is_changed_or_elsewhere_is_damage() {
        let extent = extent(100);
        let stored = encode_needle(&extent, &[9; 100]);
        let (head, blocks) = stored.split_at(NEEDLE_HEAD_BYTES as usize);
        for bit in 0..(NEEDLE_HEAD_BYTES as usize + 104) * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (head, blocks) = flipped.split_at(NEEDLE_HEAD_BYTES as usize);
            let found = NeedleHead::decode(head, 5, HEAD_BYTES).is_some() && verify_blocks(77, 0, &blocks[..104]).is_ok();
            assert!(!found, "bit {bit}");
        }
        assert_eq!(NeedleHead::decode(head, 6, HEAD_BYTES), None, "another chunk");
        assert_eq!(NeedleHead::decode(head, 5, HEAD_BYTES + 8), None, "another place");
        assert!(verify_blocks(78, 0, &blocks[..104]).is_err(), "another needle");
        assert_eq!(verify_blocks(77, 1, &blocks[..104]).err(), Some(Damage::Block(1)), "another block");
        assert_eq!(verify_blocks(77, 0, &blocks[..3]).err(), Some(Damage::CutOff));
    }
}
