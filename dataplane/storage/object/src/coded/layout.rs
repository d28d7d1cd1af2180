//! Which bytes of a chunk's file are in which shard (pure).

use std::ops::Range;

use eddy_chunks::Extent;
use eddy_chunks::format::{BLOCK_BYTES, HEAD_BYTES};

use crate::schema::Shards;

/// Parts of a chunk.
pub const DATA_SHARDS: u8 = 4;
/// Shards that can be lost besides.
pub const PARITY_SHARDS: u8 = 2;
/// A shard's length is a multiple of this: the code is quickest so.
const ALIGNMENT: u32 = 64;

/// Some bytes of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which shard.
    pub index: usize,
    /// Which of its bytes.
    pub range: Range<u32>,
}

impl Shards {
    /// Those of a chunk whose needed needles end before `image_bytes`, of which there is one at least.
    pub fn new(of: u64, image_bytes: u32) -> Self {
        Self { of, data: DATA_SHARDS, parity: PARITY_SHARDS, image_bytes, needle: fastrand::u64(..) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        usize::from(self.data) + usize::from(self.parity)
    }

    /// The length of each.
    pub fn shard_bytes(&self) -> u32 {
        self.image_bytes.div_ceil(u32::from(self.data.max(1))).max(1).next_multiple_of(ALIGNMENT)
    }

    /// The needle that a shard is, in the chunk of this number.
    pub fn extent(&self, chunk: u64, index: usize) -> Extent {
        let needle = self.needle.wrapping_add(index as u64);
        Extent { chunk, offset: HEAD_BYTES, needle, bytes: self.shard_bytes() }
    }

    /// Where bytes of the image are, in their order.
    pub fn segments(&self, range: Range<u32>) -> Vec<Segment> {
        let (length, mut segments, mut at) = (self.shard_bytes(), Vec::new(), range.start);
        while at < range.end {
            let (index, from) = (at / length, at % length);
            let to = length.min(from + (range.end - at));
            segments.push(Segment { index: index as usize, range: from..to });
            at += to - from;
        }
        segments
    }

    /// The whole units of the code that hold these bytes of a shard: each is a block, the last one of a shard may be shorter.
    pub fn units(&self, range: &Range<u32>) -> Range<u32> {
        range.start / BLOCK_BYTES * BLOCK_BYTES..range.end.next_multiple_of(BLOCK_BYTES).min(self.shard_bytes())
    }
}

#[cfg(test)]
mod tests {
    use eddy_chunks::format::CHUNK_BYTES_MAX;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn segments_are_the_range_and_lie_in_shards(
            image in 1..=CHUNK_BYTES_MAX, from in 0..CHUNK_BYTES_MAX, length in 0..200_000u32,
        ) {
            let shards = Shards::new(1, image);
            prop_assert!(shards.extent(2, 5).is_valid());
            prop_assert!(u64::from(shards.shard_bytes()) * 4 >= u64::from(image));
            let range = from.min(image)..(from + length).min(image);
            let segments = shards.segments(range.clone());
            prop_assert_eq!(segments.iter().map(|one| one.range.len()).sum::<usize>(), range.len());
            let mut at = range.start;
            for Segment { index, range } in segments {
                prop_assert!(index < 4 && range.end <= shards.shard_bytes());
                prop_assert_eq!(index as u32 * shards.shard_bytes() + range.start, at);
                at += range.len() as u32;
                let units = shards.units(&range);
                prop_assert!(units.start <= range.start && units.end >= range.end && units.start.is_multiple_of(BLOCK_BYTES));
                prop_assert!(units.end.is_multiple_of(BLOCK_BYTES) || units.end == shards.shard_bytes());
            }
        }
    }
}
