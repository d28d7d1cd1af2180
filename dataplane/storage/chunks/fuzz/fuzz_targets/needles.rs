//! A chunk from a disk that has rotted: never a panic, what is found lies within it and can be read, and a needle that nothing has
//! touched is found.
#![no_main]

use eddy_chunks::Extent;
use eddy_chunks::format::{HEAD_BYTES, NEEDLE_HEAD_BYTES, decode_head, encode_head, encode_needle, find_needles, verify_blocks};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    check(input, 1);
    let Some((sizes, changes)) = input.split_first_chunk::<3>() else { return };
    let (mut chunk, mut written) = (encode_head(1, 1).to_vec(), Vec::new());
    for size in sizes.iter().filter(|size| **size > 0) {
        let extent = Extent { chunk: 1, offset: chunk.len() as u32, needle: u64::from(*size), bytes: u32::from(*size) * 400 };
        chunk.extend(encode_needle(&extent, &vec![*size; extent.bytes as usize]));
        written.push(extent);
    }
    for change in changes.as_chunks::<4>().0 {
        let at = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize % chunk.len();
        chunk[at] ^= change[3];
        written.retain(|extent| !(extent.offset as usize..extent.end() as usize).contains(&at));
    }
    let found = check(&chunk, 1);
    assert!(written.iter().all(|extent| found.contains(extent)), "what nothing has touched is found");
});

/// The needles that are whole.
fn check(chunk: &[u8], number: u64) -> Vec<Extent> {
    assert!(decode_head(chunk).is_none() || chunk.len() >= HEAD_BYTES as usize);
    let mut whole = Vec::new();
    for found in find_needles(number, chunk) {
        assert!(found.extent.is_valid());
        if found.damage.is_none() {
            let start = (found.extent.offset + NEEDLE_HEAD_BYTES) as usize;
            let stored = &chunk[start..start + found.extent.blocks(&(0..found.extent.bytes)).bytes as usize];
            let data: usize = verify_blocks(found.extent.needle, 0, stored).expect("it was found").map(<[u8]>::len).sum();
            assert_eq!(data, found.extent.bytes as usize);
            whole.push(found.extent);
        }
    }
    whole
}
