//! What a disk does to a row behind the store's back.

use std::path::Path;

/// Flips a bit of a value wherever the file holds it; whether it does.
pub(crate) fn flip(file: &Path, value: &[u8]) -> bool {
    let mut bytes = std::fs::read(file).unwrap();
    let found: Vec<usize> =
        bytes.windows(value.len()).enumerate().filter(|(_, window)| *window == value).map(|(at, _)| at).collect();
    for at in &found {
        bytes[at + value.len() / 2] ^= 1;
    }
    std::fs::write(file, bytes).unwrap();
    !found.is_empty()
}
