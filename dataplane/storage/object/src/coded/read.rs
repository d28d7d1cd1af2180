//! Reading a chunk from its shards: from the server that has them, or made of others where it does not give them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use eddy_chunks::Extent;
use eddy_chunks::format::{BLOCK_BYTES, CHECKSUM_BYTES, STORED_BLOCK_BYTES, verify_blocks};
use eddy_chunkserver::{ClientError, Refusal};
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;

use super::code::restore;
use crate::error::{ObjectError, Result};
use crate::objects::Objects;
use crate::schema::{Replica, Shards};

/// A server that has not answered for so long is done without, if others are quicker.
const HEDGE_AFTER: Duration = Duration::from_millis(50);
/// Blocks that are read at once.
const BLOCKS_AT_ONCE: u32 = 16;

/// A coded chunk, and who has its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coded {
    /// The chunk that the shards are.
    pub(crate) chunk: u64,
    pub(crate) shards: Shards,
    /// Who has each shard.
    pub(crate) replicas: Arc<[Replica]>,
}

impl Coded {
    /// How many blocks some of these bytes of a needle are in.
    pub(crate) fn blocks_at_once(range: &Range<u32>) -> u32 {
        (range.end.div_ceil(BLOCK_BYTES) - range.start / BLOCK_BYTES).min(BLOCKS_AT_ONCE)
    }

    /// Some of these bytes of a needle, from the first on, in blocks, checked.
    pub(crate) async fn blocks(&self, objects: &Objects, extent: &Extent, range: Range<u32>) -> Result<Vec<Bytes>> {
        let to = range.end.min((range.start / BLOCK_BYTES + BLOCKS_AT_ONCE) * BLOCK_BYTES);
        let blocks = extent.blocks(&(range.start..to));
        let from = u32::try_from(blocks.offset).unwrap_or(u32::MAX);
        let stored = self.read(objects, from..from.saturating_add(blocks.bytes)).await?;
        verify_blocks(extent.needle, blocks.first, &stored)
            .map(drop)
            .map_err(|damage| ObjectError::Unreadable(format!("its shards were made of something else: {damage}")))?;
        let first = blocks.first * BLOCK_BYTES;
        let block = |(at, stored): (u32, usize)| {
            let start = first + at * BLOCK_BYTES;
            let from = stored + CHECKSUM_BYTES as usize;
            let within = range.start.saturating_sub(start) as usize..(to - start).min(BLOCK_BYTES) as usize;
            from + within.start..from + within.end
        };
        let places = (0..stored.len()).step_by(STORED_BLOCK_BYTES as usize);
        Ok((0..).zip(places).map(|place| stored.slice(block(place))).collect())
    }

    /// Bytes of the chunk's file.
    async fn read(&self, objects: &Objects, range: Range<u32>) -> Result<Bytes> {
        let mut segments = self.shards.segments(range.clone());
        if let [only] = &mut segments[..] {
            return self.segment(objects, only.index, only.range.clone()).await;
        }
        let mut bytes = BytesMut::with_capacity(range.len());
        for segment in segments {
            bytes.extend_from_slice(&self.segment(objects, segment.index, segment.range).await?);
        }
        Ok(bytes.freeze())
    }

    /// Bytes of a shard, from its server, or made of others where that fails or takes long.
    async fn segment(&self, objects: &Objects, index: usize, range: Range<u32>) -> Result<Bytes> {
        let mut asked = std::pin::pin!(self.ask(objects, index, range.clone()));
        let answered = tokio::time::timeout(HEDGE_AFTER, &mut asked).await;
        if let Ok(Some(bytes)) = answered {
            return Ok(bytes);
        }
        let units = self.shards.units(&range);
        let within = (range.start - units.start) as usize..(range.end - units.start) as usize;
        let made = std::pin::pin!(self.make(objects, index, units));
        if answered.is_ok() {
            return Ok(made.await?.slice(within));
        }
        match select(asked, made).await {
            Either::Left((Some(bytes), _)) => Ok(bytes),
            Either::Left((None, made)) => Ok(made.await?.slice(within)),
            Either::Right((Ok(made), _)) => Ok(made.slice(within)),
            Either::Right((Err(error), asked)) => asked.await.ok_or(error),
        }
    }

    /// Whole units of a shard, made of as many others as it takes.
    async fn make(&self, objects: &Objects, index: usize, units: Range<u32>) -> Result<Bytes> {
        let mut others: Vec<usize> = (0..self.shards.count()).filter(|other| *other != index).collect();
        fastrand::shuffle(&mut others);
        let mut others = others.into_iter();
        let ask = |other: usize| {
            let units = units.clone();
            async move { (other, self.ask(objects, other, units).await) }
        };
        let mut asked: FuturesUnordered<_> = others.by_ref().take(usize::from(self.shards.data)).map(ask).collect();
        let mut have = Vec::new();
        while have.len() < usize::from(self.shards.data) {
            let answered = match others.len() {
                0 => Ok(asked.next().await),
                _ => tokio::time::timeout(HEDGE_AFTER, asked.next()).await,
            };
            match answered {
                Ok(Some((other, Some(bytes)))) => have.push((other, bytes)),
                Ok(None) => {
                    return Err(ObjectError::Unreadable(format!(
                        "{} of {} shards can be read, and {} are needed",
                        have.len(),
                        self.shards.count(),
                        self.shards.data
                    )));
                }
                // That one failed, or takes long: another is asked, too.
                Ok(Some((_, None))) | Err(_) => asked.extend(others.next().map(ask)),
            }
        }
        restore(&self.shards, index, &have).map(Bytes::from)
    }

    /// Bytes of a shard from its server; what it lacks is repaired.
    async fn ask(&self, objects: &Objects, index: usize, range: Range<u32>) -> Option<Bytes> {
        let replica = *self.replicas.get(index)?;
        let address = objects.shared().servers.address(replica.server)?;
        let read = async {
            let extent = self.shards.extent(self.chunk, index);
            let mut call = objects.shared().client.read(&address, replica.file, extent, range.clone()).await?;
            let mut bytes = BytesMut::with_capacity(range.len());
            while let Some(block) = call.next().await? {
                bytes.extend_from_slice(&block);
            }
            Ok::<_, ClientError>(bytes.freeze())
        };
        match read.await {
            Ok(bytes) if bytes.len() == range.len() => return Some(bytes),
            Ok(_) => {}
            Err(error) => {
                tracing::info!(
                    server = replica.server,
                    index,
                    error = eddy_telemetry::error_chain(&error),
                    "reading other shards"
                );
                if matches!(error, ClientError::Refused { source: Refusal::Damaged(_) | Refusal::NoFile, .. }) {
                    objects.degrade(self.chunk, replica);
                }
            }
        }
        // It may be elsewhere by now.
        objects.shared().locations.forget(self.shards.of);
        None
    }
}
