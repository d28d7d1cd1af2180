//! Objects that go where their namespace says: to the cold tier when nobody has read them for long, and back when somebody did; and
//! to chunks of as many copies as are asked for now.
//!
//! Which objects are where they should be is seen from their rows in each round, so a round goes on where another ended. What moves is
//! needles, each in a transaction, to a chunk that is kept so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use eddy_kv::{KeyRange, KvError, Row, SCAN_ROWS_MAX, Scan, Transaction};
use eddy_object::placement::choose_for_shards;
use eddy_object::schema::{
    AccessRow, ChunkForm, ChunkRow, Class, Contents, NamespaceRow, Needed, ObjectRow, PieceRow, ReferenceRow, Tier, Tiering,
    UNSETTLED, accesses, after, configuration_key, decode, key_and_number, namespace_key, objects, unsettled_since, versions,
};
use eddy_object::{ObjectError, now_ms};

use crate::Master;
use crate::chunks::all;
use crate::repair::milliseconds;

/// What a round of tiers did, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tiered {
    /// Needles that went to the cold tier.
    pub cooled: usize,
    /// Needles that came from there.
    pub warmed: usize,
    /// Needles of which there are more copies now, or fewer, because their namespace says so.
    pub recopied: usize,
    /// Bytes of all of these.
    pub bytes: u64,
    /// Needles that were to move and were not come to, or could not now.
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
    chunks: BTreeMap<u64, Kept>,
    done: Tiered,
}

/// How the bytes of a chunk are kept.
#[derive(Clone, Copy)]
struct Kept {
    tier: Tier,
    /// None where it is coded, and its bytes are kept but once.
    copies: Option<u8>,
}

impl Kept {
    fn of(row: &ChunkRow) -> Self {
        Self { tier: row.tier, copies: (row.form == ChunkForm::Whole).then_some(row.copies) }
    }
}

