//! What is known of a key when it is about to change.

use bytes::Bytes;
use eddy_kv::{Read, ReadResult, Row, Scan, Value};

use super::{Metadata, now_ms};
use crate::error::Result;
use crate::schema::{NamespaceRow, ObjectRow, Versioning, decode, namespace_key, object_key, versions_of};

/// A version, and the row that it was read from.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) row: ObjectRow,
    pub(super) value: Value,
}

/// What is known of a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The present version.
    pub(super) current: Option<Found>,
    /// The two latest of all others.
    pub(super) older: Vec<Found>,
    /// The one of all others that was written while no versions were kept, where that is asked for.
    pub(super) unversioned: Option<Found>,
}

impl Known {
    pub(super) fn present(&self) -> Option<&ObjectRow> {
        self.current.as_ref().map(|found| &found.row)
    }

    /// Greater than that of every version so far: the time, in microseconds since 1970, unless clocks differ.
    pub(super) fn next_order(&self) -> u64 {
        let latest = self.current.iter().chain(&self.older).map(|found| found.row.order).max();
        latest.map_or(0, |latest| latest + 1).max(now_ms() * 1000)
    }
}

impl Metadata {
    /// A namespace and what is known of a key of it.
    pub(super) async fn space_and_known(&self, namespace: &str, key: &str) -> Result<(NamespaceRow, Value, Known)> {
        let (space, value, known, _) = self.space_and_known_with(namespace, key, &[]).await?;
        Ok((space, value, known))
    }

    /// A namespace, what is known of a key of it, and the values of other rows: in one round trip, where the namespace was seen
    /// before and keeps no versions.
    pub(super) async fn space_and_known_with(
        &self,
        namespace: &str,
        key: &str,
        others: &[Bytes],
    ) -> Result<(NamespaceRow, Value, Known, Vec<Option<Value>>)> {
        if let Some(number) = self.numbers.of(namespace) {
            let keys = [namespace_key(namespace), object_key(number, key)].into_iter().chain(others.iter().cloned());
            let mut values = self.get_all(keys).await?.into_iter();
            if let (Some(Some(value)), Some(current)) = (values.next(), values.next()) {
                let space: NamespaceRow = decode(&value.bytes)?;
                if space.id == number && space.settings.versioning == Versioning::Off {
                    let current = current.map(found).transpose()?;
                    return Ok((space, value, Known { current, ..Known::default() }, values.collect()));
                }
            }
        }
        let (space, value) = self.namespace_and_value(namespace).await?;
        self.numbers.remember(namespace, space.id);
        let known = self.known(&space, key).await?;
        let values = self.get_all(others.iter().cloned()).await?;
        Ok((space, value, known, values))
    }

    /// What is known of a key: no more than the namespace's versioning makes necessary.
    pub(super) async fn known(&self, space: &NamespaceRow, key: &str) -> Result<Known> {
        let versioning = space.settings.versioning;
        let mut reads = vec![Read::Get(object_key(space.id, key))];
        if versioning != Versioning::Off {
            reads.push(Read::Scan(Scan::new(versions_of(space.id, key), 2)));
        }
        let mut known = Known::default();
        for result in self.store.read(reads).await? {
            match result {
                ReadResult::Value(value) => known.current = value.map(found).transpose()?,
                ReadResult::Page(page) => known.older = page.rows.into_iter().map(of_row).collect::<Result<_>>()?,
            }
        }
        if versioning == Versioning::Suspended {
            known.unversioned = self.unversioned(space, key).await?;
        }
        Ok(known)
    }

    /// The version that is not present and was written while no versions were kept.
    pub(super) async fn unversioned(&self, space: &NamespaceRow, key: &str) -> Result<Option<Found>> {
        let rows = self.scan_all(versions_of(space.id, key)).await?;
        for row in rows {
            let found = of_row(row)?;
            if found.row.unversioned {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

pub(super) fn found(value: Value) -> Result<Found> {
    Ok(Found { row: decode(&value.bytes)?, value })
}

fn of_row(row: Row) -> Result<Found> {
    found(row.value)
}
