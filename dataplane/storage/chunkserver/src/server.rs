//! The server of one disk's chunks.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eddy_chunks::format::{BLOCK_BYTES, STRETCH_BYTES_MAX};
use eddy_chunks::{ChunkStore, Extent, FileId, StoreError, Writing};
use eddy_rpc::{Connection, Listener, Transport, accept_all};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::ChunkClient;
use crate::committer::Committer;
use crate::protocol::{
    Answer, Greeting, Load, MAGIC, PIECE_BLOCKS, PIECE_BYTES_MAX, PIECE_FAILED, REQUEST_BYTES_MAX, Refusal, Request,
    ServerStatus, encode, receive_begun, send,
};

/// Connections at once; more wait in the kernel.
const CONNECTIONS_MAX: usize = 1024;
/// Whoever connects says what it speaks within this time.
const PREAMBLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Whoever has begun to say something goes on within this time.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The next piece of a needle comes within this time: whoever sends it may have a client who is slow. One that is gone, the kernel notices.
const PIECE_TIMEOUT: Duration = Duration::from_secs(300);

/// What answers.
#[derive(Clone)]
pub struct Server {
    pub(crate) store: Arc<ChunkStore>,
    pub(crate) committer: Committer,
    /// To the others, for what is copied from them.
    pub(crate) client: ChunkClient,
    cluster: u64,
    load: Arc<Mutex<Load>>,
}

/// Answers whoever connects, until it is dropped.
pub async fn serve(listener: Box<dyn Listener>, server: Server) {
    accept_all(listener, CONNECTIONS_MAX, |mut connection, peer| {
        let server = server.clone();
        async move {
            if let Err(error) = server.converse(&mut connection).await {
                tracing::debug!(%peer, %error, "a connection ended");
            }
        }
    })
    .await;
}

/// What takes longer than a stalled client may.
async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    within(STALL_TIMEOUT, work).await
}

async fn within<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the other side stalls");
    tokio::time::timeout(time, work).await.map_err(late)?
}

impl Server {
    /// Serves these chunks of a cluster; the other servers are reached over this network.
    ///
    /// # Errors
    /// Where the kernel gives no thread.
    pub fn new(store: Arc<ChunkStore>, cluster: u64, transport: Arc<dyn Transport>) -> io::Result<Self> {
        let committer = Committer::start(store.disk())?;
        let client = ChunkClient::new(transport, cluster);
        Ok(Self { store, committer, client, cluster, load: Arc::default() })
    }