/// A namespace whose objects are looked at, and which of them were read.
struct Looking<'a> {
    space: &'a NamespaceRow,
    reads: Reads<'a>,
    /// Something of it is kept as it would not be without its tiering, or not as its settings say.
    unsettled: bool,
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
        let kept = chunks.iter().map(|(chunk, (row, _)): (&u64, &(ChunkRow, Row))| (*chunk, Kept::of(row))).collect();
        let mut round = Round { until, day_ms, now_ms: now_ms(), chunks: kept, done: Tiered::default() };
        let candidates = self.servers.candidates();
        let slow = candidates.iter().any(|one| one.class == Class::Slow && one.accepts());
        round.done.nowhere = !slow && choose_for_shards(&candidates, Class::Slow, &mut fastrand::Rng::new()).is_none();
        for (name, _) in self.metadata.list_namespaces("").await? {
            self.tier_of(&name, &mut round).await?;
        }
        Ok(round.done)
    }

    /// Looks at a namespace, if something of it may be elsewhere than where it should be.
    async fn tier_of(&self, name: &str, round: &mut Round) -> Result<(), ObjectError> {
        // Both anew, since others took their time: what is settled is so by these settings, or the note stays.
        let Some(found) = self.metadata.store().get(namespace_key(name)).await? else { return Ok(()) };
        let space: NamespaceRow = decode(&found.bytes)?;
        let key = configuration_key(space.id, UNSETTLED);
        let noted = self.metadata.store().get(key.clone()).await?;
        let tiers = space.settings.tiering != Tiering::default();
        if !tiers && noted.is_none() {
            return Ok(());
        }
        if tiers && noted.is_none() {
            match self.metadata.set_configuration(name, UNSETTLED, Some(unsettled_since(round.now_ms))).await {
                Err(ObjectError::NoNamespace(_)) => return Ok(()),
                done => done?,
            }
        }
        let unsettled = self.tier_namespace(&space, round).await?;
        // What was begun by other settings, or moves while others look, ends up as it was to be then.
        let since_ms = noted.as_ref().and_then(|noted| noted.bytes[..].try_into().ok()).map_or(0, u64::from_be_bytes);
        let is_over = round.now_ms.saturating_sub(since_ms) >= milliseconds(self.options.grace);
        if !tiers && !unsettled && is_over {
            let settled =
                Transaction::new().check(namespace_key(name), Some(&found)).check(key.clone(), noted.as_ref()).delete(key);
            self.try_commit(settled).await?;
        }
        Ok(())
    }

    /// Looks at all versions of all objects of a namespace; whether any of it is not as it would be kept by
    /// its settings without tiering.
    async fn tier_namespace(&self, space: &NamespaceRow, round: &mut Round) -> Result<bool, ObjectError> {
        // First, since what comes together meanwhile is looked at with the objects.
        let mut any = self.tier_parts(space, round).await?;
        for range in [objects(space.id, ""), versions(space.id, "")] {
            let present = range == objects(space.id, "");
            let mut looking = Looking { space, reads: Reads::of(self, space), unsettled: false };
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
            any |= looking.unsettled;
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
        self.needed_by_pieces(row.upload, &row.contents, &mut needed).await?;
        for reference in needed {
            looking.unsettled |= self.tier_needle(round, &reference, looking.space.settings.copies, wanted).await?;
        }
        Ok(())
    }

    /// Looks at the parts of objects that are to come together; whether any of it is not as it would be kept by its settings.
    async fn tier_parts(&self, space: &NamespaceRow, round: &mut Round) -> Result<bool, ObjectError> {
        let (mut unsettled, mut after) = (false, None::<(String, u64)>);
        loop {
            let last = after.as_ref().map(|(key, upload)| (&key[..], *upload));
            let (some, more) = self.metadata.list_multiparts(space.id, "", last, SCAN_ROWS_MAX).await?;
            for multipart in &some {
                let mut needed = Vec::new();
                for (piece, found) in self.metadata.pieces(multipart.upload).await? {
                    self.needed_by_piece(multipart.upload, piece, &found, &mut needed).await?;
                }
                for reference in needed {
                    let wanted = space.settings.tiering.begins();
                    unsettled |= self.tier_needle(round, &reference, space.settings.copies, wanted).await?;
                }
            }
            match some.into_iter().last() {
                Some(last) if more => after = Some((last.key, last.upload)),
                _ => return Ok(unsettled),
            }
        }
    }

    /// The needles of the pieces of something, and of theirs: parts that are long are in pieces, too.
    async fn needed_by_pieces(
        &self,
        upload: u64,
        contents: &Contents,
        needed: &mut Vec<ReferenceRow>,
    ) -> Result<(), ObjectError> {
        for (piece, _) in contents.pieces() {
            let Some(found) = self.metadata.piece(upload, piece).await? else { continue };
            self.needed_by_piece(upload, piece, &found, needed).await?;
        }
        Ok(())
    }

    async fn needed_by_piece(
        &self,
        of: u64,
        piece: u16,
        found: &PieceRow,
        needed: &mut Vec<ReferenceRow>,
    ) -> Result<(), ObjectError> {
        let by = Needed::Piece { of, piece };
        let reference = |extent: &_| ReferenceRow { upload: found.upload, by: by.clone(), extent: *extent };
        needed.extend(found.contents.needles().iter().map(reference));
        Box::pin(self.needed_by_pieces(found.upload, &found.contents, needed)).await
    }

    /// Moves a needle to where it should be, if it is not there; whether it is in any but the hot tier then, or still elsewhere.
    async fn tier_needle(
        &self,
        round: &mut Round,
        reference: &ReferenceRow,
        copies: u8,
        wanted: Tier,
    ) -> Result<bool, ObjectError> {
        let extent = reference.extent;
        let known = round.chunks.get(&extent.chunk).copied();
        let is = match known {
            Some(is) => is,
            // It came since the round began.
            None => match self.metadata.chunk(extent.chunk).await? {
                Some(row) => *round.chunks.entry(extent.chunk).or_insert(Kept::of(&row)),
                // What needed it is gone or elsewhere.
                None => return Ok(true),
            },
        };
        let tier = if wanted == Tier::Cold && round.done.nowhere { is.tier } else { wanted };
        let is_settled = is.tier == tier && is.copies.is_none_or(|is| is == copies);
        let moved = if is_settled {
            false
        } else if Instant::now() >= round.until {
            round.done.left += 1;
            false
        } else {
            self.tier_pace.spend(u64::from(extent.bytes)).await;
            match self.objects.relocate(reference, Some((copies, tier))).await {
                Ok(moved) => moved,
                Err(ObjectError::Metadata(error)) => return Err(error.into()),
                Err(error) => {
                    let error = eddy_telemetry::error_chain(&error);
                    tracing::warn!(
                        chunk = extent.chunk,
                        error,
                        "failed to move a needle to where it should be; it is tried again"
                    );
                    round.done.left += 1;
                    false
                }
            }
        };
        if moved {
            round.done.bytes += u64::from(extent.bytes);
            match (is.tier, tier) {
                (is, now) if is == now => round.done.recopied += 1,
                (_, Tier::Cold) => round.done.cooled += 1,
                (Tier::Cold, _) => round.done.warmed += 1,
                _ => {}
            }
        }
        let now = if moved { tier } else { is.tier };
        if now == Tier::Cold {
            round.done.cold_bytes += u64::from(extent.bytes);
        }
        Ok(now != Tier::Hot || !is_settled && !moved)
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
