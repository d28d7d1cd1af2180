//! Reading an object.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use eddy_chunks::Extent;
use eddy_chunks::format::STORED_BLOCK_BYTES;
use eddy_chunkserver::{ClientError, ReadCall, Refusal};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::coded::Coded;
use crate::error::{ObjectError, Result};
use crate::memory::{Buffers, Held};
use crate::objects::Objects;
use crate::replicas::Location;
use crate::schema::{Contents, Replica, Run};

/// A server that has not answered for so long gets company: another one is asked, too.
const HEDGE_AFTER: Duration = Duration::from_millis(50);
/// One that has begun to answer and then gives nothing for so long is left for another one, if there is any.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// An object's bytes on their way, checked. Where one server fails, another one goes on.
pub struct Download {
    objects: Objects,
    /// What is still to be read, behind the needles.
    pieces: VecDeque<Span>,
    /// Needles that are still to be read, and from and to where.
    left: VecDeque<(Extent, u32, u32)>,
    current: Option<Current>,
    /// What came of the first needle that is left, where all of it is to be kept in memory.
    gathered: Option<BytesMut>,
    /// Those that failed to give the first needle that is left.
    failed: Vec<Replica>,
    /// Those that were slow to. They are asked again when nobody else is left.
    slow: Vec<Replica>,
    last: String,
}

/// Where bytes come from.
enum Current {
    /// One that has the whole chunk.
    Whole(Box<Reading>),
    /// Shards: these blocks came, in this memory, and more may have to be asked for.
    Coded(VecDeque<Bytes>, Held),
}

/// A read of one replica.
struct Reading {
    replica: Replica,
    call: ReadCall,
    /// Whether there are others to ask.
    others: bool,
    /// Memory for what came of it.
    held: Held,
}

/// Some of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// Whose piece.
    upload: u64,
    piece: u16,
    from: u64,
    to: u64,
}

impl Reading {
    /// What comes next, in memory of these buffers; nothing where that takes long and another can be asked.
    async fn next(&mut self, buffers: Buffers) -> Option<Result<Option<Bytes>, ClientError>> {
        let blocks = self.call.next_bytes().div_ceil(STORED_BLOCK_BYTES);
        if blocks > 0 {
            // What came before has been taken.
            drop(std::mem::take(&mut self.held));
            self.held = buffers.take(blocks).await;
        }
        match self.others {
            true => tokio::time::timeout(SLOW_AFTER, self.call.next()).await.ok(),
            false => Some(self.call.next().await),
        }
    }
}

impl Download {
    pub(crate) fn new(objects: Objects, upload: u64, contents: &Contents, start: u64, end: u64) -> Self {
        let (pieces, left) = (VecDeque::new(), VecDeque::new());
        let (failed, slow, last) = (Vec::new(), Vec::new(), "no server has it".into());
        let mut download = Self { objects, pieces, left, current: None, gathered: None, failed, slow, last };
        download.add(upload, contents, start, end);
        download
    }

    /// Some of what is named somewhere is to be read before all else.
    fn add(&mut self, upload: u64, contents: &Contents, start: u64, end: u64) {
        match contents {
            Contents::Needles(needles) => self.left.extend(needles_within(needles, start, end)),
            Contents::Pieces(runs) => {
                for span in spans_within(upload, runs, start, end).into_iter().rev() {
                    self.pieces.push_front(span);
                }
            }
        }
    }

    /// Asks where the next piece's bytes are.
    async fn open_piece(&mut self, Span { upload, piece, from, to }: Span) -> Result<()> {
        let row = self.objects.metadata().pieces_from(upload, piece, 1).await?.pop().filter(|(number, _)| *number == piece);
        let (_, row) = row.ok_or_else(|| ObjectError::Unreadable("it was replaced or deleted meanwhile".into()))?;
        self.add(row.upload, &row.contents, from, to);
        Ok(())
    }

