//! A transaction in the making.

use std::collections::BTreeMap;

use bytes::Bytes;
use eddy_chunks::Extent;
use eddy_chunks::format::stored_bytes;
use eddy_kv::{Check, Transaction, Value, Write};

use super::known::{Found, Known};
use super::now_ms;
use crate::error::Result;
use crate::schema::{
    Attributes, Contents, GoneRow, NamespaceRow, Needed, ObjectRow, ReferenceRow, UNSETTLED, Versioning, configuration_key,
    encode, gone_key, live_key, namespace_key, object_key, reference_key, unsettled_since, usage_bytes_key, usage_objects_key,
    version_key,
};

/// A transaction in the making. What changes a counter several times changes it once.
#[derive(Default)]
pub(super) struct Changes {
    transaction: Transaction,
    live: BTreeMap<u64, i64>,
    space: Option<NamespaceRow>,
    bytes: i64,
    objects: i64,
}

impl Changes {
    /// Changes of a namespace, as long as that stays as it is.
    pub(super) fn of(space: &NamespaceRow, name: &str, value: &Value) -> Self {
        let mut changes = Self { space: Some(space.clone()), ..Self::default() };
        changes.check(namespace_key(name), Some(value));
        changes
    }

    pub(super) fn check(&mut self, key: Bytes, value: Option<&Value>) {
        self.transaction.checks.push(Check { key, version: value.map(|value| value.version) });
    }

    pub(super) fn put(&mut self, key: Bytes, value: Bytes) {
        self.transaction.writes.push(Write::Put { key, value });
    }

    pub(super) fn delete(&mut self, key: Bytes) {
        self.transaction.writes.push(Write::Delete { key });
    }

    /// Changes how much the namespace holds.
    pub(super) fn count(&mut self, objects: i64, bytes: i64) {
        self.objects += objects;
        self.bytes += bytes;
    }

    /// Notes that something of a namespace may not be kept as it is to be.
    pub(super) fn unsettle(&mut self, namespace: u64) {
        self.put(configuration_key(namespace, UNSETTLED), unsettled_since(now_ms()));
    }

    /// Whoever counts how much the namespace holds learns that something came to it that does not count.
    pub(super) fn announce(&mut self) {
        if let Some(space) = &self.space {
            let key = usage_objects_key(space.id);
            self.transaction.writes.push(Write::Add { key, delta: 0, at_most: None });
        }
    }

    /// Makes a row the present version under a key; as it is then. What it takes the place of stays as an older version,
    /// or goes, as the namespace has it.
    pub(super) fn put_version(&mut self, key: &str, known: &Known, row: ObjectRow) -> Result<ObjectRow> {
        let Some(space) = self.space.clone() else { return Ok(row) };
        let unversioned = space.settings.versioning != Versioning::On;
        let mut row = ObjectRow { order: known.next_order(), unversioned, ..row };
        if let Some(rule) = space.settings.lock {
            let lock = &mut row.attributes.lock;
            lock.retention = lock.retention.or_else(|| rule.retention(now_ms()));
        }
        self.check_known(&space, key, known);
        self.make_room(&space, key, known)?;
        self.put(object_key(space.id, key), encode(&row)?);
        self.count(1, length(&row));
        Ok(row)
    }

    /// Leaves no present version under a key; what says so, where versions are kept.
    pub(super) fn delete_present(&mut self, key: &str, known: &Known) -> Result<Option<ObjectRow>> {
        let Some(space) = self.space.clone() else { return Ok(None) };
        self.check_known(&space, key, known);
        self.make_room(&space, key, known)?;
        if known.current.is_some() {
            self.delete(object_key(space.id, key));
        }
        if space.settings.versioning == Versioning::Off {
            return Ok(None);
        }
        let marker = ObjectRow {
            upload: fastrand::u64(1..),
            order: known.next_order(),
            unversioned: space.settings.versioning == Versioning::Suspended,
            deleted: true,
            bytes: 0,
            modified_ms: now_ms(),
            attributes: Attributes::default(),
            contents: Contents::Needles(Vec::new()),
        };
        self.put(version_key(space.id, key, marker.order), encode(&marker)?);
        self.count(1, 0);
        Ok(Some(marker))
    }

    /// Removes one version for good. Where it was the present one, the one before is present again: whether one is.
    pub(super) fn delete_version(&mut self, key: &str, known: &Known, target: &Found) -> Result<bool> {
        let Some(space) = self.space.clone() else { return Ok(false) };
        self.check_known(&space, key, known);
        let order = target.row.order;
        let is_present = known.present().is_some_and(|row| row.order == order);
        if is_present {
            self.forget(&target.row)?;
        } else {
            self.remove_older(&space, key, known, target)?;
        }
        let others = || known.older.iter().filter(|found| found.row.order != order);
        // With it, what said that the object was deleted may be gone.
        let uncovers = is_present || known.current.is_none() && known.older.first().is_some_and(|found| found.row.order == order);
        match others().next().filter(|next| uncovers && !next.row.deleted) {
            Some(next) => {
                self.delete(version_key(space.id, key, next.row.order));
                self.put(object_key(space.id, key), encode(&next.row)?);
                return Ok(true);
            }
            None if is_present => self.delete(object_key(space.id, key)),
            None => {}
        }
        Ok(false)
    }

