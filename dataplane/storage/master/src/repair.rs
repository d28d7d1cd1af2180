//! Chunks of which a server lacks something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use eddy_chunks::Extent;
use eddy_chunkserver::{ClientError, Refusal, ServerAddress};
use eddy_kv::{KeyRange, KvError, Row, Transaction, Value};
use eddy_object::placement::choose;
use eddy_object::schema::{ChunkRow, DegradedRow, StrayRow, chunk_key, decode, encode, stray_key};
use eddy_object::{ObjectError, now_ms};
use futures::StreamExt;

use crate::Master;
use crate::chunks::{needed, number_of};
use crate::copy::copy;
use crate::plan::{Holding, Plan, plan};

/// What a round of repair did, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
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
struct Made {
    servers: Vec<u64>,
    strays: Vec<(Bytes, Option<Value>)>,
    bytes: u64,
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
            let servers = self.metadata.chunk(chunk).await?.map(|chunk| chunk.servers).unwrap_or_default();
            let good = servers.iter().filter(|server| there.contains(server) && !degraded.servers.contains(server)).count();
            queue.push((good, degraded.since_ms, Noted { chunk, row, degraded }));
        }
        queue.sort_by_key(|(good, since, _)| (*good, *since));
        let work = queue.into_iter().map(|(_, _, noted)| self.repair_one(noted));
        let mut outcomes = futures::stream::iter(work).buffer_unordered(self.options.repairs_at_once);
        let mut all = Repaired::default();
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
        let needed = needed(&self.metadata, chunk).await?;
        let patient = now_ms().saturating_sub(noted.degraded.since_ms) < milliseconds(self.options.patience);
        let holdings = self.holdings(chunk, &row.servers, patient).await;
        let plan = plan(&holdings, &needed, usize::from(row.copies));
        if !plan.unreadable.is_empty() {
            tracing::warn!(chunk, needles = plan.unreadable.len(), "needles that are needed cannot be read from any server");
            return Ok(Repaired { unreadable: vec![chunk], ..Repaired::default() });
        }
        let as_many = plan.whole.len() == row.servers.len() && plan.whole.len() <= usize::from(row.copies);
        if plan.is_healthy() && as_many {
            let done = self.forget(&noted, Transaction::new().check(chunk_key(chunk), Some(&value))).await?;
            return Ok(Repaired { healthy: usize::from(done), ..Repaired::default() });
        }
        let made = self.make_copies(chunk, &needed, &holdings, &plan).await?;
        let copies = usize::from(row.copies);
        let servers: Vec<u64> = match plan.whole.len() >= copies {
            // Those that were away or lost may have come back after others took their place.
            true => self.keep(&plan.whole, copies),
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
            let put = made.strays.iter().fold(put, |put, (key, stray)| {
                let put = put.check(key.clone(), stray.as_ref());
                if stray.is_some() { put.delete(key.clone()) } else { put }
            });
            match self.metadata.store().commit(put).await {
                // It changed meanwhile: the next round sees.
                Err(KvError::Conflict { .. }) => return Ok(Repaired { waiting: 1, ..Repaired::default() }),
                done => drop(done?),
            }
        }
        let copies = made.servers.len();
        Ok(Repaired { copies, bytes: made.bytes, waiting: usize::from(copies < plan.missing), ..Repaired::default() })
    }

    /// Of more servers than are needed, those that a new chunk would rather be on.
    fn keep(&self, whole: &[u64], copies: usize) -> Vec<u64> {
        if whole.len() == copies {
            return whole.to_vec();
        }
        let candidates: Vec<_> = self.servers.candidates().into_iter().filter(|one| whole.contains(&one.server)).collect();
        let mut kept = choose(&candidates, copies, &BTreeSet::new(), &mut fastrand::Rng::new());
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
        needed: &BTreeSet<Extent>,
        holdings: &[(u64, Holding)],
        plan: &Plan,
    ) -> Result<Made, ObjectError> {
        let taken: BTreeSet<u64> = holdings.iter().map(|(server, _)| *server).collect();
        let candidates = self.servers.candidates();
        let mut targets = choose(&candidates, plan.missing, &taken, &mut fastrand::Rng::new());
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
            // What it has of the chunk may be removed this moment.
            let stray = self.metadata.store().get(stray_key(server, chunk)).await?;
            if let Some(stray) = &stray
                && decode::<StrayRow>(&stray.bytes)?.doomed
            {
                continue;
            }
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
