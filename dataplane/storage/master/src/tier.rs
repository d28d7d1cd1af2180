//! Objects that go to another tier: to the cold one when nobody has read them for as long as their namespace says, and back when
//! somebody did.
//!
//! Which objects are where they should be is seen from their rows in each round, so a round goes on where another ended. What moves is
//! needles, each in a transaction, to a chunk of the other tier.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use eddy_kv::{KeyRange, KvError, Row, SCAN_ROWS_MAX, Scan, Transaction};
use eddy_object::placement::choose_for_shards;
use eddy_object::schema::{
    AccessRow, ChunkRow, Class, Contents, NamespaceRow, Needed, ObjectRow, ReferenceRow, Tier, Tiering, accesses, after, decode,
    key_and_number, objects, versions,
};
use eddy_object::{ObjectError, now_ms};

use crate::Master;
use crate::chunks::all;

/// The name of the row that says that something of a namespace may be cold.
const COOLED: &str = "cooled";

/// What a round of tiers did, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tiered {
    /// Needles that went to the cold tier.
    pub cooled: usize,
    /// Needles that came from there.
    pub warmed: usize,
    /// Bytes of both.
    pub bytes: u64,
    /// Needles that were to go or to come and were not come to, or could not now.
    pub left: usize,
    /// Bytes of what is cold, after the round.
    pub cold_bytes: u64,
    /// There are no slow servers, and too few for shards: nothing is made cold, since that would bring nothing.
    pub nowhere: bool,
}

/// A round.
struct Round {
    until: Instant,
    day_ms: u64,
    now_ms: u64,
    chunks: BTreeMap<u64, Tier>,
    done: Tiered,
}

/// A namespace whose objects are looked at, and which of them were read.
struct Looking<'a> {
    space: &'a NamespaceRow,
    reads: Reads<'a>,
    /// Something of it is cold, or may soon be.
    cold: bool,
}

impl Master {
    /// Moves objects between tiers for so long, where a day is so long.
    ///
    /// # Errors
    /// The store's.
    pub async fn tier(&self, day: Duration, time: Duration) -> Result<Tiered, ObjectError> {
        let until = Instant::now() + time;
        self.refresh().await?;
        let chunks = all(&self.metadata).await?;
        let day_ms = u64::try_from(day.as_millis()).unwrap_or(u64::MAX).max(1);
        let tiers = chunks.into_iter().map(|(chunk, (row, _)): (u64, (ChunkRow, Row))| (chunk, row.tier)).collect();
        let mut round = Round { until, day_ms, now_ms: now_ms(), chunks: tiers, done: Tiered::default() };
        let candidates = self.servers.candidates();
        let slow = candidates.iter().any(|one| one.class == Class::Slow && one.accepts());
        round.done.nowhere = !slow && choose_for_shards(&candidates, Class::Slow, &mut fastrand::Rng::new()).is_none();
        for (name, space) in self.metadata.list_namespaces("").await? {
            let cooled = self.metadata.configuration(space.id, COOLED).await?.is_some();
            if space.settings.tiering == Tiering::default() && !cooled {
                continue;
            }
            let cools = space.settings.tiering != Tiering::default();
            if cools && !cooled {
                self.say_cooled(&name, true).await?;
            }
            let cold = self.tier_namespace(&space, &mut round).await?;
            if !cools && !cold {
                self.say_cooled(&name, false).await?;
            }
        }
        Ok(round.done)
    }

    async fn say_cooled(&self, name: &str, cooled: bool) -> Result<(), ObjectError> {
        let value = cooled.then(bytes::Bytes::new);
        match self.metadata.set_configuration(name, COOLED, value).await {
            Err(ObjectError::NoNamespace(_)) => Ok(()),
            done => done,
        }
    }

