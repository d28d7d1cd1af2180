//! A new copy of a chunk's needles, each from any server that can give it.

use std::collections::{BTreeMap, BTreeSet};

use eddy_chunks::Extent;
use eddy_chunks::format::{BLOCK_BYTES, encode_blocks};
use eddy_chunkserver::{ChunkClient, ClientError, Refusal, ServerAddress};
use futures::{StreamExt, TryStreamExt, stream};

use crate::pace::Pace;

/// Data that is sent at once.
const PIECE_BYTES: usize = 4 * BLOCK_BYTES as usize;
/// Needles that are copied at once: small ones share the disk's syncs.
const AT_ONCE: usize = 16;

/// Makes a server have all that is needed of a chunk: what it has already, if that is all, or a new chunk in its place. Returns how many
/// bytes were copied. Each needle is durable when this returns.
pub(crate) async fn copy(
    client: &ChunkClient,
    chunk: u64,
    needed: &BTreeSet<Extent>,
    sources: &BTreeMap<Extent, Vec<ServerAddress>>,
    target: &ServerAddress,
    pace: &Pace,
) -> Result<u64, ClientError> {
    let epoch = match client.create(target, chunk).await {
        Err(ClientError::Refused { source: Refusal::Exists, .. }) => {
            if has_all(client, chunk, needed, target).await {
                return Ok(0);
            }
            client.remove(target, chunk).await?;
            client.create(target, chunk).await?
        }
        made => made?,
    };
    let bytes = fill(client, needed, sources, target, epoch, pace).await?;
    client.close(target, chunk).await?;
    Ok(bytes)
}

/// As when a server comes back with all that it had.
async fn has_all(client: &ChunkClient, chunk: u64, needed: &BTreeSet<Extent>, target: &ServerAddress) -> bool {
    let found = client.scan(target, chunk).await.unwrap_or_default();
    let whole: BTreeSet<Extent> = found.into_iter().filter(|(_, damaged)| !damaged).map(|(extent, _)| extent).collect();
    needed.is_subset(&whole)
}

async fn fill(
    client: &ChunkClient,
    needed: &BTreeSet<Extent>,
    sources: &BTreeMap<Extent, Vec<ServerAddress>>,
    target: &ServerAddress,
    epoch: u64,
    pace: &Pace,
) -> Result<u64, ClientError> {
    let copies = needed.iter().filter_map(|extent| Some((extent, fastrand::choice(sources.get(extent)?)?)));
    let copies = copies.map(|(extent, source)| async move {
        pace.spend(u64::from(extent.bytes)).await;
        copy_needle(client, extent, source, target, epoch).await?;
        Ok(u64::from(extent.bytes))
    });
    stream::iter(copies).buffer_unordered(AT_ONCE).try_fold(0, async |all, bytes| Ok(all + bytes)).await
}

async fn copy_needle(
    client: &ChunkClient,
    extent: &Extent,
    source: &ServerAddress,
    target: &ServerAddress,
    epoch: u64,
) -> Result<(), ClientError> {
    let mut reading = client.read(source, *extent, 0..extent.bytes).await?;
    let mut writing = client.write(target, epoch, *extent, &[]).await?;
    let (mut first, mut data, mut stored) = (0, Vec::with_capacity(PIECE_BYTES), Vec::new());
    loop {
        let block = reading.next().await?;
        let ended = block.is_none();
        data.extend_from_slice(&block.unwrap_or_default());
        if data.len() >= PIECE_BYTES || ended && !data.is_empty() {
            encode_blocks(extent.needle, first, &data, &mut stored);
            writing.send(&stored).await?;
            first += data.len().div_ceil(BLOCK_BYTES as usize) as u32;
            data.clear();
            stored.clear();
        }
        if ended {
            return writing.finish().await;
        }
    }
}
