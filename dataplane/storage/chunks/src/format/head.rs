//! The head of a chunk's file.

use crc_fast::crc32_iscsi;

/// Length of the head.
pub const HEAD_BYTES: u32 = 64;

const MAGIC: [u8; 8] = *b"eddychk1";
const CHECKED_FROM: usize = 12;

/// The head of a chunk of a cluster.
pub fn encode_head(cluster: u64, chunk: u64) -> [u8; HEAD_BYTES as usize] {
    let mut head = [0; HEAD_BYTES as usize];
    head[..8].copy_from_slice(&MAGIC);
    head[12..20].copy_from_slice(&cluster.to_le_bytes());
    head[20..28].copy_from_slice(&chunk.to_le_bytes());
    let crc = crc32_iscsi(&head[CHECKED_FROM..]);
    head[8..12].copy_from_slice(&crc.to_le_bytes());
    head
}

/// The cluster and the chunk; none if it is no head.
pub fn decode_head(head: &[u8]) -> Option<(u64, u64)> {
    let head = head.get(..HEAD_BYTES as usize)?;
    let number = |at: usize| head.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let (cluster, chunk) = (number(12)?, number(20)?);
    (head == encode_head(cluster, chunk)).then_some((cluster, chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_and_nothing_else_does() {
        let head = encode_head(7, 9);
        assert_eq!(decode_head(&head), Some((7, 9)));
        assert_eq!(decode_head(&head[..63]), None);
        for bit in 0..head.len() * 8 {
            let mut flipped = head;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_head(&flipped), None, "bit {bit}");
        }
    }
}
