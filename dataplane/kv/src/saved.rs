//! A value in a small file that is replaced as a whole.

use std::io;
use std::path::Path;

use eddy_disk::{Disk, read_checked, replace_checked};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the file holds; none if it is not there.
///
/// # Errors
/// The disk's, or that the file is damaged.
pub(crate) fn load<T: DeserializeOwned>(disk: &dyn Disk, path: &Path) -> io::Result<Option<T>> {
    let Some(contents) = read_checked(disk, path)? else { return Ok(None) };
    postcard::from_bytes(&contents).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Replaces what the file holds, at once and durably.
///
/// # Errors
/// The disk's.
pub(crate) fn save<T: Serialize>(disk: &dyn Disk, path: &Path, value: &T) -> io::Result<()> {
    replace_checked(disk, path, &postcard::to_stdvec(value).map_err(io::Error::other)?)
}