    /// Looks at all versions of all objects of a namespace; whether any of it is where only its tiering brings it.
    async fn tier_namespace(&self, space: &NamespaceRow, round: &mut Round) -> Result<bool, ObjectError> {
        let mut any = false;
        for range in [objects(space.id, ""), versions(space.id, "")] {
            let present = range == objects(space.id, "");
            let mut looking = Looking { space, reads: Reads::of(self, space), cold: false };
            let mut range = range;
            loop {
                let page = self.metadata.store().scan(Scan::new(range.clone(), SCAN_ROWS_MAX)).await?;
                for row in &page.rows {
                    let key =
                        if present { std::str::from_utf8(&row.key[9..]).ok() } else { key_and_number(&row.key).map(|of| of.0) };
                    let key = key.ok_or_else(|| ObjectError::Broken("an object's key is no text".into()))?;
                    self.tier_version(&mut looking, round, key, &decode(&row.value.bytes)?).await?;
                }
                match page.rows.last() {
                    Some(last) if page.more => range.start = after(&last.key),
                    _ => break,
                }
            }
            any |= looking.cold;
        }
        self.forget_reads(space, round).await?;
        Ok(any)
    }

    async fn tier_version(
        &self,
        looking: &mut Looking<'_>,
        round: &mut Round,
        key: &str,
        row: &ObjectRow,
    ) -> Result<(), ObjectError> {
        let read_ms = looking.reads.of_key(key).await?;
        let wanted = wanted(looking.space.settings.tiering, row.modified_ms.max(read_ms), round.now_ms, round.day_ms);
        let by = Needed::Object { namespace: looking.space.id, key: key.to_owned(), order: row.order };
        let reference = |extent| ReferenceRow { upload: row.upload, by: by.clone(), extent };
        let mut needed: Vec<ReferenceRow> = row.contents.needles().iter().copied().map(reference).collect();
        if let Contents::Pieces(_) = &row.contents {
            for (piece, _) in row.contents.pieces() {
                let Some(found) = self.metadata.piece(row.upload, piece).await? else { continue };
                let by = Needed::Piece { of: row.upload, piece };
                let reference = |extent: &_| ReferenceRow { upload: found.upload, by: by.clone(), extent: *extent };
                needed.extend(found.contents.needles().iter().map(reference));
            }
        }
        for reference in needed {
            looking.cold |= self.tier_needle(round, &reference, wanted).await?;
        }
        Ok(())
    }

    /// Moves a needle to the tier where it should be, if it is not there; whether it is in any but the hot one then.
    async fn tier_needle(&self, round: &mut Round, reference: &ReferenceRow, wanted: Tier) -> Result<bool, ObjectError> {
        let extent = reference.extent;
        // A chunk that came since the round began is where it should be.
        let Some(is) = round.chunks.get(&extent.chunk).copied() else { return Ok(wanted != Tier::Hot) };
        let stays = is == wanted || wanted == Tier::Cold && round.done.nowhere;
        let moved = if stays {
            false
        } else if Instant::now() >= round.until {
            round.done.left += 1;
            false
        } else {
            self.tier_pace.spend(u64::from(extent.bytes)).await;
            match self.objects.relocate(reference, Some(wanted)).await {
                Ok(moved) => moved,
                Err(ObjectError::Metadata(error)) => return Err(error.into()),
                Err(error) => {
                    let error = eddy_telemetry::error_chain(&error);
                    tracing::warn!(chunk = extent.chunk, error, "failed to move a needle to another tier; it is tried again");
                    round.done.left += 1;
                    false
                }
            }
        };
        let now = if moved { wanted } else { is };
        if moved {
            round.done.bytes += u64::from(extent.bytes);
            round.done.cooled += usize::from(wanted == Tier::Cold);
            round.done.warmed += usize::from(is == Tier::Cold);
        }
        if now == Tier::Cold {
            round.done.cold_bytes += u64::from(extent.bytes);
        }
        Ok(now != Tier::Hot)
    }

