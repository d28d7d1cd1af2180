//! A small file that is replaced as a whole and has a checksum.

use std::io;
use std::path::Path;

use crc_fast::crc32_iscsi;

use crate::{Disk, read_all, replace};

/// What [`replace_checked`] last wrote; none where there is no such file.
///
/// # Errors
/// The kernel's, or [`io::ErrorKind::InvalidData`] where the file is damaged.
pub fn read_checked(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let contents = read_all(&*file)?;
    match contents.split_first_chunk::<4>() {
        Some((crc, rest)) if crc32_iscsi(rest) == u32::from_le_bytes(*crc) => Ok(Some(rest.to_vec())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum is wrong")),
    }
}

/// Replaces what the file holds, at once and durably.
///
/// # Errors
/// As [`replace`].
pub fn replace_checked(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<()> {
    replace(disk, path, &[&crc32_iscsi(contents).to_le_bytes()[..], contents].concat())
}
