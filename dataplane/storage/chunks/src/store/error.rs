//! Why a disk's chunks do not serve.

use std::io;
use std::path::{Path, PathBuf};

use crate::format::{Damage, FileId};

/// Why a disk's chunks do not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error("failed to read or write {path}")]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The folder belongs to another cluster.
    #[error("{path} belongs to cluster {is:016x}, not to {wanted:016x}: give this server another folder")]
    OtherCluster {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        is: u64,
        /// Whose it should be.
        wanted: u64,
    },
    /// What is left is reserved.
    #[error("the disk is full: {available} bytes are left, {needed} are needed with what is reserved")]
    Full {
        /// Bytes that are left.
        available: u64,
        /// Bytes that must be.
        needed: u64,
    },
    /// There is no such file here.
    #[error("there is no file {0} here")]
    NoFile(FileId),
    /// There is one already.
    #[error("there is a file {0} already")]
    Exists(FileId),
    /// The file takes no more needles.
    #[error("the file {0} takes no more needles")]
    Closed(FileId),
    /// Another needle has the place, or some of it.
    #[error("another needle has the place {offset} of chunk {chunk:016x}")]
    Taken {
        /// The chunk.
        chunk: u64,
        /// The place.
        offset: u32,
    },
    /// No needle can be there, or it has no such bytes.
    #[error("no needle can be where this one is to be, or it has no such bytes")]
    NoExtent,
    /// The bytes are not what was written.
    #[error("the needle at {offset} of chunk {chunk:016x} cannot be read")]
    Damaged {
        /// The chunk.
        chunk: u64,
        /// The needle.
        offset: u32,
        /// What is wrong with it.
        source: Damage,
    },
    /// The file is no chunk, or another one.
    #[error("the file {0} does not begin as its chunk should")]
    DamagedHead(PathBuf),
}

impl StoreError {
    pub(super) fn disk(path: &Path, source: io::Error) -> Self {
        Self::Disk { path: path.to_owned(), source }
    }
}
