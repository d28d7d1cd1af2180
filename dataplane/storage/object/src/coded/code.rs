//! The code: parity of data, and what is lost from what is left (pure).
//!
//! Reed-Solomon as [Leopard](https://github.com/catid/leopard) computes it, over each unit of 64 KiB apart: so a block of a shard is
//! made of the same blocks of four others, whatever their length. What was coded must be decodable for ever, so a test has its bytes.

use bytes::Bytes;
use eddy_chunks::format::BLOCK_BYTES;

use crate::error::{ObjectError, Result};
use crate::schema::Shards;

const UNIT: usize = BLOCK_BYTES as usize;

fn broken(error: reed_solomon_simd::Error) -> ObjectError {
    ObjectError::Broken(format!("shards cannot be made of each other: {error}"))
}

/// The parity shards' bytes for the same bytes of all data shards, which begin at a unit.
///
/// # Errors
/// [`ObjectError::Broken`] where lengths differ or are odd.
pub fn parity_of(shards: &Shards, data: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
    let length = data.first().map_or(0, |first| first.len());
    let mut parity = vec![Vec::with_capacity(length); usize::from(shards.parity)];
    for from in (0..length).step_by(UNIT) {
        let to = length.min(from + UNIT);
        let units = data.iter().map(|shard| shard.get(from..to).unwrap_or_default());
        let made = reed_solomon_simd::encode(usize::from(shards.data), usize::from(shards.parity), units).map_err(broken)?;
        for (shard, unit) in parity.iter_mut().zip(made) {
            shard.extend_from_slice(&unit);
        }
    }
    Ok(parity)
}

/// A shard's bytes, made of the same bytes, which begin at a unit, of as many others as there are data shards.
///
/// # Errors
/// [`ObjectError::Broken`] where there are too few, or lengths differ or are odd.
pub fn restore(shards: &Shards, index: usize, others: &[(usize, Bytes)]) -> Result<Vec<u8>> {
    let (data, parity) = (usize::from(shards.data), usize::from(shards.parity));
    let length = others.first().map_or(0, |(_, first)| first.len());
    let mut restored = Vec::with_capacity(length);
    for from in (0..length).step_by(UNIT) {
        let to = length.min(from + UNIT);
        let unit = |bytes: &Bytes| bytes.slice(from.min(bytes.len())..to.min(bytes.len()));
        let originals: Vec<_> = others.iter().filter(|(at, _)| *at < data).map(|(at, bytes)| (*at, unit(bytes))).collect();
        let recovery = others.iter().filter(|(at, _)| *at >= data).map(|(at, bytes)| (*at - data, unit(bytes)));
        let mut lost = reed_solomon_simd::decode(data, parity, originals.iter().cloned(), recovery).map_err(broken)?;
        if index < data {
            let unit = lost.remove(&index).ok_or_else(|| ObjectError::Broken(format!("shard {index} is not lost")))?;
            restored.extend_from_slice(&unit);
        } else {
            lost.extend(originals.into_iter().map(|(at, unit)| (at, unit.to_vec())));
            // In the order of their numbers.
            let made = reed_solomon_simd::encode(data, parity, lost.into_values()).map_err(broken)?;
            restored.extend_from_slice(made.get(index - data).map(Vec::as_slice).unwrap_or_default());
        }
    }
    Ok(restored)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crc_fast::crc32_iscsi;

    use super::*;

    fn image(bytes: usize) -> Vec<u8> {
        (0..bytes as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    fn all(shards: &Shards) -> Vec<Bytes> {
        let length = shards.shard_bytes() as usize;
        let image = image(4 * length);
        let data: Vec<&[u8]> = image.chunks(length).collect();
        let parity = parity_of(shards, &data).unwrap();
        data.into_iter().map(Bytes::copy_from_slice).chain(parity.into_iter().map(Bytes::from)).collect()
    }

    #[test]
    fn any_two_are_made_of_the_four_others() {
        // A byte, a short last unit, and several units.
        for bytes in [1, 4 * 64, 1000, 4 * BLOCK_BYTES, 10 * BLOCK_BYTES + 999] {
            let shards = Shards::new(7, bytes);
            let all = all(&shards);
            for first in 0..6 {
                for second in first + 1..6 {
                    let left: Vec<_> =
                        (0..6).filter(|at| ![first, second].contains(at)).map(|at| (at, all[at].clone())).collect();
                    for lost in [first, second] {
                        assert!(restore(&shards, lost, &left).unwrap() == all[lost], "{lost} of {bytes}");
                    }
                }
            }
            assert!(restore(&shards, 0, &[(1, all[1].clone()), (2, all[2].clone()), (5, all[5].clone())]).is_err(), "too few");
        }
    }

    #[test]
    fn a_part_is_made_of_the_same_parts_as_far_as_units_go() {
        let shards = Shards::new(7, 13 * BLOCK_BYTES);
        let all = all(&shards);
        let range = shards.units(&(BLOCK_BYTES + 5..2 * BLOCK_BYTES + 1));
        let part = |at: usize| all[at].slice(range.start as usize..range.end as usize);
        let left: Vec<_> = [0, 2, 4, 5].map(|at| (at, part(at))).to_vec();
        assert!(restore(&shards, 3, &left).unwrap() == part(3));
    }

    #[test]
    fn what_was_coded_once_is_coded_so_for_ever() {
        let all = all(&Shards::new(7, 4 * BLOCK_BYTES));
        let sums: Vec<u32> = all[4..].iter().map(|parity| crc32_iscsi(parity)).collect();
        assert_eq!(sums, [28_878_302, 2_615_041_409]);
    }
}