    /// Notes which needles a row needs.
    pub(super) fn refer(&mut self, upload: u64, by: &Needed, needles: &[Extent]) -> Result<()> {
        self.refer_anew(upload, by, needles)?;
        for extent in needles {
            *self.live.entry(extent.chunk).or_default() += i64::from(stored_bytes(extent.bytes));
        }
        Ok(())
    }

    /// Notes that needles that a row needs are now needed by another.
    pub(super) fn refer_anew(&mut self, upload: u64, by: &Needed, needles: &[Extent]) -> Result<()> {
        for extent in needles {
            let reference = ReferenceRow { upload, by: by.clone(), extent: *extent };
            self.put(reference_key(extent.chunk, extent.offset), encode(&reference)?);
        }
        Ok(())
    }

    pub(super) fn unrefer(&mut self, needles: &[Extent]) {
        for extent in needles {
            self.delete(reference_key(extent.chunk, extent.offset));
            *self.live.entry(extent.chunk).or_default() -= i64::from(stored_bytes(extent.bytes));
        }
    }

    /// Nobody needs what an upload wrote any more. Pieces are left to [`remove_gone`](super::Metadata::remove_gone).
    pub(super) fn discard(&mut self, upload: u64, contents: &Contents) -> Result<()> {
        match contents {
            Contents::Needles(needles) => self.unrefer(needles),
            Contents::Pieces(_) => self.put(gone_key(upload), encode(&GoneRow { since_ms: now_ms(), pieces: None })?),
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Transaction {
        for (chunk, bytes) in std::mem::take(&mut self.live) {
            // Also where it stays the same: whoever has read what is needed of the chunk learns that it is no longer that.
            self.transaction.writes.push(Write::Add { key: live_key(chunk), delta: bytes, at_most: None });
        }
        if let Some(space) = self.space.take() {
            self.add(usage_bytes_key(space.id), self.bytes, space.settings.quota.bytes);
            self.add(usage_objects_key(space.id), self.objects, space.settings.quota.objects);
        }
        self.transaction
    }

    fn add(&mut self, key: Bytes, delta: i64, at_most: Option<i64>) {
        if delta != 0 {
            self.transaction.writes.push(Write::Add { key, delta, at_most });
        }
    }

    /// Nobody may change the key meanwhile: whoever does changes its present version or adds to the latest of the others.
    fn check_known(&mut self, space: &NamespaceRow, key: &str, known: &Known) {
        self.check(object_key(space.id, key), known.current.as_ref().map(|found| &found.value));
        let older = known.older.iter().chain(&known.unversioned);
        let mut checked: Vec<(u64, &Value)> = older.map(|found| (found.row.order, &found.value)).collect();
        checked.sort_unstable_by_key(|(order, _)| *order);
        checked.dedup_by_key(|(order, _)| *order);
        for (order, value) in checked {
            self.check(version_key(space.id, key, order), Some(value));
        }
    }

    /// What a new version, or the note that there is none, takes the place of.
    fn make_room(&mut self, space: &NamespaceRow, key: &str, known: &Known) -> Result<()> {
        let keep = |row: &ObjectRow| match space.settings.versioning {
            Versioning::Off => false,
            Versioning::On => true,
            Versioning::Suspended => !row.unversioned,
        };
        match &known.current {
            Some(found) if keep(&found.row) => self.put(version_key(space.id, key, found.row.order), found.value.bytes.clone()),
            Some(found) => self.forget(&found.row)?,
            None => {}
        }
        match &known.unversioned {
            Some(found) => self.remove_older(space, key, known, found),
            None => Ok(()),
        }
    }

    fn remove_older(&mut self, space: &NamespaceRow, key: &str, known: &Known, target: &Found) -> Result<()> {
        let order = target.row.order;
        if !known.older.iter().chain(&known.unversioned).any(|found| found.row.order == order) {
            self.check(version_key(space.id, key, order), Some(&target.value));
        }
        self.delete(version_key(space.id, key, order));
        self.forget(&target.row)
    }

    fn forget(&mut self, row: &ObjectRow) -> Result<()> {
        self.count(-1, -length(row));
        self.discard(row.upload, &row.contents)
    }
}

pub(super) fn length(row: &ObjectRow) -> i64 {
    i64::try_from(row.bytes).unwrap_or(i64::MAX)
}
