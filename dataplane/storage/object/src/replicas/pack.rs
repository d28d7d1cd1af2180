//! The chunks that this process writes to: it alone gives out their places.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eddy_chunks::Extent;
use eddy_chunks::format::{CHUNK_BYTES_MAX, HEAD_BYTES, stored_bytes};
use eddy_chunkserver::{ChunkClient, ServerAddress};
use eddy_kv::KvError;
use futures::future::join_all;
use tokio::sync::Mutex;

use super::{Location, Locations, Servers, needed};
use crate::error::{ObjectError, Result};
use crate::metadata::Metadata;
use crate::placement::{Candidate, choose};
use crate::schema::{Replica, Tier};

/// Longest needle that shares a chunk with others.
const SHARED_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// A chunk is written to no longer: one that nobody needs is collected after an hour.
const OPEN_MAX: Duration = Duration::from_secs(30 * 60);
/// So many needles are as many as are named in one answer of a server.
const NEEDLES_MAX: u32 = 100_000;
/// How often other servers are chosen in the place of those that fail.
const ROUNDS: usize = 3;

/// A server that takes a chunk's needles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) replica: Replica,
    pub(crate) address: ServerAddress,
}

/// A needle's place, and who takes it.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) extent: Extent,
    pub(crate) targets: Arc<[Target]>,
}

/// The chunks that this process writes to.
pub(crate) struct Pack {
    metadata: Metadata,
    client: ChunkClient,
    servers: Servers,
    locations: Locations,
    /// One for each number of copies and each tier.
    open: Mutex<HashMap<(u8, Tier), Open>>,
}

struct Open {
    since: Instant,
    chunk: u64,
    next: u32,
    needles: u32,
    targets: Arc<[Target]>,
}

impl Open {
    fn take(&mut self, bytes: u32) -> Option<Placed> {
        let extent = Extent { chunk: self.chunk, offset: self.next, needle: fastrand::u64(..), bytes };
        if !extent.is_valid() {
            return None;
        }
        self.next += stored_bytes(bytes);
        self.needles += 1;
        Some(Placed { extent, targets: self.targets.clone() })
    }

    fn is_done(&self) -> bool {
        self.next > CHUNK_BYTES_MAX - SHARED_BYTES_MAX / 8 || self.needles >= NEEDLES_MAX || self.since.elapsed() > OPEN_MAX
    }
}

impl Pack {
    pub(crate) fn new(metadata: Metadata, client: ChunkClient, servers: Servers, locations: Locations) -> Self {
        Self { metadata, client, servers, locations, open: Mutex::default() }
    }

    /// Gives a needle with so much data a place.
    pub(crate) async fn place(&self, copies: u8, tier: Tier, bytes: u32) -> Result<Placed> {
        let impossible = || ObjectError::Broken(format!("no chunk holds {bytes} bytes at once"));
        if bytes > SHARED_BYTES_MAX {
            return self.begin(copies, tier).await?.take(bytes).ok_or_else(impossible);
        }
        let mut open = self.open.lock().await;
        open.retain(|_, open| !open.targets.iter().any(|target| self.servers.is_draining(target.replica.server)));
        let kind = (copies, tier);
        if let Some(placed) = open.get_mut(&kind).and_then(|open| open.take(bytes)) {
            if open.get(&kind).is_some_and(Open::is_done) {
                open.remove(&kind);
            }
            return Ok(placed);
        }
        let mut next = self.begin(copies, tier).await?;
        let placed = next.take(bytes).ok_or_else(impossible)?;
        open.insert(kind, next);
        Ok(placed)
    }

    /// Gives out no more places of a chunk: a server failed to take one.
    pub(crate) async fn retire(&self, chunk: u64) {
        self.open.lock().await.retain(|_, open| open.chunk != chunk);
    }

    /// Makes a chunk on servers with room; another one where its files were taken for garbage before a row named them.
    async fn begin(&self, copies: u8, tier: Tier) -> Result<Open> {
        for _ in 1..ROUNDS {
            match self.try_begin(copies, tier).await {
                Err(ObjectError::Metadata(KvError::Conflict { .. })) => {}
                done => return done,
            }
        }
        self.try_begin(copies, tier).await
    }

    async fn try_begin(&self, copies: u8, tier: Tier) -> Result<Open> {
        let chunk = fastrand::u64(1..);
        let (mut targets, mut tried, mut last) = (Vec::<Target>::new(), BTreeSet::new(), String::from("none has room"));
        for _ in 0..ROUNDS {
            let missing = usize::from(copies) - targets.len();
            let mut chosen = self.choose(missing, tier, &tried);
            if chosen.is_empty() && targets.len() < needed(copies) {
                self.servers.refresh(&self.metadata, &self.client).await?;
                chosen = self.choose(missing, tier, &tried);
            }
            tried.extend(&chosen);
            for made in join_all(chosen.into_iter().map(|server| self.create(server, chunk))).await {
                match made {
                    Ok(target) => targets.push(target),
                    Err(error) => last = error,
                }
            }
            if targets.len() == usize::from(copies) {
                break;
            }
        }
        if targets.len() < needed(copies) {
            return Err(ObjectError::NoRoom(format!("{} of {copies} made a chunk: {last}", targets.len())));
        }
        let replicas: Vec<Replica> = targets.iter().map(|target| target.replica).collect();
        self.metadata.put_chunk(chunk, replicas.clone(), copies, tier).await?;
        self.locations.remember(chunk, Location::Whole(replicas.into()));
        Ok(Open { since: Instant::now(), chunk, next: HEAD_BYTES, needles: 0, targets: targets.into() })
    }

    /// Why so many bytes could not be written: for want of room, where too few of the servers that are there have any, or as it seemed.
    pub(crate) async fn reason(&self, copies: u8, bytes: u64, seemed: ObjectError) -> ObjectError {
        if let Err(error) = self.servers.refresh(&self.metadata, &self.client).await {
            return error;
        }
        let there: Vec<Candidate> = self.servers.candidates().into_iter().filter(|one| !one.draining).collect();
        let has_room = |one: &&Candidate| one.accepts() && one.available_bytes > bytes;
        let (answering, with_room, needed) = (there.len(), there.iter().filter(has_room).count(), needed(copies));
        if answering >= needed && with_room < needed { ObjectError::Full { with_room, answering, needed } } else { seemed }
    }

    fn choose(&self, count: usize, tier: Tier, not: &BTreeSet<u64>) -> Vec<u64> {
        choose(&self.servers.candidates(), count, tier.class(), not, &mut fastrand::Rng::new())
    }

    async fn create(&self, server: u64, chunk: u64) -> Result<Target, String> {
        let address = self.servers.address(server).ok_or("its address is not known")?;
        let replica = Replica::draw(server, chunk);
        let made = self.client.create(&address, replica.id(chunk)).await;
        made.map_err(|error| eddy_telemetry::error_chain(&error))?;
        Ok(Target { replica, address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_ends_with_its_room_and_with_its_needles() {
        let open = || Open { since: Instant::now(), chunk: 1, next: HEAD_BYTES, needles: 0, targets: Vec::new().into() };
        let (mut small, mut large) = (open(), open());
        for _ in 0..NEEDLES_MAX {
            assert!(!small.is_done() && small.take(1).is_some());
        }
        assert!(small.is_done());
        while !large.is_done() {
            assert!(large.take(500_000).is_some() && large.needles < 200);
        }
    }
}
