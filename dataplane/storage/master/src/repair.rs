//! Chunks of which a server lacks something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use eddy_chunks::Extent;
use eddy_chunkserver::{ClientError, Refusal, Source};
use eddy_kv::{KeyRange, Row, Transaction};
use eddy_object::placement::choose;
use eddy_object::schema::{
    ChunkForm, ChunkRow, DegradedRow, ReferenceRow, Replica, Tier, chunk_key, decode, encode, live_key, references,
};
use eddy_object::{ObjectError, now_ms};
use futures::StreamExt;
use tokio::time::Instant;

use crate::announced::Announced;
use crate::chunks::number_of;
use crate::copy::copy;
use crate::expected::Expected;
use crate::plan::{Holding, Plan, dispensable, plan};
use crate::{Master, Stuck};

/// What a round of repair did, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Chunks of which it was known before that they lack something.
    pub noted: usize,
    /// Chunks of which a server lacks something or does not answer, noted or not, before the round.
    pub under_replicated: usize,
    /// Those of them of which nothing more may be lost.
    pub at_risk: usize,
    /// Chunks all of whose copies were read and are whole.
    pub healthy: usize,
    /// Copies that were made; the next round reads them.
    pub copies: usize,
    /// Needles that were moved out of chunks of which something cannot be read.
    pub rescued: usize,
    /// Bytes of both.
    pub bytes: u64,
    /// Chunks that wait for a server to come back, or for one with room.
    pub waiting: usize,
    /// Chunks that were noted and whose turn did not come: the next round sorts them anew.
    pub left: usize,
    /// Chunks with needles that no server gives now.
    pub unreadable: Vec<u64>,
}

/// Files that were made of others.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) files: Vec<Announced>,
    pub(crate) bytes: u64,
    /// Not all that were to be could be made.
    pub(crate) failed: bool,
}

impl Made {
    pub(crate) fn replicas(&self) -> Vec<Replica> {
        self.files.iter().map(|file| file.replica).collect()
    }
}

/// How long needles are moved out of one chunk of which something cannot be read, in a round: others wait for theirs.
const RESCUE_FOR: Duration = Duration::from_secs(60);

/// Files of one chunk on a server that are named at once.
const FILES_ON_ONE_SERVER_MAX: usize = 3;

/// A chunk that is noted, and what is known without asking.
pub(crate) struct Noted {
    pub(crate) chunk: u64,
    pub(crate) row: Row,
    pub(crate) degraded: DegradedRow,
}

/// How a chunk stands, as far as it is known without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    /// Servers that may be lost before anything of it is.
    spare: usize,
    /// Fewer have it than should.
    is_short: bool,
}

/// How a chunk stands where these servers answer, and those lack something.
fn standing(row: &ChunkRow, there: &BTreeSet<u64>, lacking: &[u64]) -> Standing {
    let (enough, should) = match row.form {
        // Nobody has it but as shards, which are another chunk.
        ChunkForm::Coded(_) => (0, 0),
        ChunkForm::Whole => (1, usize::from(row.copies)),
        // Of shards, more must be left than one.
        ChunkForm::Shards(shards) => (usize::from(shards.data), usize::from(row.copies)),
    };
    let good: BTreeSet<u64> = row.servers().filter(|server| there.contains(server) && !lacking.contains(server)).collect();
    let good = good.len();
    Standing { spare: good.saturating_sub(enough), is_short: good < should }
}

/// What a round did for a chunk says whether it is stuck; where the round did not come to it, that is as it was.
fn note_outcome(stuck: &mut BTreeMap<u64, Stuck>, chunk: u64, outcome: &Repaired) {
    if !outcome.unreadable.is_empty() {
        stuck.insert(chunk, Stuck::Unreadable);
    } else if outcome.waiting > 0 {
        stuck.insert(chunk, Stuck::Waits);
    } else if outcome.left == 0 {
        stuck.remove(&chunk);
    }
}

