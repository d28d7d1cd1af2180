//! Chunks, and what servers lack of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use eddy_chunks::Extent;
use eddy_kv::{KvError, Transaction, Value};

use super::changes::Changes;
use super::{Metadata, TRIES, now_ms};
use crate::error::{ObjectError, Result};
use crate::replicas::{Taking, needed};
use crate::schema::{ChunkForm, ChunkRow, DegradedRow, Replica, Tier, chunk_key, decode, degraded_key, encode, stray_key};

fn chunks_of(extents: &[Extent]) -> BTreeSet<u64> {
    extents.iter().map(|extent| extent.chunk).collect()
}

/// The rows of the chunks that needles lie in.
pub(super) fn chunk_keys(extents: &[Extent]) -> Vec<Bytes> {
    chunks_of(extents).into_iter().map(chunk_key).collect()
}

impl Metadata {
    /// Makes a chunk that needles are going to lie in, of files that are there and were not taken for garbage meanwhile.
    ///
    /// # Errors
    /// The store's; [`KvError::Conflict`] where they were.
    pub async fn put_chunk(&self, chunk: u64, replicas: Vec<Replica>, copies: u8, tier: Tier) -> Result<()> {
        let new = Transaction::new().check(chunk_key(chunk), None);
        let mut put = replicas.iter().fold(new, |put, replica| put.check(stray_key(replica.server, replica.id(chunk)), None));
        if replicas.len() < usize::from(copies) {
            let row = DegradedRow { servers: Vec::new(), read_all: true, since_ms: now_ms() };
            put = put.put(degraded_key(chunk), encode(&row)?);
        }
        let row = ChunkRow { replicas, copies, tier, form: ChunkForm::Whole, touched_ms: now_ms(), verified_ms: 0 };
        self.store.commit(put.put(chunk_key(chunk), encode(&row)?)).await?;
        Ok(())
    }

    /// Says that a chunk is still being written to: one that nobody needs for long is collected.
    ///
    /// # Errors
    /// The store's.
    pub async fn touch_chunk(&self, chunk: u64) -> Result<()> {
        for _ in 0..TRIES {
            let Some(value) = self.store.get(chunk_key(chunk)).await? else { return Ok(()) };
            let row = ChunkRow { touched_ms: now_ms(), ..decode(&value.bytes)? };
            let touch = Transaction::new().check(chunk_key(chunk), Some(&value)).put(chunk_key(chunk), encode(&row)?);
            match self.store.commit(touch).await {
                Err(KvError::Conflict { .. }) => {}
                done => return done.map(drop).map_err(Into::into),
            }
        }
        Err(ObjectError::Contended)
    }

    /// A chunk, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn chunk(&self, chunk: u64) -> Result<Option<ChunkRow>> {
        self.store.get(chunk_key(chunk)).await?.map(|value| decode(&value.bytes)).transpose()
    }

    /// Notes that replicas of a chunk lack something, for it to be repaired; nothing where others have taken their place. With no
    /// replicas, that all of them are to be looked at.
    ///
    /// # Errors
    /// The store's.
    pub async fn degrade(&self, chunk: u64, replicas: &[Replica]) -> Result<()> {
        for _ in 0..TRIES {
            let Some(row) = self.chunk(chunk).await? else { return Ok(()) };
            let lacking: Vec<u64> =
                replicas.iter().filter(|replica| row.replicas.contains(replica)).map(|replica| replica.server).collect();
            if lacking.is_empty() && !replicas.is_empty() {
                return Ok(());
            }
            let mut changes = Changes::default();
            self.note_degraded(&mut changes, &BTreeMap::from([(chunk, lacking)])).await?;
            match self.store.commit(changes.finish()).await {
                Err(KvError::Conflict { .. }) => {}
                done => return done.map(drop).map_err(Into::into),
            }
        }
        Err(ObjectError::Contended)
    }

    /// A chunk that was collected meanwhile cannot be referred to, nor one that went from those who took its needles. A replica that did not
    /// take its needles lacks them, also one that was made meanwhile.
    pub(super) async fn check_chunks(&self, changes: &mut Changes, extents: &[Extent], taking: &Taking) -> Result<()> {
        let values = self.get_all(chunk_keys(extents)).await?;
        self.check_chunks_read(changes, extents, values, taking).await
    }

    /// The same, of chunks that were read just now.
    pub(super) async fn check_chunks_read(
        &self,
        changes: &mut Changes,
        extents: &[Extent],
        values: Vec<Option<Value>>,
        taking: &Taking,
    ) -> Result<()> {
        let chunks = chunks_of(extents);
        let mut degraded = BTreeMap::new();
        for (chunk, value) in chunks.into_iter().zip(values) {
            let value = value.ok_or_else(|| ObjectError::NoRoom(format!("chunk {chunk:016x} is gone")))?;
            changes.check(chunk_key(chunk), Some(&value));
            let row: ChunkRow = decode(&value.bytes)?;
            // Others that took it do not count: what they have of the chunk is removed.
            let lack = taking.lacking(chunk, &row.replicas, needed(row.copies)).await;
            let lack = lack.ok_or_else(|| ObjectError::NoRoom(format!("chunk {chunk:016x} went to other servers meanwhile")))?;
            if !lack.is_empty() {
                degraded.insert(chunk, lack.iter().map(|replica| replica.server).collect());
            }
        }
        self.note_degraded(changes, &degraded).await
    }

    async fn note_degraded(&self, changes: &mut Changes, degraded: &BTreeMap<u64, Vec<u64>>) -> Result<()> {
        let values = self.get_all(degraded.keys().map(|chunk| degraded_key(*chunk))).await?;
        for ((chunk, servers), value) in degraded.iter().zip(values) {
            let mut row: DegradedRow = match &value {
                Some(value) => decode(&value.bytes)?,
                None => DegradedRow { servers: Vec::new(), read_all: false, since_ms: now_ms() },
            };
            let read_all = row.read_all || servers.is_empty();
            if value.is_some() && read_all == row.read_all && servers.iter().all(|server| row.servers.contains(server)) {
                // It is noted already; whoever takes the note away must not have done so before this commits.
                changes.check(degraded_key(*chunk), value.as_ref());
                continue;
            }
            row.read_all = read_all;
            row.servers.extend(servers);
            row.servers.sort_unstable();
            row.servers.dedup();
            changes.check(degraded_key(*chunk), value.as_ref());
            changes.put(degraded_key(*chunk), encode(&row)?);
        }
        Ok(())
    }
}
