//! Rows of chunks, of who needs them, and of servers.

use eddy_chunks::Extent;
use serde::{Deserialize, Serialize};

/// A chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// The numbers of the servers that have it.
    pub servers: Vec<u64>,
    /// How many should.
    pub copies: u8,
    /// When it was made, or last said to be still written to, in milliseconds since 1970.
    pub touched_ms: u64,
    /// When all its copies were last read and found whole, in milliseconds since 1970; 0 if never.
    pub verified_ms: u64,
}

/// Who needs a needle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceRow {
    /// The upload that wrote it.
    pub upload: u64,
    /// Whose row names it.
    pub by: Needed,
    /// The needle.
    pub extent: Extent,
}

/// Whose row names a needle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Needed {
    /// A version of an object.
    Object {
        /// Its namespace.
        namespace: u64,
        /// Its key.
        key: String,
        /// Which of its versions.
        order: u64,
    },
    /// A piece.
    Piece {
        /// The upload that it belongs to.
        of: u64,
        /// Its number.
        piece: u16,
    },
}

/// What servers lack of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DegradedRow {
    /// Those that failed to take a needle, or to give one. None where only too few have the chunk.
    pub servers: Vec<u64>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// An upload in pieces that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRow {
    /// When its last piece came, in milliseconds since 1970.
    pub since_ms: u64,
}

/// Pieces that nobody needs any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneRow {
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Their numbers; all of the upload if none.
    pub pieces: Option<Vec<u16>>,
}

/// A chunk that a server has and should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrayRow {
    /// When that was first seen, in milliseconds since 1970.
    pub since_ms: u64,
    /// It is being removed: from now on, no row may say that the server has the chunk.
    pub doomed: bool,
}

/// A chunkserver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRow {
    /// Where it is reached, `host:port`.
    pub address: String,
    /// What fails as one: the machine, if nothing else is known.
    pub failure_domain: String,
}

/// A chunkserver that is being emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRow {
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// A chunkserver that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwayRow {
    /// When that was first seen, in milliseconds since 1970.
    pub since_ms: u64,
}