impl Master {
    /// Looks at every chunk that is noted, those with the fewest copies first, and makes the copies that are missing. A chunk is noted no
    /// more only after every copy of it was read and found whole, while nobody came to need another needle of it.
    ///
    /// # Errors
    /// The store's.
    pub async fn repair(&self) -> Result<Repaired, ObjectError> {
        self.refresh().await?;
        let there: BTreeSet<u64> = self.servers.candidates().iter().map(|candidate| candidate.server).collect();
        let chunks = crate::chunks::all(&self.metadata).await?;
        let (mut all, mut queue, mut good_of_noted) = (Repaired::default(), Vec::new(), BTreeMap::new());
        for row in self.metadata.scan_all(KeyRange::prefix(&b"d"[..])).await? {
            let (chunk, degraded): (u64, DegradedRow) = (number_of(&row)?, decode(&row.value.bytes)?);
            let found = chunks.get(&chunk).map(|(found, _)| found);
            let good = found.map_or(Standing::default(), |found| standing(found, &there, &degraded.servers));
            good_of_noted.insert(chunk, good);
            queue.push((good.spare, degraded.since_ms, Noted { chunk, row, degraded }));
        }
        // Those with which the last round could do nothing keep no others from their turns.
        let stuck = self.stuck().clone();
        queue.sort_by_key(|(spare, since, noted)| (stuck.contains_key(&noted.chunk), *spare, *since));
        all.noted = queue.len();
        for (chunk, (row, _)) in &chunks {
            let noted = good_of_noted.get(chunk).copied();
            let now = noted.unwrap_or_else(|| standing(row, &there, &[]));
            if noted.is_some() || now.is_short {
                all.under_replicated += 1;
                all.at_risk += usize::from(now.spare == 0);
            }
        }
        // Others may be lost meanwhile, and what they had be more urgent.
        let until = Instant::now() + self.options.repair_for;
        let work = queue.into_iter().map(|(_, _, noted)| async move {
            let chunk = noted.chunk;
            if Instant::now() >= until {
                return Ok((chunk, Repaired { left: 1, ..Repaired::default() }));
            }
            self.repair_one(noted).await.map(|repaired| (chunk, repaired))
        });
        let mut outcomes = futures::stream::iter(work).buffer_unordered(self.options.repairs_at_once);
        while let Some(outcome) = outcomes.next().await {
            let (chunk, one) = outcome?;
            note_outcome(&mut self.stuck(), chunk, &one);
            all.healthy += one.healthy;
            all.copies += one.copies;
            all.rescued += one.rescued;
            all.bytes += one.bytes;
            all.waiting += one.waiting;
            all.left += one.left;
        }
        // Those too that this round did not come to: they are so until they were seen to be otherwise.
        self.stuck().retain(|chunk, _| good_of_noted.contains_key(chunk));
        all.unreadable = self.stuck().iter().filter(|(_, why)| **why == Stuck::Unreadable).map(|(chunk, _)| *chunk).collect();
        Ok(all)
    }

