//! What a chunk is, byte by byte: the same on the disk and on the wire.
//!
//! | | bytes | |
//! |---|---|---|
//! | head of the file | 64 | magic, checksum, number of the cluster, number of the chunk, zeroes |
//! | needle | | as many as fit, each from a multiple of 8 on, not necessarily without gaps |
//!
//! and a needle is
//!
//! | | bytes | |
//! |---|---|---|
//! | head | 24 | magic, checksum, number of the needle, length of its data, zeroes |
//! | block | 4 + 65,536 | checksum, data; the last one may be shorter |
//! | padding | 0 to 7 | zeroes |
//!
//! Checksums are CRC-32C (RFC 3720) and cover besides their bytes where these belong: a head's the chunk and the offset, a
//! block's the needle and the block's place in it. So what was written or read in a wrong place is damage, too. Numbers are little end first.

mod head;
mod needle;
mod scan;
mod stretch;

pub use self::head::{HEAD_BYTES, decode_head, encode_head};
pub use self::needle::{Damage, NeedleHead, encode_blocks, encode_needle, verify_blocks};
pub use self::scan::{Found, find_needles};
pub use self::stretch::{STRETCH_BYTES_MAX, Stretch};

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Longest chunk.
pub const CHUNK_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Data that one checksum covers.
pub const BLOCK_BYTES: u32 = 64 * 1024;
/// A checksum.
pub const CHECKSUM_BYTES: u32 = 4;
/// A block as it is stored.
pub const STORED_BLOCK_BYTES: u32 = CHECKSUM_BYTES + BLOCK_BYTES;
/// A needle's head.
pub const NEEDLE_HEAD_BYTES: u32 = 24;
/// Needles begin at multiples of this.
pub const ALIGNMENT: u32 = 8;
/// Most data of one needle: it fills a chunk.
pub const NEEDLE_BYTES_MAX: u32 = (CHUNK_BYTES_MAX - HEAD_BYTES - NEEDLE_HEAD_BYTES) / STORED_BLOCK_BYTES * BLOCK_BYTES;

/// Where some of an object's bytes are: a needle, the same on every replica of its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Extent {
    /// The chunk's number.
    pub chunk: u64,
    /// Where in the chunk the needle begins.
    pub offset: u32,
    /// The needle's number, drawn at random by whoever wrote it.
    pub needle: u64,
    /// Bytes of its data; at least one.
    pub bytes: u32,
}

/// A file of a chunk, on whatever disk: one copy of its bytes, or of some. A number is never given twice, so that what was meant of one
/// copy is never done to another that came in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId {
    /// The chunk's number.
    pub chunk: u64,
    /// The file's number, drawn at random by whoever has it made.
    pub file: u64,
}

impl FileId {
    /// One that was never given before.
    pub fn draw(chunk: u64) -> Self {
        Self { chunk, file: fastrand::u64(1..) }
    }
}

impl std::fmt::Display for FileId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:016x}-{:016x}", self.chunk, self.file)
    }
}

/// A part of a needle as it is stored: whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlocks {
    /// Where in the chunk they begin.
    pub offset: u64,
    /// How long they are, with their checksums.
    pub bytes: u32,
    /// The place of the first one in the needle.
    pub first: u32,
}

/// Bytes that a needle with so much data takes, with its padding.
pub const fn stored_bytes(data: u32) -> u32 {
    (NEEDLE_HEAD_BYTES + data + data.div_ceil(BLOCK_BYTES) * CHECKSUM_BYTES).next_multiple_of(ALIGNMENT)
}

impl Extent {
    /// The first byte after the needle and its padding.
    pub const fn end(&self) -> u64 {
        self.offset as u64 + stored_bytes(self.bytes) as u64
    }

    /// Whether a chunk can hold it there.
    pub const fn is_valid(&self) -> bool {
        self.bytes > 0
            && self.bytes <= NEEDLE_BYTES_MAX
            && self.offset >= HEAD_BYTES
            && self.offset.is_multiple_of(ALIGNMENT)
            && self.end() <= CHUNK_BYTES_MAX as u64
    }

    /// The blocks that hold these bytes of the data. The range must be within the data.
    pub fn blocks(&self, range: &Range<u32>) -> StoredBlocks {
        let end = range.end.min(self.bytes);
        let first = range.start.min(end) / BLOCK_BYTES;
        let count = end.div_ceil(BLOCK_BYTES).saturating_sub(first);
        let data = end.max((first + count) * BLOCK_BYTES).min(self.bytes) - first * BLOCK_BYTES;
        let offset = u64::from(self.offset) + u64::from(NEEDLE_HEAD_BYTES) + u64::from(first) * u64::from(STORED_BLOCK_BYTES);
        StoredBlocks { offset, bytes: if count == 0 { 0 } else { data + count * CHECKSUM_BYTES }, first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_needle_fits_and_one_byte_more_does_not() {
        let extent = |bytes| Extent { chunk: 1, offset: HEAD_BYTES, needle: 1, bytes };
        assert!(extent(NEEDLE_BYTES_MAX).is_valid() && !extent(NEEDLE_BYTES_MAX + 1).is_valid());
        const { assert!(NEEDLE_BYTES_MAX > CHUNK_BYTES_MAX / 1000 * 998, "little is wasted") };
        assert!(!Extent { offset: HEAD_BYTES + BLOCK_BYTES, ..extent(NEEDLE_BYTES_MAX) }.is_valid());
        assert!(!Extent { offset: HEAD_BYTES + 1, ..extent(1) }.is_valid());
        assert!(!extent(0).is_valid(), "nothing needs no place");
        assert!(!Extent { offset: 0, ..extent(1) }.is_valid());
        assert!(!Extent { offset: u32::MAX - 7, ..extent(1) }.is_valid());
    }

    #[test]
    fn a_range_is_held_by_the_blocks_around_it() {
        let extent = Extent { chunk: 1, offset: 64, needle: 1, bytes: 3 * BLOCK_BYTES + 10 };
        let at = |first: u32| 64 + 24 + u64::from(first) * u64::from(STORED_BLOCK_BYTES);
        let blocks = |offset, bytes, first| StoredBlocks { offset, bytes, first };
        assert_eq!(extent.blocks(&(0..1)), blocks(at(0), STORED_BLOCK_BYTES, 0));
        assert_eq!(extent.blocks(&(0..extent.bytes)), blocks(at(0), 3 * STORED_BLOCK_BYTES + 14, 0));
        assert_eq!(extent.blocks(&(BLOCK_BYTES - 1..BLOCK_BYTES + 1)), blocks(at(0), 2 * STORED_BLOCK_BYTES, 0));
        assert_eq!(extent.blocks(&(BLOCK_BYTES..2 * BLOCK_BYTES)), blocks(at(1), STORED_BLOCK_BYTES, 1));
        assert_eq!(extent.blocks(&(3 * BLOCK_BYTES + 9..extent.bytes)), blocks(at(3), 14, 3));
        assert_eq!(Extent { bytes: 0, ..extent }.blocks(&(0..0)), blocks(at(0), 0, 0));
    }
}
