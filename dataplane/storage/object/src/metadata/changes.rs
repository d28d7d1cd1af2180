//! A transaction in the making.

use std::collections::BTreeMap;

use bytes::Bytes;
use eddy_chunks::Extent;
use eddy_chunks::format::stored_bytes;
use eddy_kv::{Check, Transaction, Value, Write};

use super::commit::EXTENTS_AT_ONCE;
use super::now_ms;
use crate::error::Result;
use crate::schema::{
    ExtentsRow, NamespaceRow, ObjectRow, ReferenceRow, encode, gone_key, live_key, namespace_key, object_key, reference_key,
    usage_bytes_key, usage_objects_key,
};

/// A transaction in the making. Several needles of one chunk change its counter once.
#[derive(Default)]
pub(super) struct Changes {
    transaction: Transaction,
    live: BTreeMap<u64, i64>,
    space: Option<NamespaceRow>,
}

impl Changes {
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

    fn add(&mut self, key: Bytes, delta: i64, at_most: Option<i64>) {
        if delta != 0 {
            self.transaction.writes.push(Write::Add { key, delta, at_most });
        }
    }

    /// One object in the place of another, or none.
    pub(super) fn replace(
        &mut self,
        key: &str,
        current: Option<&ObjectRow>,
        current_value: Option<&Value>,
        new: Option<&ObjectRow>,
    ) -> Result<()> {
        let Some(space) = self.space.clone() else { return Ok(()) };
        let row_key = object_key(space.id, key);
        self.check(row_key.clone(), current_value);
        match new {
            Some(new) => self.put(row_key, encode(new)?),
            None => self.delete(row_key),
        }
        let bytes = |row: Option<&ObjectRow>| row.map_or(0, |row| i64::try_from(row.bytes).unwrap_or(i64::MAX));
        self.add(usage_bytes_key(space.id), bytes(new) - bytes(current), space.quota.bytes);
        let more_objects = i64::from(new.is_some()) - i64::from(current.is_some());
        self.add(usage_objects_key(space.id), more_objects, space.quota.objects);
        match current {
            Some(current) if current.extents.len() > EXTENTS_AT_ONCE => {
                let gone = ExtentsRow { upload: current.upload, since_ms: now_ms(), extents: current.extents.clone() };
                self.put(gone_key(current.upload), encode(&gone)?);
            }
            Some(current) => self.unrefer(&current.extents),
            None => {}
        }
        Ok(())
    }

    pub(super) fn refer(&mut self, row: &ObjectRow, namespace: u64, key: &str) -> Result<()> {
        for extent in &row.extents {
            let reference = ReferenceRow { upload: row.upload, namespace, key: key.to_owned(), extent: *extent };
            self.put(reference_key(extent.chunk, extent.offset), encode(&reference)?);
            *self.live.entry(extent.chunk).or_default() += i64::from(stored_bytes(extent.bytes));
        }
        Ok(())
    }

    pub(super) fn unrefer(&mut self, extents: &[Extent]) {
        for extent in extents {
            self.delete(reference_key(extent.chunk, extent.offset));
            *self.live.entry(extent.chunk).or_default() -= i64::from(stored_bytes(extent.bytes));
        }
    }

    pub(super) fn finish(mut self) -> Transaction {
        for (chunk, bytes) in std::mem::take(&mut self.live) {
            self.add(live_key(chunk), bytes, None);
        }
        self.transaction
    }
}
