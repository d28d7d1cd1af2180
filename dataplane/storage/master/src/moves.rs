//! Chunks that go from one server to another.
//!
//! A chunk is copied, then one transaction says who has it, and notes it for repair to read all of its copies: only that proves the
//! new one. What the other has of it is removed when nobody can be reading it any more, as whatever no row names.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use eddy_chunkserver::Source;
use eddy_kv::Transaction;
use eddy_object::schema::{ChunkRow, DegradedRow, chunk_key, decode, degraded_key, encode, live_key};
use eddy_object::{ObjectError, now_ms};
use futures::StreamExt;

use crate::Master;
use crate::balance::{Move, Moves, plan_moves};
use crate::copy::copy;
use crate::expected::{Expected, InPlace};
use crate::survey::{Fresh, Survey};

/// Moves that are planned at once; then servers are looked at again.
const PLANNED: usize = 256;
/// Moves that are made at once.
const AT_ONCE: usize = 2;

/// What a round of balancing did, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balanced {
    /// Chunks that went from one server to another.
    pub moved: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Moves that were planned and not made.
    pub left: usize,
    /// Chunks of servers that are being emptied, before the round.
    pub draining: usize,
    /// Those of them for which no other server has room.
    pub stuck: usize,
}

impl Master {
    /// Moves chunks for so long: off servers that are being emptied, and from full ones to empty ones where the shares of their disks
    /// that are taken differ by more than so many percent.
    ///
    /// # Errors
    /// The store's.
    pub async fn balance(&self, above_percent: u8, time: Duration) -> Result<Balanced, ObjectError> {
        let start = Instant::now();
        let settled = u64::try_from(self.options.settle.as_millis()).unwrap_or(u64::MAX);
        let fresh = Fresh { written_ms: self.long_ago(), draining_ms: now_ms().saturating_sub(settled) };
        let survey = Survey::take(&self.metadata, &self.client, &self.servers, fresh).await?;
        let Moves { moves, stuck } = plan_moves(&survey.disks, &survey.chunks, above_percent, PLANNED);
        let mut balanced = Balanced { draining: survey.draining(), left: moves.len(), stuck, ..Balanced::default() };
        let work = moves.into_iter().map(|one| async move {
            if start.elapsed() >= time {
                return Ok(None);
            }
            self.make(one).await
        });
        let mut outcomes = futures::stream::iter(work).buffer_unordered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            if let Some(bytes) = outcome? {
                balanced.moved += 1;
                balanced.bytes += bytes;
                balanced.left -= 1;
            }
        }
        Ok(balanced)
    }

    /// Makes a move; none where it cannot be made now.
    async fn make(&self, one: Move) -> Result<Option<u64>, ObjectError> {
        let Move { chunk, from, to, .. } = one;
        let values = self.metadata.get_all([chunk_key(chunk), degraded_key(chunk), live_key(chunk)]).await?;
        let [Some(value), None, live] = &values[..] else { return Ok(None) };
        let row: ChunkRow = decode(&value.bytes)?;
        let Some(place) = row.servers().position(|server| server == from).filter(|_| !row.is_on(to)) else { return Ok(None) };
        let expected = Expected::of(&self.metadata, chunk, &row).await?;
        let needed = expected.at(place);
        let answering = self.servers.candidates();
        let has_it = |server: u64| matches!(expected, Expected::Copies(_)) || server == from;
        let sources: Vec<Source> = row
            .replicas
            .iter()
            .filter(|replica| has_it(replica.server) && answering.iter().any(|one| one.server == replica.server))
            .filter_map(|replica| self.servers.source(*replica))
            .collect();
        let sources: BTreeMap<_, _> = needed.iter().map(|extent| (*extent, sources.clone())).collect();
        let Some(file) = self.announce(chunk, to).await? else { return Ok(None) };
        let bytes = match copy(&self.client, &needed, &sources, &file, &self.move_pace).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let error = eddy_telemetry::error_chain(&error);
                tracing::warn!(chunk, from, to, error, "failed to move a chunk; repair looks at it");
                self.withdraw(file).await?;
                self.metadata.degrade(chunk, &[]).await?;
                return Ok(None);
            }
        };
        let mut replicas = row.replicas.clone();
        replicas[place] = file.replica;
        let transaction = Transaction::new()
            .check(chunk_key(chunk), Some(value))
            .put(chunk_key(chunk), encode(&ChunkRow { replicas, ..row.clone() })?)
            .check(degraded_key(chunk), None)
            .put(degraded_key(chunk), encode(&DegradedRow { servers: Vec::new(), read_all: true, since_ms: now_ms() })?);
        let made = InPlace { chunk, row: &row, place, has: &needed, live: live.clone() };
        // If it changed meanwhile, the next round sees.
        let Some(transaction) = self.unless_more_is_needed(made, transaction).await? else {
            self.withdraw(file).await?;
            return Ok(None);
        };
        Ok(self.name(vec![file], transaction).await?.then_some(bytes))
    }
}