    /// The next bytes, at most a block's, or all of a short needle; none after the last.
    ///
    /// # Errors
    /// [`ObjectError::Unreadable`] when no server is left to ask, or the store's.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some((extent, from, to)) = self.left.front().copied() else {
                let Some(span) = self.pieces.pop_front() else { return Ok(None) };
                self.open_piece(span).await?;
                continue;
            };
            let cache = &self.objects.shared().cache;
            if self.current.is_none() && cache.takes(&extent) {
                if let Some(needle) = cache.get(&extent) {
                    self.gathered = None;
                    self.left.pop_front();
                    return Ok(Some(needle.slice(from as usize..to as usize)));
                }
                if (from, to) == (0, extent.bytes) {
                    self.gathered = Some(BytesMut::with_capacity(to as usize));
                }
            }
            let current = match self.current.take() {
                Some(current) => current,
                None => self.open(extent, from, to).await?,
            };
            let Some(block) = self.block(current, extent.chunk).await else { continue };
            let from = from + block.len() as u32;
            if let Some(gathered) = &mut self.gathered {
                gathered.extend_from_slice(&block);
            }
            if from == to {
                if let Some(gathered) = self.gathered.take() {
                    self.objects.shared().cache.put(extent, &gathered);
                }
                self.current = None;
                self.left.pop_front();
                self.failed.clear();
                self.slow.clear();
            } else {
                self.left[0].1 = from;
            }
            return Ok(Some(block));
        }
    }

    /// The next block; none where another server is to be asked.
    async fn block(&mut self, current: Current, chunk: u64) -> Option<Bytes> {
        match current {
            Current::Whole(mut reading) => {
                let replica = reading.replica;
                match reading.next(self.objects.shared().outgoing.clone()).await {
                    Some(Ok(Some(block))) => {
                        self.current = Some(Current::Whole(reading));
                        return Some(block);
                    }
                    Some(Ok(None)) => self.fail(replica, chunk, "it ended too soon".into(), false),
                    Some(Err(error)) => self.fail_with(replica, chunk, &error),
                    None => {
                        tracing::info!(server = replica.server, chunk, "a chunkserver is slow; reading from another one");
                        self.slow.push(replica);
                    }
                }
            }
            Current::Coded(mut blocks, held) => {
                let block = blocks.pop_front();
                self.current = (!blocks.is_empty()).then_some(Current::Coded(blocks, held));
                return block;
            }
        }
        None
    }

    /// Asks whoever has it, as far as that is known, and where they have it no more, whoever has it by now.
    async fn open(&mut self, extent: Extent, from: u32, to: u32) -> Result<Current> {
        let objects = self.objects.clone();
        let shared = objects.shared();
        for _ in 0..2 {
            let found = match shared.locations.of(&shared.metadata, extent.chunk).await? {
                Location::Whole(replicas) => self.open_at(&replicas, extent, from, to).await,
                // It is large, and every reading would be.
                Location::Coded(coded) => {
                    let held = shared.outgoing.take(Coded::blocks_at_once(&(from..to))).await;
                    match Box::pin(coded.blocks(&objects, &extent, from..to)).await {
                        Ok(blocks) => Some(Current::Coded(blocks.into(), held)),
                        Err(error) => {
                            self.last = error.to_string();
                            None
                        }
                    }
                }
            };
            if let Some(found) = found {
                return Ok(found);
            }
            shared.locations.forget(extent.chunk);
            self.slow.clear();
        }
        Err(ObjectError::Unreadable(self.last.clone()))
    }

    /// Asks a server that has not failed, and after a while another.
    async fn open_at(&mut self, replicas: &[Replica], extent: Extent, from: u32, to: u32) -> Option<Current> {
        let shared = self.objects.clone();
        let shared = shared.shared();
        let left = |one: &Replica| !self.failed.contains(one) && !self.slow.contains(one);
        let mut order: Vec<Replica> = replicas.iter().copied().filter(left).collect();
        let others = order.len() > 1;
        fastrand::shuffle(&mut order);
        let mut order = order.into_iter();
        let ask = |replica: Replica| async move {
            let Some(address) = shared.servers.address(replica.server) else { return (replica, None) };
            (replica, Some(shared.client.read(&address, replica.file, extent, from..to).await))
        };
        let mut asked = FuturesUnordered::new();
        loop {
            if asked.is_empty() {
                let replica = order.next()?;
                asked.push(ask(replica));
            }
            let answered = if order.len() == 0 {
                asked.next().await
            } else {
                match tokio::time::timeout(HEDGE_AFTER, asked.next()).await {
                    Ok(answered) => answered,
                    Err(_) => {
                        asked.extend(order.next().map(ask));
                        continue;
                    }
                }
            };
            match answered {
                Some((replica, Some(Ok(call)))) => {
                    return Some(Current::Whole(Box::new(Reading { replica, call, others, held: Held::default() })));
                }
                Some((replica, Some(Err(error)))) => self.fail_with(replica, extent.chunk, &error),
                Some((replica, None)) => self.fail(replica, extent.chunk, "its address is not known".into(), false),
                None => {}
            }
        }
    }

    fn fail_with(&mut self, replica: Replica, chunk: u64, error: &ClientError) {
        let lacks = matches!(error, ClientError::Refused { source: Refusal::Damaged(_) | Refusal::NoFile, .. });
        self.fail(replica, chunk, eddy_telemetry::error_chain(error), lacks);
    }

    /// Goes on without a replica; what it lacks is repaired.
    fn fail(&mut self, replica: Replica, chunk: u64, reason: String, lacks: bool) {
        tracing::info!(server = replica.server, chunk, reason, "reading from another chunkserver");
        if lacks {
            // It may have been repaired elsewhere.
            self.objects.shared().locations.forget(chunk);
            self.objects.degrade(chunk, replica);
        }
        self.failed.push(replica);
        self.last = reason;
    }
}

