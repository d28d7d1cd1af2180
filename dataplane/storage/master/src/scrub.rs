//! Reading what nobody reads, so that what has rotted is found while other copies are whole.

use std::time::Duration;

use eddy_kv::Transaction;
use eddy_object::schema::{ChunkForm, ChunkRow, chunk_key, encode};
use eddy_object::{ObjectError, now_ms};

use crate::Master;
use crate::chunks::{all, degraded};
use crate::expected::Expected;
use crate::plan::plan;

/// What a round of scrubbing did, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Chunks all of whose copies were read and are whole.
    pub whole: usize,
    /// Chunks that were noted to be repaired.
    pub noted: usize,
    /// Chunks that have not been read for longer than asked for.
    pub due: usize,
    /// For how long the chunk that was read longest ago has not been.
    pub oldest: Duration,
}

impl Master {
    /// Reads all copies of some chunks: of those that nobody has read for `age`, as many as it takes to read every chunk once in `age` where a round
    /// begins every `interval`, those first that were read longest ago; and of those that nobody has read since they were written, as many. Of what
    /// one of them lacks, the door that wrote it knew, which may have ended before it said so.
    ///
    /// # Errors
    /// The store's.
    pub async fn scrub(&self, age: Duration, interval: Duration) -> Result<Scrubbed, ObjectError> {
        self.refresh().await?;
        let mut chunks: Vec<(Duration, u64, ChunkRow, eddy_kv::Row)> =
            all(&self.metadata).await?.into_iter().map(|(chunk, (row, found))| (unread_for(&row), chunk, row, found)).collect();
        let noted = degraded(&self.metadata).await?;
        // What is coded is read as shards.
        chunks.retain(|(_, _, row, _)| !matches!(row.form, ChunkForm::Coded(_)));
        chunks.sort_by_key(|(unread, ..)| std::cmp::Reverse(*unread));
        let oldest = chunks.first().map_or(Duration::ZERO, |(unread, ..)| *unread);
        // What is noted is read by repair, and must not keep others from their turns.
        chunks.retain(|(_, chunk, ..)| !noted.contains(chunk));
        let mut scrubbed = Scrubbed { oldest, ..Scrubbed::default() };
        let at_once = at_once(chunks.len(), age, interval);
        let (due, others): (Vec<_>, Vec<_>) = chunks.into_iter().partition(|(unread, ..)| *unread >= age);
        let is_new = |row: &ChunkRow| row.verified_ms < row.touched_ms && self.is_old(row.touched_ms);
        let new = others.into_iter().filter(|(_, _, row, _)| is_new(row));
        scrubbed.due = due.len();
        self.scrub_some(due.into_iter(), at_once, &mut scrubbed).await?;
        self.scrub_some(new, at_once, &mut scrubbed).await?;
        Ok(scrubbed)
    }

    async fn scrub_some(
        &self,
        chunks: impl Iterator<Item = (Duration, u64, ChunkRow, eddy_kv::Row)>,
        most: usize,
        scrubbed: &mut Scrubbed,
    ) -> Result<(), ObjectError> {
        let done_before = scrubbed.whole + scrubbed.noted;
        // Those that cannot be read now keep no others from their turns.
        for (_, chunk, row, found) in chunks.take(2 * most) {
            if scrubbed.whole + scrubbed.noted >= done_before + most {
                break;
            }
            let expected = Expected::of(&self.metadata, chunk, &row).await?;
            self.scrub_pace.spend(expected.bytes(row.replicas.len())).await;
            // That may have taken long: what has moved since is elsewhere, and its turn comes again.
            if self.metadata.store().get(found.key.clone()).await?.as_ref() != Some(&found.value) {
                continue;
            }
            let expected = Expected::of(&self.metadata, chunk, &row).await?;
            let holdings = self.holdings(chunk, &row.replicas, true).await;
            let plan = plan(&holdings, &expected, usize::from(row.copies));
            if plan.is_healthy() {
                let verified = encode(&ChunkRow { verified_ms: now_ms(), ..row })?;
                let put = Transaction::new().check(found.key.clone(), Some(&found.value)).put(chunk_key(chunk), verified);
                // Otherwise it is being written to or repaired: its turn comes again.
                scrubbed.whole += usize::from(self.try_commit(put).await?);
                continue;
            }
            let lacking = [&plan.lacking[..], &plan.lost].concat();
            // One that does not answer is no reason: it is read when it does.
            if !lacking.is_empty() || !plan.beside.is_empty() || plan.missing > 0 {
                self.metadata.degrade(chunk, &lacking).await?;
                scrubbed.noted += 1;
            }
        }
        Ok(())
    }
}

/// For how long nobody has read all copies of a chunk; from when it was written where nobody has.
fn unread_for(row: &ChunkRow) -> Duration {
    Duration::from_millis(now_ms().saturating_sub(row.verified_ms.max(row.touched_ms)))
}

/// Chunks of a round, so that every chunk's turn comes once in `age`; one at least.
fn at_once(chunks: usize, age: Duration, interval: Duration) -> usize {
    let rounds = age.as_secs_f64() / interval.as_secs_f64().max(0.001);
    ((chunks as f64 / rounds.max(1.0)).ceil() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_s_turn_comes_once() {
        let (day, minute) = (Duration::from_secs(86_400), Duration::from_secs(60));
        assert_eq!(at_once(0, day, minute), 1);
        assert_eq!(at_once(1440, day, minute), 1);
        assert_eq!(at_once(1441, day, minute), 2);
        assert_eq!(at_once(100, Duration::ZERO, minute), 100);
    }
}
