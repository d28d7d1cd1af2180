//! What is said on a connection.
//!
//! Whoever connects says `eddybul2` and the number of the cluster (8 bytes, little end first); the server answers with a message,
//! [`Greeting`]. Then one request after the other: a message, [`Request`], and for a write the needle's stored blocks;
//! the answer is a message, `Result<Answer, Refusal>`, for an unchecked read its bytes, and for another read pieces of stored blocks: each its
//! length (4 bytes) and bytes, or [`PIECE_FAILED`] and a message, [`Refusal`]. A message is its length (4 bytes, little end first) and
//! postcard, which numbers what can be said: what is new goes last, since servers and clients are not replaced at the same moment.

use std::io;

use eddy_chunks::format::STORED_BLOCK_BYTES;
use eddy_chunks::{Extent, FileId, StoreError};
use eddy_rpc::Connection;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::address::Source;

/// The first bytes from whoever connects.
pub(crate) const MAGIC: [u8; 8] = *b"eddybul2";
/// Longest request: a server gives whoever connects no more memory.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest answer: all needles of a chunk that has the most, and two million files.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Blocks that are read, sent or written at once.
pub(crate) const PIECE_BLOCKS: u32 = 4;
/// Most bytes of a piece.
pub(crate) const PIECE_BYTES_MAX: u32 = PIECE_BLOCKS * STORED_BLOCK_BYTES;
/// Instead of a piece's length: the rest cannot be read.
pub(crate) const PIECE_FAILED: u32 = u32::MAX;

/// The server's first words.
#[derive(Serialize, Deserialize)]
pub(crate) enum Greeting {
    /// The number of this server.
    Welcome { server: u64 },
    /// It belongs to another cluster.
    OtherCluster,
}

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Create {
        id: FileId,
    },
    /// Followed by all stored blocks; answered when the needle is durable in this file of its chunk.
    Write {
        file: u64,
        extent: Extent,
    },
    /// Answered with pieces, from this file of the needle's chunk.
    Read {
        file: u64,
        extent: Extent,
        start: u32,
        end: u32,
    },
    /// The file takes no more needles.
    Close {
        id: FileId,
    },
    Remove {
        id: FileId,
    },
    /// Answered with all needles that can be read.
    Scan {
        id: FileId,
    },
    List,
    Status,
    /// Answered with bytes of the file as they are: whoever asks checks them.
    ReadUnchecked {
        id: FileId,
        start: u64,
        bytes: u32,
    },
    /// The server copies needles of one chunk, in their order, to this file of it from another server's; answered when they are
    /// durable, with those that the other does not give whole.
    Pull {
        file: u64,
        from: Source,
        needles: Vec<Extent>,
    },
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    /// So many bytes of stored blocks follow, in pieces.
    Blocks(u32),
    /// Extents, and whether each is damaged.
    Needles(Vec<(Extent, bool)>),
    /// Files, and their lengths.
    Files(Vec<(FileId, u64)>),
    Status(ServerStatus),
    /// So many bytes follow.
    Unchecked(u32),
    /// What did not come.
    Missing(Vec<Extent>),
}

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its number, which stays with its disk.
    pub server: u64,
    /// How often it was started.
    pub epoch: u64,
    /// Files of chunks that it has.
    pub files: u64,
    /// The room of its disk.
    pub total_bytes: u64,
    /// What may still be written to it.
    pub available_bytes: u64,
    /// How busy its machine is.
    pub load: Load,
}

/// How busy a server's machine is, each in thousandths; 0 where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Of the time, the disk had something to do.
    pub disk: u16,
    /// Of the time, processors had something to do.
    pub processors: u16,
    /// Of the memory, so much cannot be had by others.
    pub memory: u16,
}

