//! What nobody needs.
//!
//! A chunk's number is never given twice, and a row that names a chunk is there before the chunk's first needle. So what no row
//! names for longer than any upload may be silent is needed by nobody, now or later, whoever finds that out.

use std::collections::BTreeMap;

use eddy_kv::{KeyRange, KvError, Row, Transaction};
use eddy_object::schema::{
    ChunkForm, ChunkRow, Replica, StrayRow, chunk_key, decode, degraded_key, encode, live_key, references, stray_key,
};
use eddy_object::{ObjectError, now_ms};

use crate::Master;
use crate::chunks::{all, live, number_of};

/// What a round of collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that were replaced or deleted, and all of whose references are removed.
    pub objects: usize,
    /// Uploads that ended without a word.
    pub uploads: usize,
    /// Chunks that nobody needed: their rows are gone, their files follow.
    pub chunks: usize,
    /// Files that were removed from servers.
    pub files: usize,
    /// Files that no row names, and that are not old enough.
    pub strays: usize,
}

impl Master {
    /// Removes what nobody needs and has not needed for long enough.
    ///
    /// # Errors
    /// The store's.
    pub async fn collect(&self) -> Result<Collected, ObjectError> {
        self.refresh().await?;
        let objects = self.metadata.remove_gone(self.long_ago()).await?;
        let uploads = self.metadata.end_silent_uploads(self.long_ago()).await?;
        let chunks = self.collect_chunks().await?;
        let (files, strays) = self.collect_files().await?;
        Ok(Collected { objects, uploads, chunks, files, strays })
    }

    pub(crate) fn is_old(&self, since_ms: u64) -> bool {
        since_ms <= self.long_ago()
    }

    /// What nobody needed then, and since, nobody needs.
    pub(crate) fn long_ago(&self) -> u64 {
        now_ms().saturating_sub(u64::try_from(self.options.grace.as_millis()).unwrap_or(u64::MAX))
    }

    /// Chunks without a needle that is needed.
    async fn collect_chunks(&self) -> Result<usize, ObjectError> {
        let mut collected = 0;
        // Read first: of a chunk that is made meanwhile it does not say that nothing is needed.
        let live = live(&self.metadata).await?;
        for (chunk, (row, found)) in all(&self.metadata).await? {
            if !self.is_old(row.touched_ms) {
                continue;
            }
            if let ChunkForm::Shards(shards) = &row.form {
                collected += usize::from(self.collect_shards(chunk, shards.of, &found).await?);
                continue;
            }
            // The counter is enough to leave it; to remove it, it is not.
            if live.get(&chunk).is_some_and(|bytes| *bytes > 0) || !self.metadata.scan_all(references(chunk)).await?.is_empty() {
                continue;
            }
            let live = self.metadata.store().get(live_key(chunk)).await?;
            let degraded = self.metadata.store().get(degraded_key(chunk)).await?;
            if live.as_ref().is_some_and(|live| live.bytes.iter().any(|byte| *byte != 0)) {
                // An object came meanwhile, or the counter is wrong: then it is not for us to trust.
                continue;
            }
            let delete = Transaction::new()
                .check(chunk_key(chunk), Some(&found.value))
                .check(live_key(chunk), live.as_ref())
                .check(degraded_key(chunk), degraded.as_ref())
                .delete(chunk_key(chunk))
                .delete(live_key(chunk))
                .delete(degraded_key(chunk));
            collected += usize::from(self.try_commit(delete).await?);
        }
        Ok(collected)
    }

    /// Shards of a chunk that is gone, or never came to be coded as these.
    async fn collect_shards(&self, chunk: u64, of: u64, found: &Row) -> Result<bool, ObjectError> {
        let values = self.metadata.get_all([chunk_key(of), degraded_key(chunk)]).await?;
        let [whole, degraded] = &values[..] else { return Ok(false) };
        if let Some(whole) = whole
            && decode::<ChunkRow>(&whole.bytes)?.form == ChunkForm::Coded(chunk)
        {
            return Ok(false);
        }
        let delete = Transaction::new()
            .check(chunk_key(chunk), Some(&found.value))
            .check(chunk_key(of), whole.as_ref())
            .check(degraded_key(chunk), degraded.as_ref())
            .delete(chunk_key(chunk))
            .delete(degraded_key(chunk));
        self.try_commit(delete).await
    }

