//! How a replica is opened, and why it could not be.

use std::path::PathBuf;

use crate::journal::JournalError;

/// How a replica is opened.
#[derive(Clone, Debug)]
pub struct ReplicatedOptions {
    /// Where its log and rows are; made if it is not there. The folder above it must be.
    pub folder: PathBuf,
    /// Bytes of memory that hold pages of the rows.
    pub cache_bytes: usize,
    /// Room of the disk that is left when no rows are added any more: a log that cannot grow takes no deletion, either.
    pub reserved_bytes: u64,
    /// How much of the log it keeps.
    pub log: LogOptions,
    /// With whom it is a store; none for a replica without others.
    pub group: Option<GroupOptions>,
}

/// How much of its log a replica keeps.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// After so many commands, rows are made durable and the log may forget them.
    pub commands_between_snapshots: u64,
    /// And after so many bytes of them.
    pub bytes_between_snapshots: u64,
    /// Commands that it keeps all the same, for replicas that lag: one that lacks more is sent all rows.
    pub commands_kept: u64,
    /// Of those, it keeps about so many bytes.
    pub bytes_kept: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        const MEBIBYTE: u64 = 1024 * 1024;
        Self {
            commands_between_snapshots: 100_000,
            bytes_between_snapshots: 64 * MEBIBYTE,
            // Whoever lacks more is sent all rows, and must not lack as much again when they have come.
            commands_kept: 1_000_000,
            bytes_kept: 1024 * MEBIBYTE,
        }
    }
}

/// The replicas of a store.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// `host:port` at which the others and clients reach this one.
    pub advertise: String,
    /// `host:port` of each of the others; this one may be among them.
    pub peers: Vec<String>,
    /// It has all rows, answers reads and does not vote.
    pub standby: bool,
}

impl ReplicatedOptions {
    /// Without others.
    pub fn alone(folder: impl Into<PathBuf>, cache_bytes: usize) -> Self {
        Self { folder: folder.into(), cache_bytes, reserved_bytes: 0, log: LogOptions::default(), group: None }
    }

    pub(super) fn others(&self) -> impl Iterator<Item = &str> {
        let group = self.group.iter();
        group.flat_map(|group| group.peers.iter().filter(|peer| **peer != group.advertise).map(String::as_str))
    }

    pub(super) fn address(&self) -> &str {
        self.group.as_ref().map_or("", |group| &group.advertise)
    }

    pub(super) fn is_standby(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.standby)
    }
}

/// Why a replica could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The folder cannot be made.
    #[error("failed to make the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It is not known which replica this is.
    #[error("failed to read or write who this replica is, {path}: if it is lost, empty the folder and let it join anew")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The log cannot be used.
    #[error("failed to open the log of a replica")]
    Log(#[from] JournalError),
    /// The log is not there, or not how it voted; the rest is.
    #[error("the log of the replica in {0} is lost: restore the folder, or empty it and restore a backup or let it join anew")]
    LogLost(PathBuf),
    /// The rows lack what the log no longer has.
    #[error(
        "the rows of the replica in {0} lack commands that its log has forgotten: restore the folder, or empty it and let it join anew"
    )]
    RowsLost(PathBuf),
    /// The rows cannot be used.
    #[error("failed to open the rows of a replica: no other process may have them open")]
    Rows(#[source] Box<redb::Error>),
    /// Consensus does not begin.
    #[error("failed to start consensus: {0}")]
    Raft(String),
}
