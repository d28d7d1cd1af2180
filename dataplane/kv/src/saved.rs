//! A small file that is replaced as a whole, with a checksum.

use std::io;
use std::path::Path;

use crc_fast::crc32_iscsi;
use eddy_disk::{Disk, read_all, replace};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the file holds; none if it is not there.
///
/// # Errors
/// The disk's, or that the file is damaged.
pub(crate) fn load<T: DeserializeOwned>(disk: &dyn Disk, path: &Path) -> io::Result<Option<T>> {
    let file = match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let contents = read_all(&*file)?;
    let whole = contents.split_first_chunk::<4>().filter(|(crc, rest)| crc32_iscsi(rest) == u32::from_le_bytes(**crc));
    let (_, rest) = whole.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the checksum is wrong"))?;
    postcard::from_bytes(rest).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Replaces what the file holds, at once and durably.
///
/// # Errors
/// The disk's.
pub(crate) fn save<T: Serialize>(disk: &dyn Disk, path: &Path, value: &T) -> io::Result<()> {
    let contents = postcard::to_stdvec(value).map_err(io::Error::other)?;
    replace(disk, path, &[&crc32_iscsi(&contents).to_le_bytes()[..], &contents].concat())
}
