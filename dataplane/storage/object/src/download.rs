//! Reading an object.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use eddy_chunks::Extent;
use eddy_chunkserver::{ClientError, ReadCall, Refusal};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::error::{ObjectError, Result};
use crate::objects::Objects;
use crate::replicas::Location;
use crate::schema::{Contents, Run};

/// A server that has not answered for so long gets company: another one is asked, too.
const HEDGE_AFTER: Duration = Duration::from_millis(50);

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
    /// Servers that failed to give the first needle that is left.
    failed: Vec<u64>,
    last: String,
}

/// Where bytes come from.
enum Current {
    /// A server that has the whole chunk.
    Whole(u64, ReadCall),
    /// Shards: these blocks came, and more may have to be asked for.
    Coded(VecDeque<Bytes>),
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

impl Download {
    pub(crate) fn new(objects: Objects, upload: u64, contents: &Contents, start: u64, end: u64) -> Self {
        let (pieces, left) = (VecDeque::new(), VecDeque::new());
        let mut download =
            Self { objects, pieces, left, current: None, gathered: None, failed: Vec::new(), last: "no server has it".into() };
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
            } else {
                self.left[0].1 = from;
            }
            return Ok(Some(block));
        }
    }

    /// The next block; none where another server is to be asked.
    async fn block(&mut self, current: Current, chunk: u64) -> Option<Bytes> {
        match current {
            Current::Whole(server, mut call) => match call.next().await {
                Ok(Some(block)) => {
                    self.current = Some(Current::Whole(server, call));
                    return Some(block);
                }
                Ok(None) => self.fail(server, chunk, "it ended too soon".into(), false),
                Err(error) => self.fail_with(server, chunk, &error),
            },
            Current::Coded(mut blocks) => {
                let block = blocks.pop_front();
                self.current = (!blocks.is_empty()).then_some(Current::Coded(blocks));
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
                Location::Whole(servers) => self.open_at(&servers, extent, from, to).await,
                // It is large, and every reading would be.
                Location::Coded(coded) => match Box::pin(coded.blocks(&objects, &extent, from..to)).await {
                    Ok(blocks) => Some(Current::Coded(blocks.into())),
                    Err(error) => {
                        self.last = error.to_string();
                        None
                    }
                },
            };
            if let Some(found) = found {
                return Ok(found);
            }
            shared.locations.forget(extent.chunk);
        }
        Err(ObjectError::Unreadable(self.last.clone()))
    }

    /// Asks a server that has not failed, and after a while another.
    async fn open_at(&mut self, servers: &[u64], extent: Extent, from: u32, to: u32) -> Option<Current> {
        let shared = self.objects.clone();
        let shared = shared.shared();
        let mut order: Vec<u64> = servers.iter().copied().filter(|server| !self.failed.contains(server)).collect();
        fastrand::shuffle(&mut order);
        let mut order = order.into_iter();
        let ask = |server: u64| async move {
            let Some(address) = shared.servers.address(server) else { return (server, None) };
            (server, Some(shared.client.read(&address, extent, from..to).await))
        };
        let mut asked = FuturesUnordered::new();
        loop {
            if asked.is_empty() {
                let server = order.next()?;
                asked.push(ask(server));
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
                Some((server, Some(Ok(call)))) => return Some(Current::Whole(server, call)),
                Some((server, Some(Err(error)))) => self.fail_with(server, extent.chunk, &error),
                Some((server, None)) => self.fail(server, extent.chunk, "its address is not known".into(), false),
                None => {}
            }
        }
    }

    fn fail_with(&mut self, server: u64, chunk: u64, error: &ClientError) {
        let lacks = matches!(error, ClientError::Refused { source: Refusal::Damaged(_) | Refusal::NoChunk, .. });
        self.fail(server, chunk, eddy_telemetry::error_chain(error), lacks);
    }

    /// Goes on without a server; what it lacks is repaired.
    fn fail(&mut self, server: u64, chunk: u64, reason: String, lacks: bool) {
        tracing::info!(server, chunk, reason, "reading from another chunkserver");
        if lacks {
            // It may have been repaired elsewhere.
            self.objects.shared().locations.forget(chunk);
            self.objects.degrade(chunk, vec![server]);
        }
        self.failed.push(server);
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