    /// Files of chunks that servers have and should not.
    async fn collect_files(&self) -> Result<(usize, usize), ObjectError> {
        let seen = self.metadata.scan_all(KeyRange::prefix(&b"g"[..])).await?;
        let mut seen: BTreeMap<_, Row> = seen.into_iter().map(|row| (row.key.clone(), row)).collect();
        let (mut files, mut strays) = (0, 0);
        for server in self.servers.candidates().into_iter().map(|candidate| candidate.server) {
            let Some(address) = self.servers.address(server) else { continue };
            let Ok(listed) = self.client.list(&address).await else { continue };
            // The rows are read after the files: a file that came meanwhile is not listed.
            let rows = all(&self.metadata).await?;
            for (id, _) in listed {
                let replica = Replica { server, file: id.file };
                let key = stray_key(server, id);
                let seen = seen.remove(&key);
                if rows.get(&id.chunk).is_some_and(|(row, _)| row.replicas.contains(&replica)) {
                    if let Some(row) = seen {
                        // It was named when that was about to be noted: its time as garbage, if there is one, begins anew.
                        self.try_commit(Transaction::new().check(key.clone(), Some(&row.value)).delete(key)).await?;
                    }
                    continue;
                }
                let Some(row) = seen else {
                    let first = encode(&StrayRow { since_ms: now_ms(), doomed: false })?;
                    self.try_commit(Transaction::new().check(key.clone(), None).put(key, first)).await?;
                    strays += 1;
                    continue;
                };
                let stray: StrayRow = decode(&row.value.bytes)?;
                if !self.is_old(stray.since_ms) {
                    strays += 1;
                    continue;
                }
                // First it is said, at a moment when no row names it: whoever would name it from now on sees that.
                let named = self.metadata.store().get(chunk_key(id.chunk)).await?;
                let still = match &named {
                    Some(named) => !decode::<ChunkRow>(&named.bytes)?.replicas.contains(&replica),
                    None => true,
                };
                let doom = Transaction::new()
                    .check(key.clone(), Some(&row.value))
                    .check(chunk_key(id.chunk), named.as_ref())
                    .put(key, encode(&StrayRow { doomed: true, ..stray })?);
                if !still || !stray.doomed && !self.try_commit(doom).await? {
                    continue;
                }
                self.collect_pace.spend(1).await;
                // The next round finds it gone, and forgets it.
                match self.client.remove(&address, id).await {
                    Ok(()) => files += 1,
                    Err(error) => {
                        tracing::warn!(server, file = %id, error = eddy_telemetry::error_chain(&error), "failed to remove a file");
                    }
                }
            }
            // What is gone is no stray any more; what is announced is not there yet.
            for (key, row) in seen.extract_if(.., |_, row| number_of(row).is_ok_and(|of| of == server)) {
                let stray: StrayRow = decode(&row.value.bytes)?;
                if stray.doomed || self.is_old(stray.since_ms) {
                    self.try_commit(Transaction::new().check(key.clone(), Some(&row.value)).delete(key)).await?;
                }
            }
        }
        Ok((files, strays))
    }

    /// Whether nothing changed meanwhile and there was room, so that it was done.
    pub(crate) async fn try_commit(&self, transaction: Transaction) -> Result<bool, ObjectError> {
        match self.metadata.store().commit(transaction).await {
            Err(KvError::Conflict { .. }) => Ok(false),
            // What makes room must not wait for what does not.
            Err(full @ KvError::Full { .. }) => {
                tracing::debug!(error = eddy_telemetry::error_chain(&full), "something is noted later");
                Ok(false)
            }
            done => Ok(done.map(|_| true)?),
        }
    }
}