/// Why a server did not do what it was asked. Nothing happened, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// What is left on its disk is reserved.
    #[error("the server's disk is full")]
    Full,
    /// It has no such file of the chunk.
    #[error("the server has no such file of the chunk")]
    NoFile,
    /// It has one with that number.
    #[error("the server has a file with that number")]
    Exists,
    /// The file takes no more needles, as after a restart of the server, or the place is taken: begin another chunk.
    #[error("the file takes no such needle any more: {0}")]
    Closed(String),
    /// What was sent or what is stored is damaged.
    #[error("damaged: {0}")]
    Damaged(String),
    /// It cannot be understood, or no chunk can do it.
    #[error("the request makes no sense: {0}")]
    Malformed(String),
    /// The disk failed. A needle may be there or not.
    #[error("the server's disk failed: {0}")]
    Disk(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let text = eddy_telemetry::error_chain(&error);
        match error {
            StoreError::Full { .. } => Self::Full,
            StoreError::Disk { source, .. } if source.kind() == io::ErrorKind::StorageFull => Self::Full,
            StoreError::NoFile(_) => Self::NoFile,
            StoreError::Exists(_) => Self::Exists,
            StoreError::Closed(_) | StoreError::Taken { .. } => Self::Closed(text),
            StoreError::Damaged { .. } | StoreError::DamagedHead(_) => Self::Damaged(text),
            StoreError::NoExtent => Self::Malformed(text),
            StoreError::Disk { .. } | StoreError::OtherCluster { .. } => Self::Disk(text),
        }
    }
}

/// A message as it is sent.
pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let encoded = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    with_length(encoded)
}

fn with_length(mut encoded: Vec<u8>) -> io::Result<Vec<u8>> {
    let length = encoded.len() - 4;
    if length > ANSWER_BYTES_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes is too long")));
    }
    encoded[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(encoded)
}

/// Sends a message.
pub(crate) async fn send<T: Serialize>(connection: &mut Box<dyn Connection>, message: &T) -> io::Result<()> {
    connection.write_all(&encode(message)?).await
}

/// Reads an answer.
pub(crate) async fn receive<T: DeserializeOwned>(connection: &mut Box<dyn Connection>) -> io::Result<T> {
    let first = connection.read_u8().await?;
    receive_begun(connection, first, ANSWER_BYTES_MAX).await
}

/// Reads a message whose first byte has come, and that is no longer than this.
pub(crate) async fn receive_begun<T: DeserializeOwned>(
    connection: &mut Box<dyn Connection>,
    first: u8,
    bytes_max: usize,
) -> io::Result<T> {
    let mut rest = [0; 3];
    connection.read_exact(&mut rest).await?;
    let length = u32::from_le_bytes([first, rest[0], rest[1], rest[2]]) as usize;
    if length > bytes_max {
        return Err(invalid(format!("a message of {length} bytes is too long")));
    }
    // Memory is taken as bytes arrive, not as they are announced.
    let mut message = Vec::new();
    connection.take(length as u64).read_to_end(&mut message).await?;
    if message.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    postcard::from_bytes(&message).map_err(|error| invalid(error.to_string()))
}

pub(crate) fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_needles_of_a_chunk_that_has_the_most_are_one_answer() {
        // Of one byte each.
        let needles =
            (0..64 * 1024 * 1024 / 40).map(|at| (Extent { chunk: u64::MAX, offset: at * 40, needle: u64::MAX, bytes: 1 }, false));
        let answer: Result<Answer, Refusal> = Ok(Answer::Needles(needles.collect()));
        let encoded = encode(&answer).unwrap();
        assert!(encoded.len() > 30_000_000);
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let sent = tokio::spawn(async move { client.write_all(&encoded).await });
        let mut connection: Box<dyn Connection> = Box::new(server);
        let received: Result<Answer, Refusal> = receive(&mut connection).await.unwrap();
        assert!(matches!((received, answer), (Ok(Answer::Needles(came)), Ok(Answer::Needles(went))) if came == went));
        sent.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_longer_request_is_refused_before_it_comes() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(&(REQUEST_BYTES_MAX as u32 + 1).to_le_bytes()).await.unwrap();
        let mut connection: Box<dyn Connection> = Box::new(server);
        let first = connection.read_u8().await.unwrap();
        let received = receive_begun::<Request>(&mut connection, first, REQUEST_BYTES_MAX).await;
        assert_eq!(received.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
