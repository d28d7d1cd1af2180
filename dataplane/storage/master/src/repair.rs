//! Chunks of which a server lacks something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use eddy_chunks::Extent;
use eddy_chunkserver::{ClientError, Refusal, ServerAddress};
use eddy_kv::{KeyRange, KvError, Row, Transaction, Value};
use eddy_object::placement::choose;
use eddy_object::schema::{ChunkForm, ChunkRow, DegradedRow, StrayRow, Tier, chunk_key, decode, encode, stray_key};
use eddy_object::{ObjectError, now_ms};
use futures::StreamExt;

use crate::Master;
use crate::chunks::number_of;
use crate::copy::copy;
use crate::expected::Expected;
use crate::plan::{Holding, Plan, plan};

/// What a round of repair did, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Chunks of which it was known before that they lack something.
    pub noted: usize,
    /// Those of them of which nothing more may be lost.
    pub at_risk: usize,
    /// Chunks all of whose copies were read and are whole.
    pub healthy: usize,
    /// Copies that were made; the next round reads them.
    pub copies: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Chunks that wait for a server to come back, or for one with room.
    pub waiting: usize,
    /// Chunks with needles that no server gives now.
    pub unreadable: Vec<u64>,
}

/// Copies that were made, and what was noted of their servers before: it must still be so when a row says that they have them.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) servers: Vec<u64>,
    pub(crate) strays: Vec<(Bytes, Option<Value>)>,
    pub(crate) bytes: u64,
}

impl Made {
    /// The transaction that says that these servers have the chunk holds only if what they had of it was not removed.
    pub(crate) fn say_they_have(&self, transaction: Transaction) -> Transaction {
        self.strays.iter().fold(transaction, |transaction, (key, stray)| {
            let transaction = transaction.check(key.clone(), stray.as_ref());
            if stray.is_some() { transaction.delete(key.clone()) } else { transaction }
        })
    }
}

/// A chunk that is noted, and what is known without asking.
struct Noted {
    chunk: u64,
    row: Row,
    degraded: DegradedRow,
}

impl Master {
    /// Notes all chunks of servers that have not answered, or not been known, for longer than the master is patient.
    ///
    /// One that is only restarted must not be noted: all copies of its chunks would be read.
    ///
    /// # Errors
    /// The store's.
    pub async fn note_lost_servers(&self) -> Result<usize, ObjectError> {
        self.refresh().await?;
        let there: BTreeSet<u64> = self.servers.candidates().iter().map(|candidate| candidate.server).collect();
        let chunks = crate::chunks::all(&self.metadata).await?;
        let missing: BTreeSet<u64> =
            chunks.values().flat_map(|(row, _)| row.servers.iter().copied()).filter(|server| !there.contains(server)).collect();
        let lost = self.lost_of(&missing).await?;
        let mut noted = 0;
        for (chunk, (row, _)) in chunks {
            let lost: Vec<u64> = row.servers.into_iter().filter(|server| lost.contains(server)).collect();
            if !lost.is_empty() {
                self.metadata.degrade(chunk, &lost).await?;
                noted += 1;
            }
        }
        Ok(noted)
    }