    fn stuck(&self) -> MutexGuard<'_, BTreeMap<u64, Stuck>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn repair_one(&self, noted: Noted) -> Result<Repaired, ObjectError> {
        let chunk = noted.chunk;
        let Some(value) = self.metadata.store().get(chunk_key(chunk)).await? else {
            // It was collected.
            self.forget(&noted, Transaction::new()).await?;
            return Ok(Repaired::default());
        };
        let row: ChunkRow = decode(&value.bytes)?;
        let check = Transaction::new().check(chunk_key(chunk), Some(&value));
        if !self.is_in_use(chunk, &row).await? {
            self.forget(&noted, check).await?;
            return Ok(Repaired::default());
        }
        if let Some(repaired) = self.replace_lost(&noted, &row, &value).await? {
            return Ok(repaired);
        }
        // Read before the needles: whoever comes to need another one from now on changes it, and has seen the note.
        let live = self.metadata.store().get(live_key(chunk)).await?;
        let expected = Expected::of(&self.metadata, chunk, &row).await?;
        let patient = now_ms().saturating_sub(noted.degraded.since_ms) < milliseconds(self.options.patience);
        let holdings = self.holdings(chunk, &row.replicas, patient).await;
        let copies = usize::from(row.copies);
        let plan = plan(&holdings, &expected, copies);
        if !plan.unreadable.is_empty() {
            // Copies of the rest would count as whole to whoever presumes, and what is lost may come back.
            tracing::warn!(chunk, needles = plan.unreadable.len(), "needles that are needed cannot be read from any server");
            let unreadable = Repaired { unreadable: vec![chunk], ..Repaired::default() };
            return if plan.away.is_empty() { self.rescue(unreadable, chunk, &row, &plan).await } else { Ok(unreadable) };
        }
        let unless_needed_more = check.clone().check(live_key(chunk), live.as_ref());
        if plan.whole.len() >= copies {
            return self.settle(&noted, &row, &plan, unless_needed_more).await;
        }
        let needed = match expected {
            Expected::Copies(needed) => needed,
            Expected::Shards { .. } => return self.repair_shards(chunk, &row, &value, &holdings, &plan).await,
        };
        // While somebody comes to need more of it again and again, none that is made is ever whole.
        let there = holdings.iter().filter(|(_, holding)| *holding != Holding::Lost).count();
        let made = match there > 2 * copies {
            true => Made::default(),
            false => self.make_copies(chunk, row.tier, &needed, &holdings, &plan).await?,
        };
        let (copies_made, bytes) = (made.files.len(), made.bytes);
        let waits = Repaired { waiting: 1, ..Repaired::default() };
        let done = if made.files.is_empty() {
            let dispensable = dispensable(&holdings, &needed, copies);
            let replicas: Vec<Replica> = row.replicas.iter().filter(|one| !dispensable.contains(one)).copied().collect();
            if replicas.len() == row.replicas.len() {
                return Ok(waits);
            }
            let next = encode(&ChunkRow { replicas, ..row })?;
            self.try_commit(unless_needed_more.put(chunk_key(chunk), next)).await?
        } else {
            // Those that lack something, or are lost, stay: each may be one of two that have what somebody came to need since they were
            // read. Once enough others were read that have all, they go.
            let replicas = [&row.replicas[..], &made.replicas()].concat();
            let next = encode(&ChunkRow { replicas, ..row })?;
            // All are read before any of them is presumed to have all.
            let note = encode(&DegradedRow { read_all: true, ..noted.degraded.clone() })?;
            let named = check.check(noted.row.key.clone(), Some(&noted.row.value)).put(noted.row.key.clone(), note);
            self.name(made.files, named.put(chunk_key(chunk), next)).await?
        };
        // If it changed meanwhile, the next round sees.
        let repaired =
            Repaired { copies: copies_made, bytes, waiting: usize::from(copies_made < plan.missing), ..Repaired::default() };
        Ok(if done { repaired } else { waits })
    }

    /// Moves what can be read of a chunk to others for a while, where it has as many copies as it should: this one gets none while something
    /// of it cannot be read. The next round goes on.
    async fn rescue(&self, mut all: Repaired, chunk: u64, row: &ChunkRow, plan: &Plan) -> Result<Repaired, ObjectError> {
        if row.form != ChunkForm::Whole || plan.whole.is_empty() && plan.lacking.is_empty() {
            return Ok(all);
        }
        let unreadable: BTreeSet<Extent> = plan.unreadable.iter().copied().collect();
        let until = Instant::now() + RESCUE_FOR;
        for found in self.metadata.scan_all(references(chunk)).await? {
            let reference: ReferenceRow = decode(&found.value.bytes)?;
            if unreadable.contains(&reference.extent) {
                continue;
            }
            if Instant::now() >= until {
                break;
            }
            let bytes = u64::from(reference.extent.bytes);
            self.repair_pace.spend(bytes).await;
            match self.objects.relocate(&reference, None).await {
                Ok(moved) => {
                    all.rescued += usize::from(moved);
                    all.bytes += if moved { bytes } else { 0 };
                }
                Err(ObjectError::Metadata(error)) => return Err(error.into()),
                Err(error) => {
                    let has_room = !matches!(error, ObjectError::NoRoom(_) | ObjectError::Full { .. });
                    let error = eddy_telemetry::error_chain(&error);
                    tracing::warn!(
                        chunk,
                        error,
                        "failed to move a needle out of a chunk of which others are lost; it is tried again"
                    );
                    if !has_room {
                        break;
                    }
                }
            }
        }
        Ok(all)
    }

    /// Enough were read that have all that is needed: the chunk is noted no more, and whoever else is named goes. Not if somebody came to
    /// need more of it since, which the transaction is to check: then the next round reads it.
    async fn settle(
        &self,
        noted: &Noted,
        row: &ChunkRow,
        plan: &Plan,
        transaction: Transaction,
    ) -> Result<Repaired, ObjectError> {
        // Those that were away or lost may have come back after others took their place.
        let replicas = self.keep(&plan.whole, usize::from(row.copies), row.tier);
        let settled = if replicas == row.replicas {
            transaction
        } else {
            transaction.put(chunk_key(noted.chunk), encode(&ChunkRow { replicas, ..row.clone() })?)
        };
        let done = self.forget(noted, settled).await?;
        Ok(Repaired { healthy: usize::from(done), ..Repaired::default() })
    }

    /// Of more replicas than are needed, those on servers that a new chunk would rather be on.
    fn keep(&self, whole: &[Replica], copies: usize, tier: Tier) -> Vec<Replica> {
        let mut kept = whole.to_vec();
        if whole.len() > copies {
            let is_whole = |server: u64| whole.iter().any(|replica| replica.server == server);
            let candidates: Vec<_> = self.servers.candidates().into_iter().filter(|one| is_whole(one.server)).collect();
            let chosen = choose(&candidates, copies, tier.class(), &BTreeSet::new(), &mut fastrand::Rng::new());
            kept.sort_by_key(|replica| !chosen.contains(&replica.server));
            kept.truncate(copies);
        }
        kept
    }

    /// What each replica has, after its server has read all of it.
    pub(crate) async fn holdings(&self, chunk: u64, replicas: &[Replica], patient: bool) -> Vec<(Replica, Holding)> {
        let asked = replicas.iter().map(|replica| async move {
            let unknown = if patient && !self.is_lost(replica.server) { Holding::Away } else { Holding::Lost };
            let Some(address) = self.servers.address(replica.server) else { return (*replica, unknown) };
            let holding = match self.client.scan(&address, replica.id(chunk)).await {
                Ok(needles) => {
                    let whole = needles.into_iter().filter(|(_, damaged)| !damaged);
                    Holding::Needles(whole.map(|(extent, _)| extent).collect())
                }
                Err(ClientError::Refused { source: Refusal::NoFile | Refusal::Damaged(_), .. }) => {
                    Holding::Needles(BTreeSet::new())
                }
                // Also where its disk failed otherwise: that may pass.
                Err(_) => unknown,
            };
            (*replica, holding)
        });
        futures::future::join_all(asked).await
    }

    /// Makes as many copies as are missing, or can be.
    pub(crate) async fn make_copies(
        &self,
        chunk: u64,
        tier: Tier,
        needed: &BTreeSet<Extent>,
        holdings: &[(Replica, Holding)],
        plan: &Plan,
    ) -> Result<Made, ObjectError> {
        let taken: BTreeSet<u64> = holdings.iter().map(|(replica, _)| replica.server).collect();
        let candidates = self.servers.candidates();
        let mut targets = choose(&candidates, plan.missing, tier.class(), &taken, &mut fastrand::Rng::new());
        // Where there is no other server, one that lacks something gets all of it anew, beside what it has. A second time where that lacks
        // what somebody came to need meanwhile: then nobody needs the first.
        let files_on = |server: u64| holdings.iter().filter(|(replica, _)| replica.server == server).count();
        let lacking: BTreeSet<u64> = plan.lacking.iter().map(|replica| replica.server).collect();
        let again = lacking.into_iter().filter(|server| files_on(*server) < FILES_ON_ONE_SERVER_MAX);
        targets.extend(again.take(plan.missing - targets.len()));
        let sources = sources(&self.servers, holdings);
        let mut made = Made::default();
        for server in targets {
            let Some(file) = self.announce(chunk, server).await? else { continue };
            match copy(&self.client, needed, &sources, &file, &self.repair_pace).await {
                Ok(copied) => {
                    made.files.push(file);
                    made.bytes += copied;
                }
                Err(error) => {
                    let error = eddy_telemetry::error_chain(&error);
                    tracing::warn!(chunk, server, error, "failed to copy a chunk; it is tried again");
                    self.withdraw(file).await?;
                    made.failed = true;
                }
            }
        }
        Ok(made)
    }

    /// A chunk is noted no more, unless it was noted again meanwhile.
    async fn forget(&self, noted: &Noted, transaction: Transaction) -> Result<bool, ObjectError> {
        let forget = transaction.check(noted.row.key.clone(), Some(&noted.row.value)).delete(noted.row.key.clone());
        self.try_commit(forget).await
    }
}

