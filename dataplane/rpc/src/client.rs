//! The side that asks.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::task::AbortOnDropHandle;

use crate::frame::{Frame, FrameCodec, FrameError, Kind, PREAMBLE};
use crate::transport::{Connection, Transport};

/// Requests that wait to be written; more wait for room.
const UNWRITTEN_MAX: usize = 1024;
/// Parts of one answer that wait to be taken. A caller that takes them slowly holds up all calls of its connection.
const PARTS_MAX: usize = 4;
/// Bytes that are gathered for one write.
pub(crate) const WRITE_BYTES: usize = 128 * 1024;
/// For so long after a failure to connect, calls fail at once.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);
/// Where callers gave up and nothing at all was heard for so long, the next call connects anew: the other side may be there no more, or
/// what is between may have forgotten this connection.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The other side has heard nothing.
    #[error("failed to reach {address}: {reason}")]
    NotSent {
        /// Whom.
        address: String,
        /// What is known of it.
        reason: String,
    },
    /// The connection ended first: the other side may have heard the request and done what it says.
    #[error("lost the connection to {address} before it answered")]
    Lost {
        /// Whose.
        address: String,
    },
}

/// Calls to one address. It connects when it must, and again after a loss.
pub struct Client {
    transport: Arc<dyn Transport>,
    address: String,
    state: tokio::sync::Mutex<State>,
    calls: AtomicU64,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    connecting: Option<AbortOnDropHandle<Result<Open, Failure>>>,
    failure: Option<Failure>,
}

/// When connecting failed, and why.
type Failure = (Instant, String);

/// A connection and the two tasks that serve it; it closes with the last holder.
#[derive(Clone)]
struct Open {
    requests: mpsc::Sender<Frame>,
    waiting: Waiting,
    _reading: Arc<AbortOnDropHandle<()>>,
}

/// Who waits for answers, by call; none once the connection is lost.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<Option<Calls>>>);

#[derive(Default)]
struct Calls {
    by_number: HashMap<u64, mpsc::Sender<Frame>>,
    /// When the first call began of those since anything was heard.
    unanswered_since: Option<Instant>,
}

/// The parts of one answer.
pub struct Answers {
    call: u64,
    frames: mpsc::Receiver<Frame>,
    open: Open,
    address: String,
    ended: bool,
}

impl Client {
    /// Calls to `host:port`, none yet.
    pub fn new(transport: Arc<dyn Transport>, address: impl Into<String>) -> Self {
        let address = address.into();
        transport.expect(&address);
        Self { transport, address, state: tokio::sync::Mutex::default(), calls: AtomicU64::new(0) }
    }

    /// Whom it calls.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks for an answer in one piece. It waits for as long as that takes.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, request: Bytes) -> Result<Bytes, CallError> {
        let mut answers = self.start(request, 1).await?;
        let last = answers.next().await?;
        last.ok_or_else(|| CallError::Lost { address: self.address.clone() })
    }

    /// Asks for an answer in parts, best over a client of its own.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn stream(&self, request: Bytes) -> Result<Answers, CallError> {
        self.start(request, PARTS_MAX).await
    }

    async fn start(&self, request: Bytes, parts: usize) -> Result<Answers, CallError> {
        let open = self.open().await?;
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let (give, frames) = mpsc::channel(parts);
        let not_sent = || CallError::NotSent { address: self.address.clone(), reason: "the connection was lost".into() };
        open.waiting.add(call, give).ok_or_else(not_sent)?;
        let answers = Answers { call, frames, open, address: self.address.clone(), ended: false };
        let frame = Frame { call, kind: Kind::Request, payload: request };
        answers.open.requests.send(frame).await.map_err(|_| not_sent())?;
        Ok(answers)
    }

    async fn open(&self) -> Result<Open, CallError> {
        let failed = |reason: &str| CallError::NotSent { address: self.address.clone(), reason: reason.to_owned() };
        let mut state = self.state.lock().await;
        if let Some(open) = state.open.as_ref().filter(|open| !open.waiting.is_lost()) {
            return Ok(open.clone());
        }
        state.open = None;
        loop {
            if let Some((_, reason)) = state.failure.as_ref().filter(|(at, _)| at.elapsed() < PAUSE_AFTER_FAILURE) {
                return Err(failed(reason));
            }
            let connecting = state.connecting.get_or_insert_with(|| connecting(self.transport.clone(), self.address.clone()));
            let connected = connecting.await;
            state.connecting = None;
            match connected {
                // It may have been there for a while.
                Ok(Ok(open)) if open.waiting.is_lost() => {
                    state.failure = Some((Instant::now(), "the connection was lost".into()));
                }
                Ok(Ok(open)) => {
                    state.failure = None;
                    return Ok(state.open.insert(open).clone());
                }
                Ok(Err(failure)) => state.failure = Some(failure),
                Err(ended) => return Err(failed(&ended.to_string())),
            }
        }
    }
}