    /// Those of the missing that have been for long enough, whoever saw it first.
    async fn lost_of(&self, missing: &BTreeSet<u64>) -> Result<BTreeSet<u64>, ObjectError> {
        let aways = self.metadata.aways().await?;
        for server in missing.iter().filter(|server| !aways.contains_key(server)) {
            self.metadata.note_away(*server).await?;
        }
        for server in aways.keys().filter(|server| !missing.contains(server)) {
            self.metadata.note_back(*server).await?;
        }
        let now = now_ms();
        let since = |server: &u64| aways.get(server).map_or(now, |away| away.since_ms);
        let patience = milliseconds(self.options.patience);
        let lost = missing.iter().copied().filter(|server| now.saturating_sub(since(server)) >= patience);
        let lost: BTreeSet<u64> = lost.collect();
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&lost);
        Ok(lost)
    }

    /// Looks at every chunk that is noted, those with the fewest copies first, and makes the copies that are missing. A chunk is noted no
    /// more only after every copy of it was read and found whole.
    ///
    /// # Errors
    /// The store's.
    pub async fn repair(&self) -> Result<Repaired, ObjectError> {
        self.refresh().await?;
        let there: BTreeSet<u64> = self.servers.candidates().iter().map(|candidate| candidate.server).collect();
        let mut queue = Vec::new();
        for row in self.metadata.scan_all(KeyRange::prefix(&b"d"[..])).await? {
            let (chunk, degraded): (u64, DegradedRow) = (number_of(&row)?, decode(&row.value.bytes)?);
            let found = self.metadata.chunk(chunk).await?;
            let servers = found.iter().flat_map(|chunk| &chunk.servers);
            let good = servers.filter(|server| there.contains(server) && !degraded.servers.contains(server)).count();
            // Of shards, more must be left than one.
            let enough = match found.map(|chunk| chunk.form) {
                Some(ChunkForm::Shards(shards)) => usize::from(shards.data),
                _ => 1,
            };
            queue.push((good.saturating_sub(enough), degraded.since_ms, Noted { chunk, row, degraded }));
        }
        queue.sort_by_key(|(spare, since, _)| (*spare, *since));
        let at_risk = queue.iter().filter(|(spare, ..)| *spare == 0).count();
        let mut all = Repaired { noted: queue.len(), at_risk, ..Repaired::default() };
        let work = queue.into_iter().map(|(_, _, noted)| self.repair_one(noted));
        let mut outcomes = futures::stream::iter(work).buffer_unordered(self.options.repairs_at_once);
        while let Some(outcome) = outcomes.next().await {
            let one = outcome?;
            all.healthy += one.healthy;
            all.copies += one.copies;
            all.bytes += one.bytes;
            all.waiting += one.waiting;
            all.unreadable.extend(one.unreadable);
        }
        Ok(all)
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
        let expected = Expected::of(&self.metadata, chunk, &row).await?;
        let patient = now_ms().saturating_sub(noted.degraded.since_ms) < milliseconds(self.options.patience);
        let holdings = self.holdings(chunk, &row.servers, patient).await;
        let plan = plan(&holdings, &expected, usize::from(row.copies));
        if !plan.unreadable.is_empty() {
            tracing::warn!(chunk, needles = plan.unreadable.len(), "needles that are needed cannot be read from any server");
            return Ok(Repaired { unreadable: vec![chunk], ..Repaired::default() });
        }
        let as_many = plan.whole.len() == row.servers.len() && plan.whole.len() <= usize::from(row.copies);
        if plan.is_healthy() && as_many {
            let done = self.forget(&noted, check).await?;
            return Ok(Repaired { healthy: usize::from(done), ..Repaired::default() });
        }
        let needed = match expected {
            Expected::Copies(needed) => needed,
            Expected::Shards { .. } => return self.repair_shards(chunk, &row, &value, &holdings, &plan).await,
        };
        let made = self.make_copies(chunk, row.tier, &needed, &holdings, &plan).await?;
        let copies = usize::from(row.copies);
        let servers: Vec<u64> = match plan.whole.len() >= copies {
            // Those that were away or lost may have come back after others took their place.
            true => self.keep(&plan.whole, copies, row.tier),
            false => [&plan.whole[..], &made.servers, &plan.away].concat(),
        };
        let enough = servers.len() >= copies;
        // One that lacks something is better than none, until there are enough without it; and one that is lost may come back
        // after all, with what others lose meanwhile.
        let others = plan.lacking.iter().chain(&plan.lost).filter(|server| !enough && !servers.contains(server));
        let servers: Vec<u64> = servers.iter().chain(others).copied().collect();
        if servers != row.servers {
            let next = encode(&ChunkRow { servers, ..row })?;
            let put = Transaction::new().check(chunk_key(chunk), Some(&value)).put(chunk_key(chunk), next);
            match self.metadata.store().commit(made.say_they_have(put)).await {
                // It changed meanwhile: the next round sees.
                Err(KvError::Conflict { .. }) => return Ok(Repaired { waiting: 1, ..Repaired::default() }),
                done => drop(done?),
            }
        }
        let copies = made.servers.len();
        Ok(Repaired { copies, bytes: made.bytes, waiting: usize::from(copies < plan.missing), ..Repaired::default() })
    }

    /// Of more servers than are needed, those that a new chunk would rather be on.
    fn keep(&self, whole: &[u64], copies: usize, tier: Tier) -> Vec<u64> {
        if whole.len() == copies {
            return whole.to_vec();
        }
        let candidates: Vec<_> = self.servers.candidates().into_iter().filter(|one| whole.contains(&one.server)).collect();
        let mut kept = choose(&candidates, copies, tier.class(), &BTreeSet::new(), &mut fastrand::Rng::new());
        let others = whole.iter().filter(|server| !kept.contains(server)).take(copies - kept.len());
        let others: Vec<u64> = others.copied().collect();
        kept.extend(others);
        kept
    }

    fn is_lost(&self, server: u64) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).contains(&server)
    }

    /// What each server has, after it has read all of it.
    pub(crate) async fn holdings(&self, chunk: u64, servers: &[u64], patient: bool) -> Vec<(u64, Holding)> {
        let asked = servers.iter().map(|server| async move {
            let unknown = if patient && !self.is_lost(*server) { Holding::Away } else { Holding::Lost };
            let Some(address) = self.servers.address(*server) else { return (*server, unknown) };
            let holding = match self.client.scan(&address, chunk).await {
                Ok(needles) => {
                    let whole = needles.into_iter().filter(|(_, damaged)| !damaged);
                    Holding::Needles(whole.map(|(extent, _)| extent).collect())
                }
                Err(ClientError::Refused { source: Refusal::NoChunk | Refusal::Damaged(_), .. }) => {
                    Holding::Needles(BTreeSet::new())
                }
                Err(_) => unknown,
            };
            (*server, holding)
        });
        futures::future::join_all(asked).await
    }

    /// Makes as many copies as are missing, or can be.
    async fn make_copies(
        &self,
        chunk: u64,
        tier: Tier,
        needed: &BTreeSet<Extent>,
        holdings: &[(u64, Holding)],
        plan: &Plan,
    ) -> Result<Made, ObjectError> {
        let taken: BTreeSet<u64> = holdings.iter().map(|(server, _)| *server).collect();
        let candidates = self.servers.candidates();
        let mut targets = choose(&candidates, plan.missing, tier.class(), &taken, &mut fastrand::Rng::new());
        // Where there is no other server, one that lacks something gets all of it anew, if others have what it has.
        for server in &plan.lacking {
            let others = sources(&self.servers, holdings, *server);
            if targets.len() < plan.missing && needed.iter().all(|extent| others.contains_key(extent)) {
                targets.push(*server);
            }
        }
        let mut made = Made::default();
        for server in targets {
            let Some(address) = self.servers.address(server) else { continue };
            let Some(stray) = self.may_have(server, chunk).await? else { continue };
            match copy(&self.client, chunk, needed, &sources(&self.servers, holdings, server), &address, &self.repair_pace).await
            {
                Ok(copied) => {
                    made.servers.push(server);
                    made.strays.push((stray_key(server, chunk), stray));
                    made.bytes += copied;
                }
                Err(error) => {
                    let error = eddy_telemetry::error_chain(&error);
                    tracing::warn!(chunk, server, error, "failed to copy a chunk; it is tried again");
                }
            }
        }
        Ok(made)
    }

    /// What is noted of a chunk on a server, if the server may have it: not where what it has of it may be removed this moment.
    pub(crate) async fn may_have(&self, server: u64, chunk: u64) -> Result<Option<Option<Value>>, ObjectError> {
        let stray = self.metadata.store().get(stray_key(server, chunk)).await?;
        let doomed = match &stray {
            Some(stray) => decode::<StrayRow>(&stray.bytes)?.doomed,
            None => false,
        };
        Ok((!doomed).then_some(stray))
    }

    /// A chunk is noted no more, unless it was noted again meanwhile.
    async fn forget(&self, noted: &Noted, transaction: Transaction) -> Result<bool, ObjectError> {
        let forget = transaction.check(noted.row.key.clone(), Some(&noted.row.value)).delete(noted.row.key.clone());
        match self.metadata.store().commit(forget).await {
            Err(KvError::Conflict { .. }) => Ok(false),
            done => Ok(done.map(|_| true)?),
        }
    }
}

/// Who can give each needle, but for one server.
fn sources(servers: &eddy_object::Servers, holdings: &[(u64, Holding)], but: u64) -> BTreeMap<Extent, Vec<ServerAddress>> {
    let mut sources: BTreeMap<Extent, Vec<ServerAddress>> = BTreeMap::new();
    for (server, holding) in holdings {
        let (Holding::Needles(has), Some(address)) = (holding, servers.address(*server)) else { continue };
        if but == *server {
            continue;
        }
        for extent in has {
            sources.entry(*extent).or_default().push(address.clone());
        }
    }
    sources
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
