//! Servers that are lost, and the copies that are made for theirs.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use eddy_chunks::Extent;
use eddy_kv::{Transaction, Value};
use eddy_object::schema::{ChunkForm, ChunkRow, DegradedRow, Replica, chunk_key, encode, live_key};
use eddy_object::{ObjectError, now_ms};

use crate::Master;
use crate::expected::{Expected, InPlace};
use crate::plan::{Holding, plan};
use crate::repair::{Noted, Repaired, milliseconds};

impl Master {
    /// Notes all chunks of servers that have not answered, or not been known, for longer than the master is patient.
    ///
    /// One that is only restarted must not be noted: all that it has would be copied.
    ///
    /// # Errors
    /// The store's.
    pub async fn note_lost_servers(&self) -> Result<usize, ObjectError> {
        self.refresh().await?;
        let there: BTreeSet<u64> = self.servers.candidates().iter().map(|candidate| candidate.server).collect();
        let chunks = crate::chunks::all(&self.metadata).await?;
        let missing: BTreeSet<u64> =
            chunks.values().flat_map(|(row, _)| row.servers()).filter(|server| !there.contains(server)).collect();
        let lost = self.lost_of(&missing).await?;
        let mut noted = 0;
        for (chunk, (row, _)) in chunks {
            let lost: Vec<Replica> = row.replicas.into_iter().filter(|replica| lost.contains(&replica.server)).collect();
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

    pub(crate) fn is_lost(&self, server: u64) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).contains(&server)
    }

    /// Makes the copies that lost servers had, where nothing else is known to be wrong with a chunk: its other copies are not read first,
    /// since whatever is copied is checked. All are read later, as the note says from then on. None where that is not enough.
    pub(crate) async fn replace_lost(
        &self,
        noted: &Noted,
        row: &ChunkRow,
        value: &Value,
    ) -> Result<Option<Repaired>, ObjectError> {
        if row.form != ChunkForm::Whole || !self.only_lost(noted, row) {
            return Ok(None);
        }
        let live = self.metadata.store().get(live_key(noted.chunk)).await?;
        let expected = Expected::of(&self.metadata, noted.chunk, row).await?;
        let (Expected::Copies(needed), copies) = (&expected, usize::from(row.copies)) else { return Ok(None) };
        let Some(holdings) = self.presumed(row, needed) else { return Ok(None) };
        let plan = plan(&holdings, &expected, copies);
        let made = self.make_copies(noted.chunk, row.tier, needed, &holdings, &plan).await?;
        if made.failed {
            for file in made.files {
                self.withdraw(file).await?;
            }
            return Ok(None);
        }
        let mut replicas = [&plan.whole[..], &made.replicas()].concat();
        let enough = replicas.len() >= copies;
        if made.files.is_empty() && !enough {
            return Ok(Some(Repaired { waiting: 1, ..Repaired::default() }));
        }
        let made_of = InPlace { chunk: noted.chunk, row, place: 0, has: needed, live };
        let unless_more = match enough {
            true => self.unless_more_is_needed(made_of, Transaction::new()).await?,
            false => None,
        };
        if unless_more.is_none() {
            // One that is lost may come back after all, with what others lose meanwhile, or what only it and another have.
            replicas.extend(&plan.lost);
        }
        let next = encode(&ChunkRow { replicas, ..row.clone() })?;
        let (key, note) = (chunk_key(noted.chunk), encode(&DegradedRow { read_all: true, ..noted.degraded.clone() })?);
        let put = unless_more
            .unwrap_or_default()
            .check(key.clone(), Some(value))
            .put(key, next)
            .check(noted.row.key.clone(), Some(&noted.row.value))
            .put(noted.row.key.clone(), note);
        let (copies, bytes, waiting) = (made.files.len(), made.bytes, usize::from(!enough));
        Ok(Some(match self.name(made.files, put).await? {
            true => Repaired { copies, bytes, waiting, ..Repaired::default() },
            // It changed meanwhile: the next round sees.
            false => Repaired { waiting: 1, ..Repaired::default() },
        }))
    }

    /// Whether all that is known to be wrong with a chunk is that servers of it are lost.
    fn only_lost(&self, noted: &Noted, row: &ChunkRow) -> bool {
        let all_lost = noted.degraded.servers.iter().all(|server| self.is_lost(*server));
        all_lost && !noted.degraded.read_all && row.servers().any(|server| self.is_lost(server))
    }

    /// What replicas of a chunk have, if those that are not lost have all that is needed; none where one of them does not answer.
    fn presumed(&self, row: &ChunkRow, needed: &BTreeSet<Extent>) -> Option<Vec<(Replica, Holding)>> {
        let answering: BTreeSet<u64> = self.servers.candidates().iter().map(|candidate| candidate.server).collect();
        let presumed = |replica: &Replica| match self.is_lost(replica.server) {
            true => Some((*replica, Holding::Lost)),
            false => answering.contains(&replica.server).then(|| (*replica, Holding::Needles(needed.clone()))),
        };
        row.replicas.iter().map(presumed).collect()
    }
}