/// Connects even if the caller that first wanted it is not patient enough to see it: otherwise, callers that each wait less than
/// connecting takes would never get there.
fn connecting(transport: Arc<dyn Transport>, address: String) -> AbortOnDropHandle<Result<Open, Failure>> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        connect(transport.as_ref(), address).await.map_err(|error| (Instant::now(), error.to_string()))
    }))
}

async fn connect(transport: &dyn Transport, address: String) -> io::Result<Open> {
    let mut connection = transport.connect(&address).await?;
    connection.write_all(&PREAMBLE).await?;
    let (read, write) = tokio::io::split(connection);
    let (requests, unwritten) = mpsc::channel(UNWRITTEN_MAX);
    let waiting = Waiting(Arc::new(Mutex::new(Some(Calls::default()))));
    let (writing, reading) = (write_all(write, unwritten), read_all(read, waiting.clone()));
    let lost = waiting.clone();
    let task = tokio::spawn(async move {
        let ended = tokio::select! { ended = writing => ended, ended = reading => ended };
        if let Err(error) = ended {
            tracing::debug!(address, %error, "lost a connection");
        }
        lost.lose();
    });
    Ok(Open { requests, waiting, _reading: Arc::new(AbortOnDropHandle::new(task)) })
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Option<Calls>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_lost(&self) -> bool {
        self.lock().is_none()
    }

    /// None if the connection is lost.
    fn add(&self, call: u64, give: mpsc::Sender<Frame>) -> Option<()> {
        let mut waiting = self.lock();
        let calls = waiting.as_mut()?;
        calls.by_number.insert(call, give);
        calls.unanswered_since.get_or_insert_with(Instant::now);
        Some(())
    }

    /// A caller gave up. Whether the connection can still be of use.
    fn give_up(&self, call: u64) -> bool {
        let mut waiting = self.lock();
        let Some(calls) = waiting.as_mut() else { return false };
        calls.by_number.remove(&call);
        calls.unanswered_since.is_none_or(|since| since.elapsed() < SILENCE_MAX)
    }

    /// Who waits for this frame. After the last one, nobody does.
    fn of(&self, frame: &Frame) -> Option<mpsc::Sender<Frame>> {
        let mut waiting = self.lock();
        let calls = waiting.as_mut()?;
        calls.unanswered_since = None;
        if frame.kind == Kind::Part { calls.by_number.get(&frame.call).cloned() } else { calls.by_number.remove(&frame.call) }
    }

    fn lose(&self) {
        *self.lock() = None;
    }
}

/// Writes requests, many at a time where many wait.
pub(crate) async fn write_all(
    write: WriteHalf<Box<dyn Connection>>,
    mut frames: mpsc::Receiver<Frame>,
) -> Result<(), FrameError> {
    let mut writer = FramedWrite::new(write, FrameCodec);
    writer.set_backpressure_boundary(WRITE_BYTES);
    while let Some(frame) = frames.recv().await {
        writer.feed(frame).await?;
        while let Ok(frame) = frames.try_recv() {
            writer.feed(frame).await?;
        }
        writer.flush().await?;
    }
    Ok(())
}

async fn read_all(read: ReadHalf<Box<dyn Connection>>, waiting: Waiting) -> Result<(), FrameError> {
    let mut reader = FramedRead::new(read, FrameCodec);
    while let Some(frame) = reader.next().await {
        let frame = frame?;
        if let Some(give) = waiting.of(&frame) {
            // Nobody may be waiting any more.
            let _ = give.send(frame).await;
        }
    }
    Ok(())
}

impl Answers {
    /// The next part; none after the last.
    ///
    /// # Errors
    /// [`CallError::Lost`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        if self.ended {
            return Ok(None);
        }
        let frame = self.frames.recv().await.ok_or_else(|| CallError::Lost { address: self.address.clone() })?;
        self.ended = frame.kind == Kind::Answer;
        Ok(Some(frame.payload))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if !self.ended && !self.open.waiting.give_up(self.call) {
            self.open.waiting.lose();
        }
    }
}