    /// Removes what says that objects were read so long ago that it makes no difference.
    async fn forget_reads(&self, space: &NamespaceRow, round: &Round) -> Result<(), ObjectError> {
        let days = space.settings.tiering.cold_after_days.map(u64::from);
        let mut range = accesses(space.id);
        loop {
            let page = self.metadata.store().scan(Scan::new(range.clone(), SCAN_ROWS_MAX)).await?;
            for row in &page.rows {
                let read_ms = decode::<AccessRow>(&row.value.bytes)?.read_ms;
                if days.is_none_or(|days| is_over(read_ms, days, round.now_ms, round.day_ms)) {
                    let forget = Transaction::new().check(row.key.clone(), Some(&row.value)).delete(row.key.clone());
                    match self.metadata.store().commit(forget).await {
                        // It was read again.
                        Err(KvError::Conflict { .. }) => {}
                        done => drop(done?),
                    }
                }
            }
            match page.rows.last() {
                Some(last) if page.more => range.start = after(&last.key),
                _ => return Ok(()),
            }
        }
    }
}

fn is_over(since_ms: u64, days: u64, now_ms: u64, day_ms: u64) -> bool {
    since_ms.saturating_add(days.saturating_mul(day_ms)) <= now_ms
}

/// Where an object should be that was last written or read then (pure).
fn wanted(tiering: Tiering, used_ms: u64, now_ms: u64, day_ms: u64) -> Tier {
    match tiering.cold_after_days {
        Some(days) if is_over(used_ms, u64::from(days), now_ms, day_ms) => Tier::Cold,
        _ => tiering.begins(),
    }
}

/// When objects of a namespace were last read, for whoever asks in the order of keys.
struct Reads<'a> {
    master: &'a Master,
    range: KeyRange,
    page: std::vec::IntoIter<Row>,
    next: Option<Row>,
    ended: bool,
}

impl<'a> Reads<'a> {
    fn of(master: &'a Master, space: &NamespaceRow) -> Self {
        Self { master, range: accesses(space.id), page: Vec::new().into_iter(), next: None, ended: false }
    }

    /// In milliseconds since 1970; 0 if nobody did for long.
    async fn of_key(&mut self, key: &str) -> Result<u64, ObjectError> {
        loop {
            if self.next.is_none() && !self.advance().await? {
                return Ok(0);
            }
            match &self.next {
                Some(row) if row.key[9..] == *key.as_bytes() => return Ok(decode::<AccessRow>(&row.value.bytes)?.read_ms),
                Some(row) if row.key[9..] > *key.as_bytes() => return Ok(0),
                _ => self.next = None,
            }
        }
    }

    async fn advance(&mut self) -> Result<bool, ObjectError> {
        self.next = self.page.next();
        if self.next.is_none() && !self.ended {
            let page = self.master.metadata.store().scan(Scan::new(self.range.clone(), SCAN_ROWS_MAX)).await?;
            self.ended = !page.more;
            if let Some(last) = page.rows.last() {
                self.range.start = after(&last.key);
            }
            self.page = page.rows.into_iter();
            self.next = self.page.next();
        }
        Ok(self.next.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_used_for_so_many_days_is_cold_and_what_is_used_is_where_it_began() {
        let cold_after = |days| Tiering { coded: false, cold_after_days: days };
        assert_eq!(wanted(cold_after(None), 0, u64::MAX, 10), Tier::Hot);
        assert_eq!(wanted(cold_after(Some(3)), 100, 129, 10), Tier::Hot);
        assert_eq!(wanted(cold_after(Some(3)), 100, 130, 10), Tier::Cold);
        let coded = Tiering { coded: true, cold_after_days: Some(3) };
        assert_eq!((wanted(coded, 100, 129, 10), wanted(coded, 100, 130, 10)), (Tier::HotCoded, Tier::Cold));
        // A clock that is ahead of whoever wrote it is no reason.
        assert_eq!(wanted(cold_after(Some(3)), 1000, 0, 10), Tier::Hot);
    }
}
