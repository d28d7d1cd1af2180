//! A client of chunkservers: connections to each are kept and used again.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use eddy_chunks::format::{BLOCK_BYTES, CHECKSUM_BYTES, STORED_BLOCK_BYTES, verify_blocks};
use eddy_chunks::{Extent, FileId};
use eddy_rpc::{Connection, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::address::{ServerAddress, Source};
use crate::protocol::{
    Answer, Greeting, MAGIC, PIECE_BYTES_MAX, PIECE_FAILED, Refusal, Request, ServerStatus, encode, invalid, receive, send,
};

/// Connections to one server that are kept while nobody needs them.
const IDLE_MAX: usize = 32;
/// Whatever is said next is said within this time, but for what means reading or copying much of a chunk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const SCAN_TIMEOUT: Duration = Duration::from_secs(120);
const PULL_TIMEOUT: Duration = Duration::from_secs(120);

/// Why a server's chunks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It cannot be reached or stalls. A needle that was being written may be there or not.
    #[error("failed to talk to chunkserver {address}")]
    Connection {
        /// Whom.
        address: String,
        /// What happened.
        source: io::Error,
    },
    /// It belongs to another cluster.
    #[error("chunkserver {0} belongs to another cluster")]
    OtherCluster(String),
    /// Another server has the address by now.
    #[error("chunkserver {found} is at {address}, and no longer {asked}")]
    OtherServer {
        /// Where.
        address: String,
        /// Whom one wanted.
        asked: u64,
        /// Who is there.
        found: u64,
    },
    /// It said no.
    #[error("chunkserver {address} refused")]
    Refused {
        /// Who.
        address: String,
        /// Why.
        source: Refusal,
    },
}

/// Talks to chunkservers of one cluster. Clones share connections.
#[derive(Clone)]
pub struct ChunkClient(Arc<Shared>);

struct Shared {
    transport: Arc<dyn Transport>,
    cluster: u64,
    idle: Mutex<HashMap<String, Vec<Greeted>>>,
}

/// A connection, and to which server.
struct Greeted {
    connection: Box<dyn Connection>,
    server: u64,
}

/// A connection that is taken, and whose.
struct Taken {
    connection: Box<dyn Connection>,
    server: u64,
    address: String,
    client: ChunkClient,
    /// It has been of use before.
    was_kept: bool,
}

/// A needle on its way to a server.
pub struct WriteCall(Taken);

/// A needle's bytes on their way from a server, checked.
pub struct ReadCall {
    taken: Option<Taken>,
    extent: Extent,
    range: Range<u32>,
    /// Stored bytes that are still to come.
    missing: u32,
    next_block: u32,
    /// Blocks that came and were not given yet.
    piece: Bytes,
}

impl ChunkClient {
    /// A client for a cluster's servers.
    pub fn new(transport: Arc<dyn Transport>, cluster: u64) -> Self {
        Self(Arc::new(Shared { transport, cluster, idle: Mutex::default() }))
    }