/// Who can give each needle.
fn sources(servers: &eddy_object::Servers, holdings: &[(Replica, Holding)]) -> BTreeMap<Extent, Vec<Source>> {
    let mut sources: BTreeMap<Extent, Vec<Source>> = BTreeMap::new();
    for (replica, holding) in holdings {
        let (Holding::Needles(has), Some(source)) = (holding, servers.source(*replica)) else { continue };
        for extent in has {
            sources.entry(*extent).or_default().push(source.clone());
        }
    }
    sources
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use eddy_object::schema::Shards;

    use super::*;

    fn row(servers: &[u64], form: ChunkForm) -> ChunkRow {
        let replicas = servers.iter().map(|server| Replica { server: *server, file: 1 }).collect();
        ChunkRow { replicas, copies: servers.len() as u8, tier: Tier::Hot, form, touched_ms: 1, verified_ms: 1 }
    }

    #[test]
    fn servers_that_do_not_answer_and_those_that_lack_something_do_not_count() {
        let whole = row(&[1, 2, 3], ChunkForm::Whole);
        let of = |there: &[u64], lacking: &[u64]| {
            let standing = standing(&whole, &there.iter().copied().collect(), lacking);
            (standing.spare, standing.is_short)
        };
        assert_eq!(of(&[1, 2, 3, 4], &[]), (2, false));
        assert_eq!(of(&[1, 3, 4], &[]), (1, true));
        assert_eq!(of(&[1, 2, 3], &[2]), (1, true));
        assert_eq!(of(&[1, 4], &[]), (0, true));
        assert_eq!(of(&[1], &[1]), (0, true));
    }

    #[test]
    fn what_was_unreadable_is_so_until_it_was_looked_at_and_is_not() {
        let mut stuck = BTreeMap::new();
        let unreadable = Repaired { unreadable: vec![1], ..Repaired::default() };
        note_outcome(&mut stuck, 1, &unreadable);
        note_outcome(&mut stuck, 2, &Repaired { waiting: 1, ..Repaired::default() });
        for chunk in [1, 2] {
            note_outcome(&mut stuck, chunk, &Repaired { left: 1, ..Repaired::default() });
        }
        assert_eq!(stuck, BTreeMap::from([(1, Stuck::Unreadable), (2, Stuck::Waits)]));
        for chunk in [1, 2] {
            note_outcome(&mut stuck, chunk, &Repaired { healthy: 1, ..Repaired::default() });
        }
        assert!(stuck.is_empty());
    }

    #[test]
    fn of_shards_four_are_needed_and_of_what_is_coded_nobody_has_anything() {
        let shards = row(&[1, 2, 3, 4, 5, 6], ChunkForm::Shards(Shards::new(7, 1000)));
        let spare = |there: &[u64]| standing(&shards, &there.iter().copied().collect(), &[]).spare;
        assert_eq!((spare(&[1, 2, 3, 4, 5, 6]), spare(&[1, 2, 3, 4, 5]), spare(&[1, 2, 3, 4]), spare(&[1])), (2, 1, 0, 0));
        assert!(!standing(&row(&[], ChunkForm::Coded(7)), &BTreeSet::new(), &[]).is_short);
    }
}
