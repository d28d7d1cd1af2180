//! What replicas and clients of a store say to each other, as postcard in the messages of `eddy-rpc`.

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, VoteRequest};
use openraft::{BasicNode, SnapshotMeta, Vote};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::KvError;
use crate::model::{Read, Row, Transaction, Version};
use crate::replicated::{ImportedRow, Types};

/// What is asked.
#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    /// Of any replica; answered with `Vec<ReadResult>`.
    Read(Vec<Read>),
    /// Of the leader; answered with [`Version`](crate::Version).
    Commit(Transaction),
    /// Of any replica; answered in parts of `Vec<Row>`, the last of them empty.
    Export,
    /// Of the leader; answered with [`Version`], by which the two below name this restore. Rows are going to be restored.
    BeginImport,
    /// Of the leader, as the next; answered with nothing. Some of them.
    Import { restore: Version, rows: Vec<ImportedRow> },
    /// All are there, or none may stay.
    EndImport {
        restore: Version,
        /// All are there.
        complete: bool,
    },
    /// Of any replica; answered with [`Status`].
    Status,
    /// Of the leader, by a replica; answered with nothing.
    Join(Joining),
    /// Of the leader; answered with nothing. The replica with this address is none any more.
    Remove(String),
    /// By one replica of another.
    Peer(Envelope),
}

/// A replica that is to be a member, with this address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Joining {
    pub(crate) group: u64,
    pub(crate) id: u64,
    pub(crate) address: String,
    pub(crate) voter: bool,
}

/// A message among the replicas of one group, for one of them: an address may have another replica by now.
#[derive(Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) group: u64,
    pub(crate) to: u64,
    pub(crate) message: PeerMessage,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum PeerMessage {
    /// Answered with openraft's response or error, as are the next and [`SnapshotPart::End`].
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<u64>),
    /// A part of the transfer with this number.
    Snapshot(u64, SnapshotPart),
    /// Of the leader; answered with the index that must be applied before a read, or none.
    ReadIndex,
}

/// Parts of a snapshot, in this order.
#[derive(Serialize, Deserialize)]
pub(crate) enum SnapshotPart {
    /// Answered with nothing.
    Begin,
    /// Answered with nothing.
    Rows(Vec<Row>),
    /// Numbers of the store itself, and what the rows are.
    End { vote: Vote<u64>, meta: SnapshotMeta<u64, BasicNode>, state: Vec<(String, u64)> },
}

/// How a replica is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its number.
    pub id: u64,
    /// The number of its group; none before it belongs to one.
    pub group: Option<u64>,
    /// The address of the replica that leads, as far as this one knows.
    pub leader: Option<String>,
    /// How often a leader was looked for.
    pub term: u64,
    /// The last command that this replica applied.
    pub applied: Option<u64>,
    /// The last command of its log.
    pub last: Option<u64>,
    /// All replicas, by address.
    pub members: Vec<Member>,
}

/// A replica, as its group knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Where it is reached.
    pub address: String,
    /// Whether it votes; if not, it is a standby.
    pub voter: bool,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// Another replica leads, or none.
    #[error("the replica does not lead; the one that leads: {leader:?}")]
    NotLeader { leader: Option<String> },
    /// The message is for another replica or another group's.
    #[error("the message is for another replica than the one that has this address now")]
    NotMe,
    /// It cannot be understood.
    #[error("the request cannot be understood: {0}")]
    Malformed(String),
    /// The store's own.
    #[error(transparent)]
    Store(#[from] KvError),
}

/// What is said.
///
/// # Errors
/// None that any of this module's types can meet.
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Bytes, KvError> {
    let broken = |error: postcard::Error| KvError::Broken { reason: format!("a message cannot be written: {error}") };
    postcard::to_stdvec(message).map(Bytes::from).map_err(broken)
}

/// What was said.
///
/// # Errors
/// [`Refusal::Malformed`].
pub(crate) fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, Refusal> {
    postcard::from_bytes(message).map_err(|error| Refusal::Malformed(error.to_string()))
}