    /// Says how busy its machine is from now on.
    pub fn set_load(&self, load: Load) {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner) = load;
    }

    /// How it is.
    ///
    /// # Errors
    /// The disk's.
    pub fn status(&self) -> Result<ServerStatus, StoreError> {
        let space = self.store.space()?;
        Ok(ServerStatus {
            server: self.store.server(),
            epoch: self.store.epoch(),
            files: self.store.list().len() as u64,
            total_bytes: space.total_bytes,
            // What is left beyond that is not for chunks.
            available_bytes: space.available_bytes.saturating_sub(self.store.reserved_bytes()),
            load: *self.load.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    async fn converse(&self, connection: &mut Box<dyn Connection>) -> io::Result<()> {
        let mut preamble = [0; 16];
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it did not say what it speaks");
        tokio::time::timeout(PREAMBLE_TIMEOUT, connection.read_exact(&mut preamble)).await.map_err(late)??;
        if preamble[..8] != MAGIC {
            return Err(crate::protocol::invalid("it speaks something else".into()));
        }
        if preamble[8..] != self.cluster.to_le_bytes() {
            return send(connection, &Greeting::OtherCluster).await;
        }
        send(connection, &Greeting::Welcome { server: self.store.server() }).await?;
        loop {
            // A connection without a request may wait for as long as it likes.
            let first = connection.read_u8().await?;
            let request: Request = in_time(receive_begun(connection, first, REQUEST_BYTES_MAX)).await?;
            match request {
                Request::Read { file, extent, start, end } => self.read(connection, (file, extent), start, end).await?,
                Request::ReadUnchecked { id, start, bytes } => self.read_unchecked(connection, id, start, bytes).await?,
                Request::Pull { file, from, needles } => {
                    let pulled = self.pull(file, &from, needles).await;
                    send(connection, &pulled.map(Answer::Missing)).await?;
                }
                Request::Write { file, extent } => {
                    let written = self.write(connection, file, extent).await?;
                    send(connection, &written.map(|()| Answer::Done)).await?;
                }
                request => {
                    let done = self.control(request).await;
                    send(connection, &done).await?;
                }
            }
        }
    }

    /// Runs what waits for the disk.
    pub(crate) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let ended = |error: tokio::task::JoinError| Refusal::Disk(error.to_string());
        eddy_disk::run(self.store.disk(), work).await.map_err(ended)?.map_err(Refusal::from)
    }

    async fn control(&self, request: Request) -> Result<Answer, Refusal> {
        let server = self.clone();
        self.on_disk(move || {
            let store = &server.store;
            Ok(match request {
                Request::Create { id } => store.create(id).map(|()| Answer::Done)?,
                Request::Close { id } => store.close(id).map(|()| Answer::Done)?,
                Request::Remove { id } => store.remove(id).map(|()| Answer::Done)?,
                Request::Scan { id } => {
                    let found = store.scan(id)?;
                    Answer::Needles(found.iter().map(|found| (found.extent, found.damage.is_some())).collect())
                }
                Request::List => Answer::Files(store.list_with_lengths()),
                Request::Status
                | Request::Read { .. }
                | Request::ReadUnchecked { .. }
                | Request::Pull { .. }
                | Request::Write { .. } => Answer::Status(server.status()?),
            })
        })
        .await
    }

    /// Stores a needle as it arrives. After a refusal the rest of it is read and dropped.
    async fn write(&self, connection: &mut Box<dyn Connection>, file: u64, extent: Extent) -> io::Result<Result<(), Refusal>> {
        let mut missing = if extent.is_valid() { extent.blocks(&(0..extent.bytes)).bytes } else { 0 };
        let mut writing = self.store.begin(file, extent).map_err(Refusal::from);
        while missing > 0 {
            let mut piece = vec![0; missing.min(PIECE_BYTES_MAX) as usize];
            if let Err(error) = within(PIECE_TIMEOUT, async { connection.read_exact(&mut piece).await.map(drop) }).await {
                // What did not come takes no room.
                if let Ok(writing) = writing {
                    self.store.give_up(writing);
                }
                return Err(error);
            }
            missing -= piece.len() as u32;
            writing = match writing {
                Ok(writing) => self.write_piece(writing, piece).await,
                refused => refused,
            };
        }
        let point = match writing.and_then(|writing| writing.finish().map_err(Refusal::from)) {
            Ok(point) => point,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(self.committer.sync(point).await)
    }

    /// Sends stored blocks, piece by piece.
    async fn read(
        &self,
        connection: &mut Box<dyn Connection>,
        (file, extent): (u64, Extent),
        start: u32,
        end: u32,
    ) -> io::Result<()> {
        if !extent.is_valid() || start > end || end > extent.bytes {
            return send(connection, &Err::<Answer, _>(Refusal::Malformed("there are no such bytes".into()))).await;
        }
        let total = extent.blocks(&(start..end)).bytes;
        let mut from = start;
        let mut message = Vec::new();
        let mut begun = false;
        while from < end || !begun {
            let to = end.min((from / BLOCK_BYTES + PIECE_BLOCKS) * BLOCK_BYTES);
            let piece = self.read_piece(file, extent, from, to).await;
            match (piece, begun) {
                (Ok(piece), _) => {
                    if !begun {
                        message = encode(&Ok::<_, Refusal>(Answer::Blocks(total)))?;
                    }
                    if total > 0 {
                        message.extend_from_slice(&(piece.len() as u32).to_le_bytes());
                        message.extend_from_slice(&piece);
                    }
                }
                (Err(refusal), false) => return send(connection, &Err::<Answer, _>(refusal)).await,
                (Err(refusal), true) => {
                    message.extend_from_slice(&PIECE_FAILED.to_le_bytes());
                    message.extend(encode(&refusal)?);
                    return connection.write_all(&message).await;
                }
            }
            in_time(connection.write_all(&message)).await?;
            message.clear();
            (from, begun) = (to, true);
        }
        Ok(())
    }

    async fn read_unchecked(&self, connection: &mut Box<dyn Connection>, id: FileId, start: u64, bytes: u32) -> io::Result<()> {
        if bytes > STRETCH_BYTES_MAX {
            return send(connection, &Err::<Answer, _>(Refusal::Malformed("these are too many bytes at once".into()))).await;
        }
        let store = self.store.clone();
        match self.on_disk(move || store.read_unchecked(id, start, bytes)).await {
            Err(refusal) => send(connection, &Err::<Answer, _>(refusal)).await,
            Ok(read) => {
                in_time(async {
                    send(connection, &Ok::<_, Refusal>(Answer::Unchecked(read.len() as u32))).await?;
                    connection.write_all(&read).await
                })
                .await
            }
        }
    }

    async fn read_piece(&self, file: u64, extent: Extent, from: u32, to: u32) -> Result<Vec<u8>, Refusal> {
        if let Some(piece) = self.store.read_blocks(file, &extent, &(from..to), true)? {
            return Ok(piece);
        }
        let store = self.store.clone();
        let piece = self.on_disk(move || store.read_blocks(file, &extent, &(from..to), false)).await?;
        Ok(piece.unwrap_or_default())
    }

    /// Small ones go to the page cache at once, which is quicker than asking another thread to do it.
    async fn write_piece(&self, mut writing: Writing, piece: Vec<u8>) -> Result<Writing, Refusal> {
        if piece.len() <= BLOCK_BYTES as usize {
            writing.write(&piece)?;
            return Ok(writing);
        }
        self.on_disk(move || writing.write(&piece).map(|()| writing)).await
    }
}
