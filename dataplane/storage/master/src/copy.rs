//! A new file of a chunk's needles, each from any server that can give it. The bytes go from server to server.

use std::collections::{BTreeMap, BTreeSet};

use eddy_chunks::Extent;
use eddy_chunkserver::{ChunkClient, ClientError, PULL_NEEDLES_MAX, Refusal, Source};
use futures::{StreamExt, TryStreamExt, stream};

use crate::announced::Announced;
use crate::pace::Pace;

/// Data that a server is asked at once to copy.
const BATCH_BYTES: u64 = 16 * 1024 * 1024;
/// Batches of a chunk that are copied at once.
const AT_ONCE: usize = 2;

/// Needles that one server is to give.
struct Batch {
    source: Source,
    needles: Vec<Extent>,
    bytes: u64,
}

/// Fills a file that is announced with all that is needed of its chunk. Returns how many bytes were copied. Each needle is durable when this
/// returns, and its checksums were found right.
pub(crate) async fn copy(
    client: &ChunkClient,
    needed: &BTreeSet<Extent>,
    sources: &BTreeMap<Extent, Vec<Source>>,
    file: &Announced,
    pace: &Pace,
) -> Result<u64, ClientError> {
    let (server, id) = (&file.target.server, file.target.id(file.chunk));
    client.create(server, id).await?;
    let bytes = fill(client, needed, sources, &file.target, pace).await?;
    client.close(server, id).await?;
    Ok(bytes)
}

/// Copies all needles of a chunk from one server, and what that does not give from the next.
async fn fill(
    client: &ChunkClient,
    needed: &BTreeSet<Extent>,
    sources: &BTreeMap<Extent, Vec<Source>>,
    target: &Source,
    pace: &Pace,
) -> Result<u64, ClientError> {
    let first = fastrand::usize(..);
    let tries = sources.values().map(Vec::len).max().unwrap_or_default();
    let (mut left, mut copied) = (needed.clone(), 0);
    for turn in 0..tries {
        let pulls = batches(&left, sources, first.wrapping_add(turn)).into_iter().map(|batch| async move {
            pace.spend(batch.bytes).await;
            let missing = client.pull(&target.server, target.file, &batch.source, batch.needles).await?;
            Ok::<_, ClientError>((batch.bytes - missing.iter().map(|extent| u64::from(extent.bytes)).sum::<u64>(), missing))
        });
        let mut pulls = stream::iter(pulls).buffer_unordered(AT_ONCE);
        let mut missing: BTreeSet<Extent> = left.into_iter().filter(|extent| sources_of(sources, extent).is_empty()).collect();
        while let Some((bytes, not_given)) = pulls.try_next().await? {
            copied += bytes;
            missing.extend(not_given);
        }
        left = missing;
        if left.is_empty() {
            break;
        }
    }
    if left.is_empty() {
        return Ok(copied);
    }
    let source = Refusal::Damaged(format!("no server gives it {} of the needles that it lacks", left.len()));
    Err(ClientError::Refused { address: target.server.address.clone(), source })
}

fn sources_of<'a>(sources: &'a BTreeMap<Extent, Vec<Source>>, extent: &Extent) -> &'a [Source] {
    sources.get(extent).map(Vec::as_slice).unwrap_or_default()
}

/// What each server is asked to be copied from: at another turn, another one for each needle, where it has several.
fn batches(left: &BTreeSet<Extent>, sources: &BTreeMap<Extent, Vec<Source>>, turn: usize) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for extent in left {
        let of = sources_of(sources, extent);
        let Some(source) = turn.checked_rem(of.len()).and_then(|place| of.get(place)) else { continue };
        let bytes = u64::from(extent.bytes);
        let fits = |batch: &&mut Batch| {
            batch.source == *source && batch.needles.len() < PULL_NEEDLES_MAX && batch.bytes + bytes <= BATCH_BYTES
        };
        match batches.last_mut().filter(fits) {
            Some(batch) => {
                batch.needles.push(*extent);
                batch.bytes += bytes;
            }
            None => batches.push(Batch { source: source.clone(), needles: vec![*extent], bytes }),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source { server: address.into(), file: 1 }
    }

    fn needles(count: u32, bytes: u32) -> BTreeSet<Extent> {
        (0..count).map(|number| Extent { chunk: 1, offset: 64 + number * 8192, needle: 1, bytes }).collect()
    }

    #[test]
    fn batches_are_bounded_and_go_to_another_server_at_another_turn() {
        let servers = ["a", "b"].map(source);
        let needles = needles(5000, 4096);
        let sources: BTreeMap<Extent, Vec<Source>> = needles.iter().map(|extent| (*extent, servers.to_vec())).collect();
        for turn in 0..4 {
            let batches = batches(&needles, &sources, turn);
            assert!(batches.iter().all(|batch| batch.source == servers[turn % 2] && batch.bytes <= BATCH_BYTES));
            assert!(batches.iter().all(|batch| batch.needles.len() <= PULL_NEEDLES_MAX));
            assert_eq!(batches.iter().flat_map(|batch| batch.needles.clone()).collect::<BTreeSet<_>>(), needles);
            assert_eq!(batches.iter().map(|batch| batch.bytes).sum::<u64>(), 5000 * 4096);
        }
    }

    #[test]
    fn each_needle_is_asked_of_those_that_have_it() {
        let needles = needles(3, 10);
        let [a, b] = ["a", "b"].map(source);
        let has = [vec![a.clone()], vec![b.clone()], vec![]];
        let sources: BTreeMap<Extent, Vec<Source>> = needles.iter().copied().zip(has).collect();
        let asked = batches(&needles, &sources, 7);
        assert_eq!(asked.iter().map(|batch| batch.source.clone()).collect::<Vec<_>>(), [a, b]);
    }
}