    /// Makes a file that takes needles.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create(&self, at: impl Into<ServerAddress>, id: FileId) -> Result<(), ClientError> {
        self.ask(&at.into(), Request::Create { id }, ANSWER_TIMEOUT).await.map(drop)
    }

    /// Ends the taking of needles.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn close(&self, at: impl Into<ServerAddress>, id: FileId) -> Result<(), ClientError> {
        self.ask(&at.into(), Request::Close { id }, ANSWER_TIMEOUT).await.map(drop)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove(&self, at: impl Into<ServerAddress>, id: FileId) -> Result<(), ClientError> {
        self.ask(&at.into(), Request::Remove { id }, ANSWER_TIMEOUT).await.map(drop)
    }

    /// All needles of a file, after all of it was read; whether each is damaged.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn scan(&self, at: impl Into<ServerAddress>, id: FileId) -> Result<Vec<(Extent, bool)>, ClientError> {
        let at = at.into();
        match self.ask(&at, Request::Scan { id }, SCAN_TIMEOUT).await? {
            Answer::Needles(needles) => Ok(needles),
            _ => Err(unexpected(&at.address)),
        }
    }

    /// All files, and their lengths.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list(&self, at: impl Into<ServerAddress>) -> Result<Vec<(FileId, u64)>, ClientError> {
        let at = at.into();
        match self.ask(&at, Request::List, ANSWER_TIMEOUT).await? {
            Answer::Files(files) => Ok(files),
            _ => Err(unexpected(&at.address)),
        }
    }

    /// How a server is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self, at: impl Into<ServerAddress>) -> Result<ServerStatus, ClientError> {
        let at = at.into();
        match self.ask(&at, Request::Status, ANSWER_TIMEOUT).await? {
            Answer::Status(status) => Ok(status),
            _ => Err(unexpected(&at.address)),
        }
    }

    /// Bytes of a file as they are, damaged or not, and fewer where it ends before.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub(crate) async fn read_unchecked(
        &self,
        at: &ServerAddress,
        id: FileId,
        start: u64,
        bytes: u32,
    ) -> Result<Vec<u8>, ClientError> {
        let (mut taken, answer) = self.begin(at, Request::ReadUnchecked { id, start, bytes }, ANSWER_TIMEOUT).await?;
        let length = match answer {
            Answer::Unchecked(length) if length <= bytes => length as usize,
            _ => return Err(unexpected(&at.address)),
        };
        let mut read = Vec::with_capacity(length);
        let came = in_time(ANSWER_TIMEOUT, async {
            let came = (&mut taken.connection).take(length as u64).read_to_end(&mut read).await?;
            if came == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        });
        came.await.map_err(|source| taken.failed(source))?;
        taken.give_back();
        Ok(read)
    }

    /// Has a server copy needles of one chunk from another server's file of it, into one of its own that takes needles: at most
    /// [`PULL_NEEDLES_MAX`](crate::PULL_NEEDLES_MAX), in the order of the file. They are durable when this returns, but for those that it
    /// returns: the other does not give them whole.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pull(
        &self,
        at: impl Into<ServerAddress>,
        file: u64,
        from: &Source,
        needles: Vec<Extent>,
    ) -> Result<Vec<Extent>, ClientError> {
        let at = at.into();
        let request = Request::Pull { file, from: from.clone(), needles };
        match self.ask(&at, request, PULL_TIMEOUT).await? {
            Answer::Missing(missing) => Ok(missing),
            _ => Err(unexpected(&at.address)),
        }
    }

    /// Begins to write a needle to a file of its chunk, with as many of its stored blocks as are there already.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn write(
        &self,
        at: impl Into<ServerAddress>,
        file: u64,
        extent: Extent,
        stored: &[u8],
    ) -> Result<WriteCall, ClientError> {
        let mut taken = self.take(&at.into()).await?;
        let message = encode(&Request::Write { file, extent }).map_err(|source| taken.failed(source))?;
        taken.send(&[&message, stored].concat()).await?;
        Ok(WriteCall(taken))
    }

    /// Reads some bytes of a needle, from a file of its chunk.
    ///
    /// # Errors
    /// See [`ClientError`]; where bytes are damaged, before any of their block is given.
    pub async fn read(
        &self,
        at: impl Into<ServerAddress>,
        file: u64,
        extent: Extent,
        range: Range<u32>,
    ) -> Result<ReadCall, ClientError> {
        let at = at.into();
        let request = Request::Read { file, extent, start: range.start, end: range.end };
        let (taken, answer) = self.begin(&at, request, ANSWER_TIMEOUT).await?;
        let Answer::Blocks(missing) = answer else { return Err(unexpected(&at.address)) };
        let blocks = extent.blocks(&range);
        if missing != blocks.bytes {
            return Err(unexpected(&at.address));
        }
        let call = ReadCall { taken: Some(taken), extent, range, missing, next_block: blocks.first, piece: Bytes::new() };
        Ok(if missing == 0 { call.ended() } else { call })
    }

    async fn ask(&self, at: &ServerAddress, request: Request, timeout: Duration) -> Result<Answer, ClientError> {
        let (taken, answer) = self.begin(at, request, timeout).await?;
        taken.give_back();
        Ok(answer)
    }

    /// Asks, once more where a connection that was kept had ended: as after the server was started again.
    async fn begin(&self, at: &ServerAddress, request: Request, timeout: Duration) -> Result<(Taken, Answer), ClientError> {
        loop {
            let mut taken = self.take(at).await?;
            match taken.ask(&request, timeout).await {
                Ok(answer) => return Ok((taken, answer)),
                Err(ClientError::Connection { source, .. }) if taken.was_kept && source.kind() != io::ErrorKind::TimedOut => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn take(&self, at: &ServerAddress) -> Result<Taken, ClientError> {
        let address = &at.address;
        let idle = self.idle().get_mut(address).and_then(|idle| {
            // Those to a server that was there before are of no use to anyone.
            idle.retain(|greeted| at.is(greeted.server));
            idle.pop()
        });
        let was_kept = idle.is_some();
        let Greeted { connection, server } = match idle {
            Some(greeted) => greeted,
            None => self.connect(address).await?,
        };
        match at.server {
            Some(asked) if asked != server => Err(ClientError::OtherServer { address: address.clone(), asked, found: server }),
            _ => Ok(Taken { connection, server, address: address.clone(), client: self.clone(), was_kept }),
        }
    }

    async fn connect(&self, address: &str) -> Result<Greeted, ClientError> {
        let greeted = in_time(ANSWER_TIMEOUT, async {
            let mut connection = self.0.transport.connect(address).await?;
            connection.write_all(&[&MAGIC[..], &self.0.cluster.to_le_bytes()].concat()).await?;
            let greeting: Greeting = receive(&mut connection).await?;
            Ok((connection, greeting))
        });
        match greeted.await.map_err(|source| ClientError::Connection { address: address.to_owned(), source })? {
            (connection, Greeting::Welcome { server }) => Ok(Greeted { connection, server }),
            (_, Greeting::OtherCluster) => Err(ClientError::OtherCluster(address.to_owned())),
        }
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<String, Vec<Greeted>>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn in_time<T>(timeout: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
    tokio::time::timeout(timeout, work).await.map_err(late)?
}

fn unexpected(address: &str) -> ClientError {
    let source = invalid("it answered something else than was asked".into());
    ClientError::Connection { address: address.to_owned(), source }
}

impl Taken {
    /// Whatever failed, other connections to the same server are as old.
    fn failed(&self, source: io::Error) -> ClientError {
        self.client.idle().remove(&self.address);
        ClientError::Connection { address: self.address.clone(), source }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let sent = in_time(ANSWER_TIMEOUT, self.connection.write_all(bytes)).await;
        sent.map_err(|source| self.failed(source))
    }

    async fn ask(&mut self, request: &Request, timeout: Duration) -> Result<Answer, ClientError> {
        let sent = in_time(timeout, send(&mut self.connection, request)).await;
        sent.map_err(|source| self.failed(source))?;
        self.answer(timeout).await
    }

    async fn answer(&mut self, timeout: Duration) -> Result<Answer, ClientError> {
        let answered = in_time(timeout, receive::<Result<Answer, Refusal>>(&mut self.connection)).await;
        let answered = answered.map_err(|source| self.failed(source))?;
        answered.map_err(|source| ClientError::Refused { address: self.address.clone(), source })
    }

    fn give_back(self) {
        let mut idle = self.client.idle();
        let idle = idle.entry(self.address).or_default();
        if idle.len() < IDLE_MAX {
            idle.push(Greeted { connection: self.connection, server: self.server });
        }
    }
}

impl WriteCall {
    /// Sends the next stored blocks.
    ///
    /// # Errors
    /// [`ClientError::Connection`].
    pub async fn send(&mut self, stored: &[u8]) -> Result<(), ClientError> {
        self.0.send(stored).await
    }

    /// Waits until the needle, all of whose blocks were sent, is durable.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn finish(mut self) -> Result<(), ClientError> {
        self.0.answer(ANSWER_TIMEOUT).await?;
        self.0.give_back();
        Ok(())
    }
}

impl ReadCall {
    /// Bytes of memory that the next of it takes; 0 where that has come already.
    pub fn next_bytes(&self) -> u32 {
        if self.piece.is_empty() { self.missing.min(PIECE_BYTES_MAX) } else { 0 }
    }

    /// The next bytes, at most a block's; none after the last.
    ///
    /// # Errors
    /// See [`ClientError`]: what was given is right, what is missing can be read elsewhere.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        if self.piece.is_empty() {
            let Some(taken) = self.taken.as_mut() else { return Ok(None) };
            self.piece = receive_piece(taken, self.missing, self.extent.needle, self.next_block).await?;
            self.missing -= self.piece.len() as u32;
            if self.missing == 0
                && let Some(taken) = self.taken.take()
            {
                taken.give_back();
            }
        }
        let block = self.piece.split_to(self.piece.len().min(STORED_BLOCK_BYTES as usize)).slice(CHECKSUM_BYTES as usize..);
        let start = self.next_block * BLOCK_BYTES;
        self.next_block += 1;
        let from = self.range.start.saturating_sub(start) as usize;
        let to = ((self.range.end - start) as usize).min(block.len());
        Ok(Some(block.slice(from.min(to)..to)))
    }

    fn ended(mut self) -> Self {
        if let Some(taken) = self.taken.take() {
            taken.give_back();
        }
        self
    }
}

/// The next stored blocks, after their checksums were found right.
async fn receive_piece(taken: &mut Taken, missing: u32, needle: u64, first: u32) -> Result<Bytes, ClientError> {
    let received = in_time(ANSWER_TIMEOUT, async {
        let connection = &mut taken.connection;
        let length = connection.read_u32_le().await?;
        if length == PIECE_FAILED {
            return Ok(Err(receive::<Refusal>(connection).await?));
        }
        let whole = length == missing || length < missing && length.is_multiple_of(STORED_BLOCK_BYTES);
        if length == 0 || length > PIECE_BYTES_MAX || !whole {
            return Err(invalid(format!("{length} bytes are no piece")));
        }
        let mut piece = vec![0; length as usize];
        connection.read_exact(&mut piece).await?;
        verify_blocks(needle, first, &piece).map(drop).map_err(|damage| invalid(damage.to_string()))?;
        Ok(Ok(Bytes::from(piece)))
    });
    let received = received.await.map_err(|source| taken.failed(source))?;
    received.map_err(|source| ClientError::Refused { address: taken.address.clone(), source })
}
