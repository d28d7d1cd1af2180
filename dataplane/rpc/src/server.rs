//! The side that answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::codec::FramedRead;

use crate::accept::accept_all;
use crate::client::write_all;
use crate::frame::{Frame, FrameCodec, FrameError, Kind, PREAMBLE};
use crate::transport::{Connection, Listener};

/// Whoever connects says what it speaks within this time.
const PREAMBLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers that wait to be written; more wait for room.
const UNWRITTEN_MAX: usize = 64;

/// Answers requests.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The answer, or the end of one whose parts went before.
    async fn answer(&self, request: Bytes, parts: &Parts) -> Bytes;
}

/// What strangers may take.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Connections at once; more wait in the kernel.
    pub connections: usize,
    /// Requests of one connection that are answered at once; more wait.
    pub requests: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { connections: 1024, requests: 1024 }
    }
}

/// Where parts of one answer go.
pub struct Parts {
    call: u64,
    frames: mpsc::Sender<Frame>,
}

/// Whoever asked is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("whoever asked is gone")]
pub struct Gone;

impl Parts {
    /// Sends a part; waits while the other side does not take them.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn send(&self, payload: Bytes) -> Result<(), Gone> {
        self.frames.send(Frame { call: self.call, kind: Kind::Part, payload }).await.map_err(|_| Gone)
    }
}

/// Answers whoever connects, until it is dropped; then what is under way ends, too.
pub async fn serve(listener: Box<dyn Listener>, handler: Arc<dyn Handler>, limits: ServerLimits) {
    accept_all(listener, limits.connections, |connection, peer| {
        let handler = handler.clone();
        async move {
            if let Err(error) = answer_all(connection, handler, limits.requests).await {
                tracing::debug!(%peer, %error, "a connection ended");
            }
        }
    })
    .await;
}

async fn answer_all(
    mut connection: Box<dyn Connection>,
    handler: Arc<dyn Handler>,
    requests_max: usize,
) -> Result<(), FrameError> {
    let mut preamble = [0; PREAMBLE.len()];
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it did not say what it speaks");
    tokio::time::timeout(PREAMBLE_TIMEOUT, connection.read_exact(&mut preamble)).await.map_err(late)??;
    if preamble != PREAMBLE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks something else").into());
    }
    let (read, write) = tokio::io::split(connection);
    let (frames, unwritten) = mpsc::channel(UNWRITTEN_MAX);
    tokio::select! {
        ended = write_all(write, unwritten) => ended,
        ended = read_requests(FramedRead::new(read, FrameCodec), frames, handler, requests_max) => ended,
    }
}

async fn read_requests(
    mut requests: FramedRead<tokio::io::ReadHalf<Box<dyn Connection>>, FrameCodec>,
    frames: mpsc::Sender<Frame>,
    handler: Arc<dyn Handler>,
    requests_max: usize,
) -> Result<(), FrameError> {
    let room = Arc::new(Semaphore::new(requests_max));
    let mut under_way = JoinSet::new();
    while let Some(frame) = requests.next().await {
        let Frame { call, payload, .. } = frame?;
        let Ok(permit) = room.clone().acquire_owned().await else { break };
        let (handler, parts) = (handler.clone(), Parts { call, frames: frames.clone() });
        under_way.spawn(async move {
            let payload = handler.answer(payload, &parts).await;
            // Whoever asked may be gone.
            let _ = parts.frames.send(Frame { call, kind: Kind::Answer, payload }).await;
            drop(permit);
        });
        while under_way.try_join_next().is_some() {}
    }
    Ok(())
}
