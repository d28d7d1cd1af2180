//! Chunks of which too little is needed: what is needed moves elsewhere, and the chunk is collected.

use std::collections::BTreeMap;

use eddy_chunks::FileId;
use eddy_chunks::format::HEAD_BYTES;
use eddy_kv::Row;
use eddy_object::ObjectError;
use eddy_object::schema::{ChunkForm, ChunkRow, ReferenceRow, decode, references};

use crate::Master;
use crate::chunks::{all, degraded, live};

/// Chunks that a round moves out of.
const AT_ONCE: usize = 4;
/// Chunks that a round tries to: there may be some of which nothing can be read.
const TRIED_MAX: usize = 16;

/// What a round of compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Chunks of which too little was needed, and something moved.
    pub chunks: usize,
    /// Needles that were moved out of them.
    pub needles: usize,
    /// Bytes of their data.
    pub bytes: u64,
    /// Needles that could not be read, or had nowhere to go.
    pub failed: usize,
}

impl Master {
    /// Moves what is needed out of some chunks of which more than so many percent are not, the emptiest first.
    ///
    /// # Errors
    /// The store's, or that needles cannot be read or written now.
    pub async fn compact(&self, above_percent: u8) -> Result<Compacted, ObjectError> {
        self.refresh().await?;
        let mut sizes: BTreeMap<(u64, FileId), u64> = BTreeMap::new();
        for server in self.servers.candidates() {
            let Some(address) = self.servers.address(server.server) else { continue };
            let listed = self.client.list(&address).await.unwrap_or_default();
            sizes.extend(listed.into_iter().map(|(id, bytes)| ((server.server, id), bytes)));
        }
        let mut wasteful = Vec::new();
        let (rows, noted, live) = (all(&self.metadata).await?, degraded(&self.metadata).await?, live(&self.metadata).await?);
        let image = |(chunk, (row, _)): (&u64, &(ChunkRow, Row))| match &row.form {
            ChunkForm::Shards(shards) => Some((*chunk, u64::from(shards.image_bytes))),
            _ => None,
        };
        let images: BTreeMap<u64, u64> = rows.iter().filter_map(image).collect();
        for (chunk, (row, _)) in rows {
            let size = match row.form {
                ChunkForm::Coded(shards) => images.get(&shards).copied(),
                ChunkForm::Whole => row.replicas.iter().filter_map(|one| sizes.get(&(one.server, one.id(chunk))).copied()).max(),
                ChunkForm::Shards(_) => None,
            };
            let Some(size) = size.filter(|_| self.is_old(row.touched_ms)) else { continue };
            let live = live.get(&chunk).copied().unwrap_or_default();
            let wasted = size.saturating_sub(u64::from(HEAD_BYTES) + live);
            if live > 0 && wasted * 100 > size * u64::from(above_percent) {
                wasteful.push((noted.contains(&chunk), live, chunk));
            }
        }
        // Of what is to be repaired, something may be readable from nowhere.
        wasteful.sort_unstable();
        let mut compacted = Compacted::default();
        for (_, _, chunk) in wasteful.into_iter().take(TRIED_MAX) {
            if compacted.chunks == AT_ONCE {
                break;
            }
            let before = compacted.needles;
            for row in self.metadata.scan_all(references(chunk)).await? {
                let reference: ReferenceRow = decode(&row.value.bytes)?;
                self.move_pace.spend(u64::from(reference.extent.bytes)).await;
                match self.objects.relocate(&reference, None).await {
                    Ok(true) => {
                        compacted.needles += 1;
                        compacted.bytes += u64::from(reference.extent.bytes);
                    }
                    Ok(false) => {}
                    // Others may be moved, as those that can be read.
                    Err(error @ (ObjectError::NoRoom(_) | ObjectError::Full { .. } | ObjectError::Unreadable(_))) => {
                        let error = eddy_telemetry::error_chain(&error);
                        tracing::info!(chunk = reference.extent.chunk, error, "a needle stays in a wasteful chunk");
                        compacted.failed += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
            compacted.chunks += usize::from(compacted.needles > before);
        }
        Ok(compacted)
    }
}
