//! Rows of chunks, of who needs them, and of servers.

use eddy_chunks::{Extent, FileId};
use serde::{Deserialize, Serialize};

/// A cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRow {
    /// Its number, which the disks of its chunkservers bear.
    pub number: u64,
}

/// A chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// Who has it, or its shards in their order; no server twice.
    pub replicas: Vec<Replica>,
    /// How many should; of a coded chunk, how many did, and will of what moves out of it.
    pub copies: u8,
    /// What its needles are kept for.
    pub tier: Tier,
    /// As what it is kept.
    pub form: ChunkForm,
    /// When it was made, or last said to be still written to, in milliseconds since 1970.
    pub touched_ms: u64,
    /// When all its copies were last read and found whole, in milliseconds since 1970; 0 if never.
    pub verified_ms: u64,
}

/// A file of a chunk on a server. What is made of others' files, also in the place of one that was damaged, is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Replica {
    /// The server's number.
    pub server: u64,
    /// The file's number.
    pub file: u64,
}

impl Replica {
    /// One that was never named before.
    pub fn draw(server: u64, chunk: u64) -> Self {
        Self { server, file: FileId::draw(chunk).file }
    }

    /// What the server calls it.
    pub const fn id(&self, chunk: u64) -> FileId {
        FileId { chunk, file: self.file }
    }
}

impl ChunkRow {
    /// The numbers of the servers that have it, or its shards, in their order.
    pub fn servers(&self) -> impl Iterator<Item = u64> + '_ {
        self.replicas.iter().map(|replica| replica.server)
    }

    /// Whether a server has it, or a shard of it.
    pub fn is_on(&self, server: u64) -> bool {
        self.servers().any(|has_it| has_it == server)
    }
}

/// What bytes are kept for, which says where and as what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tier {
    /// To be read: whole copies on fast servers.
    #[default]
    Hot,
    /// To be read, in less room: erasure coded, on fast servers.
    HotCoded,
    /// To be kept: erasure coded, on slow servers.
    Cold,
}

impl Tier {
    /// Whether it is to be erasure coded when nobody writes to it any more.
    pub const fn is_coded(self) -> bool {
        matches!(self, Self::HotCoded | Self::Cold)
    }

    /// The servers that it is for.
    pub const fn class(self) -> Class {
        match self {
            Self::Hot | Self::HotCoded => Class::Fast,
            Self::Cold => Class::Slow,
        }
    }
}

/// How fast a server's disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// For what is read.
    #[default]
    Fast,
    /// For what is kept.
    Slow,
}

/// As what a chunk is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkForm {
    /// Each of its servers has all of it.
    #[default]
    Whole,
    /// No server has it: its bytes are made of the shards that the chunk of this number is.
    Coded(u64),
    /// It is shards of another chunk: each of its servers has one.
    Shards(Shards),
}

/// Shards of a chunk: a Reed-Solomon code of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shards {
    /// The chunk that they are of.
    pub of: u64,
    /// As many of them are its bytes, cut into as many parts.
    pub data: u8,
    /// As many can be lost.
    pub parity: u8,
    /// How many bytes of its file they are of.
    pub image_bytes: u32,
    /// The number of the first one's needle; the others' follow.
    pub needle: u64,
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
    /// Those that failed to take a needle, or to give one, or that are lost.
    pub servers: Vec<u64>,
    /// The others may lack something, too: all are to be read.
    pub read_all: bool,
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

/// A file that a server has, or is about to, and that no chunk's row names. Once removed it is never named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrayRow {
    /// When that was first seen, in milliseconds since 1970.
    pub since_ms: u64,
    /// It is being removed: from now on, no row may name it.
    pub doomed: bool,
}

/// A chunkserver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRow {
    /// Where it is reached, `host:port`.
    pub address: String,
    /// What fails as one: the machine, if nothing else is known.
    pub failure_domain: String,
    /// How fast its disk is.
    pub class: Class,
}

/// That an object was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRow {
    /// When, in milliseconds since 1970; no more than an hour before it was last read.
    pub read_ms: u64,
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
