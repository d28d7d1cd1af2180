//! Keys that are files: what is signed and sealed with, which whoever runs the platform gives.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Shorter keys are refused.
const KEY_BYTES_MIN: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("failed to read {file}")]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is too short.
    #[error("a key has {KEY_BYTES_MIN} bytes at least: write that many that nobody can guess")]
    Short,
}

/// The bytes of a key's file.
///
/// # Errors
/// That it cannot be read.
pub fn read_key(file: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    std::fs::read(file).map(Zeroizing::new).map_err(|source| KeyError::Read { file: file.to_owned(), source })
}

/// The same bytes, if they are enough.
///
/// # Errors
/// That they are too few.
pub fn long_enough(key: &[u8]) -> Result<&[u8], KeyError> {
    if key.len() < KEY_BYTES_MIN { Err(KeyError::Short) } else { Ok(key) }
}
