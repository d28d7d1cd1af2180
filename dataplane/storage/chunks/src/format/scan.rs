//! Finding needles in a chunk without being told where they are.

use super::{ALIGNMENT, Damage, Extent, HEAD_BYTES, NEEDLE_HEAD_BYTES, NeedleHead, stored_bytes, verify_blocks};

/// A needle that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub extent: Extent,
    /// What is wrong with it.
    pub damage: Option<Damage>,
}

/// All needles of a chunk whose heads are whole. What lies between them was never finished, or its head is damaged.
pub fn find_needles(chunk: u64, bytes: &[u8]) -> Vec<Found> {
    let (mut found, mut offset) = (Vec::new(), HEAD_BYTES);
    while let Some(rest) = bytes.get(offset as usize..).filter(|rest| rest.len() >= NEEDLE_HEAD_BYTES as usize) {
        let Some(extent) = NeedleHead::decode(rest, chunk, offset) else {
            offset += ALIGNMENT;
            continue;
        };
        let blocks = extent.blocks(&(0..extent.bytes));
        let stored = rest.get(NEEDLE_HEAD_BYTES as usize..(NEEDLE_HEAD_BYTES + blocks.bytes) as usize);
        let damage = stored.map_or(Some(Damage::CutOff), |stored| verify_blocks(extent.needle, 0, stored).err());
        found.push(Found { extent, damage });
        // One that is damaged may be the trace of another that was never finished: others may lie within.
        offset += if damage.is_none() { stored_bytes(extent.bytes) } else { ALIGNMENT };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{encode_head, encode_needle};

    #[test]
    fn needles_are_found_behind_gaps_and_damage() {
        let mut chunk = encode_head(1, 5).to_vec();
        let mut add = |gap: usize, bytes: u32| {
            chunk.resize(chunk.len() + gap, 0);
            let extent = Extent { chunk: 5, offset: chunk.len() as u32, needle: u64::from(bytes), bytes };
            chunk.extend(encode_needle(&extent, &vec![3; bytes as usize]));
            extent
        };
        let extents = [add(0, 10), add(64, 100_000), add(8, 1), add(16, 20)];
        let whole: Vec<Found> = extents.iter().map(|extent| Found { extent: *extent, damage: None }).collect();
        assert_eq!(find_needles(5, &chunk), whole);

        let at = extents[1].offset as usize;
        chunk[at + 70_000] ^= 1;
        assert_eq!(find_needles(5, &chunk)[1].damage, Some(Damage::Block(1)));
        chunk[at] ^= 1;
        assert_eq!(find_needles(5, &chunk), [whole[0], whole[2], whole[3]]);
        chunk.truncate(chunk.len() - 16);
        assert_eq!(find_needles(5, &chunk)[2].damage, Some(Damage::CutOff));
        assert_eq!(find_needles(6, &chunk), []);
    }
}