/// The needles that have the bytes from `start` to before `end`, and which of theirs those are.
fn needles_within(needles: &[Extent], start: u64, end: u64) -> Vec<(Extent, u32, u32)> {
    let (mut within, mut at) = (Vec::new(), 0);
    for extent in needles {
        let length = u64::from(extent.bytes);
        let (from, to) = (start.clamp(at, at + length) - at, end.clamp(at, at + length) - at);
        if from < to {
            within.push((*extent, from as u32, to as u32));
        }
        at += length;
    }
    within
}

/// The pieces that have the bytes from `start` to before `end`, and which of theirs those are.
fn spans_within(upload: u64, runs: &[Run], start: u64, end: u64) -> Vec<Span> {
    let (mut within, mut at) = (Vec::new(), 0);
    for run in runs {
        for piece in (0..run.count).map(|piece| run.first + piece) {
            let (from, to) = (start.clamp(at, at + run.bytes) - at, end.clamp(at, at + run.bytes) - at);
            if from < to {
                within.push(Span { upload, piece, from, to });
            }
            at += run.bytes;
        }
    }
    within
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_in_pieces() {
        let runs =
            [Run { first: 1, count: 3, bytes: 10 }, Run { first: 7, count: 1, bytes: 0 }, Run { first: 9, count: 1, bytes: 4 }];
        let span = |piece, from, to| Span { upload: 5, piece, from, to };
        assert_eq!(spans_within(5, &runs, 0, 34), [span(1, 0, 10), span(2, 0, 10), span(3, 0, 10), span(9, 0, 4)]);
        assert_eq!(spans_within(5, &runs, 15, 31), [span(2, 5, 10), span(3, 0, 10), span(9, 0, 1)]);
        assert_eq!(spans_within(5, &runs, 10, 20), [span(2, 0, 10)]);
        assert_eq!(spans_within(5, &runs, 12, 12), []);
    }
}
