//! Needles that are copied from one chunk's file to another's, many at once.

use super::{BLOCK_BYTES, Extent, StoredBlocks};

/// Longest stretch; more than the longest that one run of blocks takes.
pub const STRETCH_BYTES_MAX: u32 = 1 << 20;
/// Data of a needle that is in one stretch at most: whole blocks.
const RUN_BYTES: u32 = 15 * BLOCK_BYTES;
/// Bytes between two needles that are read with them, rather than by another read.
const GAP_BYTES_MAX: u64 = 64 * 1024;

/// A part of a chunk's file, and what is wanted of it: blocks of needles, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where in the file it begins.
    pub start: u64,
    /// Its length, at most [`STRETCH_BYTES_MAX`].
    pub bytes: u32,
    /// Blocks of needles.
    pub runs: Vec<(Extent, StoredBlocks)>,
}

impl Stretch {
    /// The stretches that hold these needles of one chunk: all blocks of each, in their order. They must be valid and in the order of
    /// the file.
    pub fn all(needles: &[Extent]) -> Vec<Self> {
        let mut stretches: Vec<Self> = Vec::new();
        for extent in needles {
            for start in (0..extent.bytes).step_by(RUN_BYTES as usize) {
                let blocks = extent.blocks(&(start..extent.bytes.min(start + RUN_BYTES)));
                match stretches.last_mut().filter(|stretch| stretch.reaches(&blocks)) {
                    Some(stretch) => stretch.add(*extent, blocks),
                    None => stretches.push(Self { start: blocks.offset, bytes: blocks.bytes, runs: vec![(*extent, blocks)] }),
                }
            }
        }
        stretches
    }

    /// The bytes of some of its blocks in what was read of it; none where that ends before.
    pub fn part<'a>(&self, read: &'a [u8], blocks: &StoredBlocks) -> Option<&'a [u8]> {
        let from = usize::try_from(blocks.offset.checked_sub(self.start)?).ok()?;
        read.get(from..from + blocks.bytes as usize)
    }

    fn end(&self) -> u64 {
        self.start + u64::from(self.bytes)
    }

    fn reaches(&self, blocks: &StoredBlocks) -> bool {
        let gap = blocks.offset.checked_sub(self.end());
        gap.is_some_and(|gap| gap <= GAP_BYTES_MAX)
            && blocks.offset + u64::from(blocks.bytes) - self.start <= u64::from(STRETCH_BYTES_MAX)
    }

    fn add(&mut self, extent: Extent, blocks: StoredBlocks) {
        self.bytes = u32::try_from(blocks.offset + u64::from(blocks.bytes) - self.start).unwrap_or(u32::MAX);
        self.runs.push((extent, blocks));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::format::{CHUNK_BYTES_MAX, HEAD_BYTES, encode_needle, verify_blocks};

    fn needles(gaps_and_bytes: &[(u32, u32)]) -> Vec<Extent> {
        let mut offset = HEAD_BYTES;
        let mut all = Vec::new();
        for (gap, bytes) in gaps_and_bytes {
            let extent = Extent { chunk: 1, offset: offset + gap, needle: u64::from(offset), bytes: *bytes };
            assert!(extent.is_valid());
            offset = extent.end() as u32;
            all.push(extent);
        }
        all
    }

    #[test]
    fn stretches_hold_all_blocks_of_all_needles_and_little_else() {
        let small = vec![(0, 4096); 1000];
        let mixed = [(0, 1), (8, 3 * (1 << 20) + 5), (64 * 1024, 10), (65 * 1024, 155_000), (1 << 22, 65_536), (0, 65_537)];
        for needles in [needles(&small), needles(&mixed), needles(&[(0, 60 << 20)]), Vec::new()] {
            let mut file = vec![0xaa; CHUNK_BYTES_MAX as usize];
            for extent in &needles {
                let data: Vec<u8> = (0..extent.bytes).map(|at| (at % 251) as u8).collect();
                file[extent.offset as usize..extent.end() as usize].copy_from_slice(&encode_needle(extent, &data));
            }
            let stretches = Stretch::all(&needles);
            let mut found: Vec<(Extent, u32)> = Vec::new();
            for stretch in &stretches {
                assert!(stretch.bytes <= STRETCH_BYTES_MAX);
                let read = &file[stretch.start as usize..stretch.end() as usize];
                for (extent, blocks) in &stretch.runs {
                    let data: u32 = verify_blocks(extent.needle, blocks.first, stretch.part(read, blocks).unwrap())
                        .unwrap()
                        .map(|block| block.len() as u32)
                        .sum();
                    match found.last_mut().filter(|(last, _)| last == extent) {
                        Some((_, bytes)) => *bytes += data,
                        None => found.push((*extent, data)),
                    }
                }
                assert_eq!(stretch.part(&read[..read.len() - 1], &stretch.runs.last().unwrap().1), None, "cut off");
            }
            assert_eq!(found, needles.iter().map(|extent| (*extent, extent.bytes)).collect::<Vec<_>>());
            let wanted: u64 = needles.iter().map(|extent| u64::from(extent.bytes)).sum();
            let read: u64 = stretches.iter().map(|stretch| u64::from(stretch.bytes)).sum();
            assert!(read <= wanted + wanted / 50 + 2 * GAP_BYTES_MAX, "{read} for {wanted}");
        }
        assert_eq!(Stretch::all(&needles(&small)).len(), 4, "small ones share");
    }
}
