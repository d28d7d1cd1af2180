//! What servers have and how full they are, as the planner of moves wants to know.

use std::collections::{BTreeMap, BTreeSet};

use eddy_chunks::FileId;
use eddy_chunkserver::ChunkClient;
use eddy_kv::Row;
use eddy_object::schema::{ChunkForm, ChunkRow, Replica};
use eddy_object::{Metadata, ObjectError, Servers};

use crate::balance::{Disk, Placed, Role};
use crate::chunks::all;

/// Servers and chunks at about one time.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// All servers that are known.
    pub disks: Vec<Disk>,
    /// All chunks that are not about to be repaired.
    pub chunks: Vec<Placed>,
    /// How many chunks each server has, as rows say.
    pub counts: BTreeMap<u64, usize>,
}

/// From when on what happened is too fresh to be acted on, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// Chunks that were written to since are still written to.
    pub written_ms: u64,
    /// Of servers that are to be emptied since, not everyone knows yet.
    pub draining_ms: u64,
}

impl Fresh {
    /// Nothing is.
    pub const NEVER: Self = Self { written_ms: u64::MAX, draining_ms: u64::MAX };
}

impl Survey {
    /// Asks all servers, and reads all chunks' rows.
    ///
    /// # Errors
    /// The store's.
    pub async fn take(metadata: &Metadata, client: &ChunkClient, servers: &Servers, fresh: Fresh) -> Result<Self, ObjectError> {
        servers.refresh(metadata, client).await?;
        let (known, drains) = (metadata.servers().await?, metadata.drains().await?);
        let mut files: BTreeMap<u64, BTreeMap<FileId, u64>> = BTreeMap::new();
        for candidate in servers.candidates() {
            let Some(address) = servers.address(candidate.server) else { continue };
            if let Ok(listed) = client.list(&address).await {
                files.insert(candidate.server, listed.into_iter().collect());
            }
        }
        // The rows are read after the files: a file that came meanwhile is not listed.
        let rows = all(metadata).await?;
        let degraded = crate::chunks::degraded(metadata).await?;
        let candidates: BTreeMap<u64, _> = servers.candidates().into_iter().map(|one| (one.server, one)).collect();
        let disks = known.into_iter().map(|(server, row)| {
            let asked = candidates.get(&server).zip(files.get(&server));
            let role = match (asked, drains.get(&server)) {
                (None, _) => Role::Away,
                // Until all know, it is neither given anything nor made to give.
                (_, Some(drain)) if drain.since_ms > fresh.draining_ms => Role::Away,
                (_, Some(_)) => Role::Draining,
                _ => Role::Serving,
            };
            let unnamed = |(id, _): &(&FileId, &u64)| {
                let replica = Replica { server, file: id.file };
                !rows.get(&id.chunk).is_some_and(|(row, _)| row.replicas.contains(&replica))
            };
            let garbage: u64 = files.get(&server).into_iter().flatten().filter(unnamed).map(|(_, bytes)| bytes).sum();
            let (total_bytes, available_bytes) = asked.map_or((0, 0), |(one, _)| (one.total_bytes, one.available_bytes));
            let used_bytes = total_bytes.saturating_sub(available_bytes).saturating_sub(garbage);
            Disk { server, failure_domain: row.failure_domain, class: row.class, role, total_bytes, used_bytes, available_bytes }
        });
        let disks = disks.collect();
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        rows.values().flat_map(|(row, _)| row.servers()).for_each(|server| *counts.entry(server).or_default() += 1);
        // What is coded is where its shards are, which are chunks, too.
        let placed = |(chunk, (row, _)): &(u64, (ChunkRow, Row))| !degraded.contains(chunk) && !row.replicas.is_empty();
        let chunks = rows.into_iter().filter(placed).map(|(chunk, (row, _))| {
            let lengths = row.replicas.iter().filter_map(|one| files.get(&one.server)?.get(&one.id(chunk)).copied());
            let bytes = lengths.max().unwrap_or_default();
            let together_max = match row.form {
                ChunkForm::Shards(shards) => usize::from(row.copies.saturating_sub(shards.data)),
                ChunkForm::Whole | ChunkForm::Coded(_) => 1,
            };
            let settled = row.touched_ms <= fresh.written_ms;
            Placed { chunk, bytes, settled, together_max, servers: row.servers().collect() }
        });
        Ok(Self { disks, chunks: chunks.collect(), counts })
    }

    /// Chunks that servers which are being emptied still have.
    pub fn draining(&self) -> usize {
        let draining: BTreeSet<u64> =
            self.disks.iter().filter(|disk| disk.role == Role::Draining).map(|disk| disk.server).collect();
        self.counts.iter().filter(|(server, _)| draining.contains(server)).map(|(_, count)| count).sum()
    }
}
