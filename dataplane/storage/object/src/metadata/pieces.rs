//! Pieces: what an upload wrote where that is more than one transaction can refer to.

use eddy_chunks::Extent;
use eddy_kv::{KeyRange, KvError, Scan};

use super::changes::Changes;
use super::{Metadata, TRIES, now_ms};
use crate::error::{ObjectError, Result};
use crate::metadata::commit::EXTENTS_AT_ONCE;
use crate::replicas::Taking;
use crate::schema::{
    Contents, GoneRow, Needed, ObjectRow, PendingRow, PieceRow, ReferenceRow, Run, decode, encode, gone_key, object_key,
    pending_key, piece_key, pieces, version_key,
};

/// Pieces that a round removes of what one upload wrote.
const PIECES_A_ROUND: usize = 16;
/// Pieces whose lengths differ, of one object: its row must hold them.
pub(super) const RUNS_MAX: usize = 8_000;

impl Metadata {
    /// Some pieces of what an upload wrote, from this number on.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn pieces_from(&self, upload: u64, first: u16, count: usize) -> Result<Vec<(u16, PieceRow)>> {
        let range = KeyRange { start: piece_key(upload, first), end: pieces(upload).end };
        let page = self.store.scan(Scan::new(range, count.min(eddy_kv::SCAN_ROWS_MAX))).await?;
        page.rows.iter().map(|row| Ok((number(&row.key)?, decode(&row.value.bytes)?))).collect()
    }

    /// A piece of what an upload wrote, if there is one of this number.
    ///
    /// # Errors
    /// The store's.
    pub async fn piece(&self, upload: u64, number: u16) -> Result<Option<PieceRow>> {
        self.store.get(piece_key(upload, number)).await?.map(|value| decode(&value.bytes)).transpose()
    }

    /// All pieces of what an upload wrote.
    ///
    /// # Errors
    /// The store's.
    pub async fn pieces(&self, upload: u64) -> Result<Vec<(u16, PieceRow)>> {
        let rows = self.scan_all(pieces(upload)).await?;
        rows.iter().map(|row| Ok((number(&row.key)?, decode(&row.value.bytes)?))).collect()
    }

    /// Where so many needles are named: in one row if they are few, else in pieces, which are put now, under a row that says
    /// that the upload has not ended.
    pub(super) async fn contents(&self, upload: u64, needles: Vec<Extent>, taking: &Taking) -> Result<Contents> {
        if needles.len() <= EXTENTS_AT_ONCE {
            return Ok(Contents::Needles(needles));
        }
        let mut lengths = Vec::new();
        for (at, some) in needles.chunks(EXTENTS_AT_ONCE).enumerate() {
            let piece = u16::try_from(at).map_err(|_| ObjectError::TooLong)?;
            let bytes = some.iter().map(|extent| u64::from(extent.bytes)).sum();
            self.put_piece(upload, piece, bytes, some, taking).await?;
            lengths.push((piece, bytes));
        }
        runs(lengths).map(Contents::Pieces)
    }

    async fn put_piece(&self, upload: u64, piece: u16, bytes: u64, needles: &[Extent], taking: &Taking) -> Result<()> {
        let row = PieceRow { upload, bytes, contents: Contents::Needles(needles.to_vec()), part: None };
        for _ in 0..TRIES {
            let pending = self.store.get(pending_key(upload)).await?;
            if pending.is_none() && piece > 0 {
                // It was given up for being so slow.
                return Err(ObjectError::Contended);
            }
            let mut changes = Changes::default();
            changes.check(pending_key(upload), pending.as_ref());
            changes.put(pending_key(upload), encode(&PendingRow { since_ms: now_ms() })?);
            changes.put(piece_key(upload, piece), encode(&row)?);
            self.check_chunks(&mut changes, needles, taking).await?;
            changes.refer(upload, &Needed::Piece { of: upload, piece }, needles)?;
            match self.store.commit(changes.finish()).await {
                Err(KvError::Conflict { .. }) => {}
                done => return done.map(drop).map_err(Into::into),
            }
        }
        Err(ObjectError::Contended)
    }

    /// Removes some pieces that nobody needs since before a time; returns of how many uploads all are removed.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_gone(&self, before_ms: u64) -> Result<usize> {
        let mut removed = 0;
        for row in self.scan_all(KeyRange::prefix(&b"t"[..])).await? {
            let gone: GoneRow = decode(&row.value.bytes)?;
            if gone.since_ms > before_ms {
                // Whoever reads it still reads it.
                continue;
            }
            let upload = upload_of(&row.key)?;
            let (some, left) = match gone.pieces {
                None => (self.pieces_from(upload, 0, PIECES_A_ROUND).await?, None),
                Some(mut numbers) => {
                    let left = numbers.split_off(numbers.len().min(PIECES_A_ROUND));
                    let found = self.get_all(numbers.iter().map(|piece| piece_key(upload, *piece))).await?;
                    let found = numbers.into_iter().zip(found).filter_map(|(piece, value)| value.map(|value| (piece, value)));
                    let some: Result<Vec<_>> = found.map(|(piece, value)| Ok((piece, decode(&value.bytes)?))).collect();
                    (some?, Some(left))
                }
            };
            // The transactions are small ones: a piece has as many needles as fit.
            for (piece, contents) in &some {
                self.remove_piece(upload, *piece, contents).await?;
            }
            let mut changes = Changes::default();
            changes.check(row.key.clone(), Some(&row.value));
            match left {
                Some(left) if !left.is_empty() => {
                    changes.put(row.key, encode(&GoneRow { pieces: Some(left), ..gone_since(gone.since_ms) })?);
                }
                None if !some.is_empty() => continue,
                _ => changes.delete(row.key),
            }
            match self.store.commit(changes.finish()).await {
                // Another does it.
                Err(KvError::Conflict { .. }) => {}
                done => {
                    done?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    async fn remove_piece(&self, upload: u64, piece: u16, seen: &PieceRow) -> Result<()> {
        let key = piece_key(upload, piece);
        // A needle of it may have moved since it was read.
        let Some(value) = self.store.get(key.clone()).await? else { return Ok(()) };
        let row: PieceRow = decode(&value.bytes)?;
        if row.upload != seen.upload {
            return Ok(());
        }
        let mut changes = Changes::default();
        changes.check(key.clone(), Some(&value));
        changes.delete(key);
        changes.discard(row.upload, &row.contents)?;
        match self.store.commit(changes.finish()).await {
            Err(KvError::Conflict { .. }) => Ok(()),
            done => done.map(drop).map_err(Into::into),
        }
    }

    /// Ends uploads in pieces that nobody has heard of since before a time; returns how many.
    ///
    /// # Errors
    /// The store's.
    pub async fn end_silent_uploads(&self, before_ms: u64) -> Result<usize> {
        let mut ended = 0;
        for row in self.scan_all(KeyRange::prefix(&b"p"[..])).await? {
            let pending: PendingRow = decode(&row.value.bytes)?;
            if pending.since_ms > before_ms {
                continue;
            }
            let upload = upload_of(&row.key)?;
            let mut changes = Changes::default();
            changes.check(row.key.clone(), Some(&row.value));
            changes.delete(row.key);
            changes.put(gone_key(upload), encode(&gone_since(pending.since_ms))?);
            match self.store.commit(changes.finish()).await {
                Err(KvError::Conflict { .. }) => {}
                done => {
                    done?;
                    ended += 1;
                }
            }
        }
        Ok(ended)
    }

    /// Makes whoever needs a needle name a copy of it in its place; whether it was still needed.
    ///
    /// # Errors
    /// The store's.
    pub async fn move_needle(&self, from: &ReferenceRow, to: Extent, taking: &Taking) -> Result<bool> {
        for _ in 0..TRIES {
            let keys = match &from.by {
                Needed::Object { namespace, key, order } => {
                    vec![object_key(*namespace, key), version_key(*namespace, key, *order)]
                }
                Needed::Piece { of, piece } => vec![piece_key(*of, *piece)],
            };
            let values = self.get_all(keys.clone()).await?;
            let mut changes = Changes::default();
            let mut named = false;
            for (key, value) in keys.into_iter().zip(values) {
                let Some(value) = value else { continue };
                let Some(changed) = renamed(from, &value.bytes, to)? else { continue };
                changes.check(key.clone(), Some(&value));
                changes.put(key, changed);
                named = true;
            }
            if !named {
                return Ok(false);
            }
            self.check_chunks(&mut changes, &[to], taking).await?;
            changes.unrefer(&[from.extent]);
            changes.refer(from.upload, &from.by, &[to])?;
            match self.store.commit(changes.finish()).await {
                Err(KvError::Conflict { .. }) => {}
                done => return done.map(|_| true).map_err(Into::into),
            }
        }
        Err(ObjectError::Contended)
    }
}

/// The row that names a needle, with another in its place; none if it is another upload's, or does not name it.
fn renamed(from: &ReferenceRow, value: &[u8], to: Extent) -> Result<Option<bytes::Bytes>> {
    let replace = |upload: u64, contents: &mut Contents| match contents {
        Contents::Needles(needles) if upload == from.upload => {
            needles.iter_mut().find(|extent| **extent == from.extent).map(|place| *place = to).is_some()
        }
        _ => false,
    };
    match &from.by {
        Needed::Object { .. } => {
            let mut row: ObjectRow = decode(value)?;
            replace(row.upload, &mut row.contents).then(|| encode(&row)).transpose()
        }
        Needed::Piece { .. } => {
            let mut row: PieceRow = decode(value)?;
            replace(row.upload, &mut row.contents).then(|| encode(&row)).transpose()
        }
    }
}

/// Pieces as runs.
pub(super) fn runs(lengths: impl IntoIterator<Item = (u16, u64)>) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for (piece, bytes) in lengths {
        match runs.last_mut() {
            Some(run) if run.bytes == bytes && run.first.checked_add(run.count) == Some(piece) => run.count += 1,
            _ => runs.push(Run { first: piece, count: 1, bytes }),
        }
    }
    if runs.len() > RUNS_MAX { Err(ObjectError::TooLong) } else { Ok(runs) }
}

fn gone_since(since_ms: u64) -> GoneRow {
    GoneRow { since_ms, pieces: None }
}

/// The upload whose row it is.
fn upload_of(key: &[u8]) -> Result<u64> {
    let upload = key.get(1..).and_then(|upload| upload.try_into().ok()).map(u64::from_be_bytes);
    upload.ok_or_else(|| ObjectError::Broken("an upload has no number".into()))
}

fn number(key: &[u8]) -> Result<u16> {
    let number = key.get(9..).and_then(|piece| piece.try_into().ok()).map(u16::from_be_bytes);
    number.ok_or_else(|| ObjectError::Broken("a piece has no number".into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_one_length_are_one_run() {
        let found = runs([(1, 5), (2, 5), (3, 5), (5, 5), (6, 2)]).unwrap();
        let run = |first, count, bytes| Run { first, count, bytes };
        assert_eq!(found, [run(1, 3, 5), run(5, 1, 5), run(6, 1, 2)]);
        assert!(matches!(runs((0..=RUNS_MAX as u16).map(|piece| (piece, u64::from(piece)))), Err(ObjectError::TooLong)));
    }
}
