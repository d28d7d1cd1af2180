//! Objects coming and going: the one point at which they do.
//!
//! An upload of few needles becomes an object in one transaction, references and all. One of many refers to them first, in
//! several transactions under a row of its own, and what it replaces is left to [`Metadata::remove_gone`] likewise.

use std::collections::BTreeMap;

use eddy_chunks::Extent;
use eddy_kv::{KeyRange, KvError, Scan, Value};

use super::changes::Changes;
use super::{Metadata, TRIES, now_ms};
use crate::error::{ObjectError, Result};
use crate::schema::{
    ExtentsRow, NamespaceRow, ObjectRow, ReferenceRow, decode, encode, object_key, pending_key, usage_bytes_key,
};

/// Needles that one transaction refers to, and as many that it refers to no more.
pub(crate) const EXTENTS_AT_ONCE: usize = 8;
/// Needles of one object: its row must hold them.
pub(crate) const EXTENTS_MAX: usize = 1900;
/// Longest key of an object, as in S3.
const KEY_BYTES_MAX: usize = 1024;

/// What must be so when an object is written or deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// There is no object.
    Absent,
    /// There is one, written by this upload.
    Upload(u64),
}

/// An object that is going to be.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// What it is.
    pub row: ObjectRow,
    /// What must be so.
    pub precondition: Precondition,
    /// For each chunk of its needles, the servers that took them or are about to. What another server of the chunk lacks is
    /// noted with the object.
    pub taken: BTreeMap<u64, Vec<u64>>,
}

impl Precondition {
    fn check(&self, current: Option<&ObjectRow>) -> Result<()> {
        let holds = match (self, current) {
            (Self::None, _) | (Self::Absent, None) => true,
            (Self::Upload(upload), Some(current)) => current.upload == *upload,
            _ => false,
        };
        if holds { Ok(()) } else { Err(ObjectError::PreconditionFailed) }
    }
}

impl Metadata {
    /// The object under a key.
    ///
    /// # Errors
    /// [`ObjectError::NoObject`], or the store's.
    pub async fn object(&self, namespace: u64, key: &str) -> Result<ObjectRow> {
        let found = self.store.get(object_key(namespace, key)).await?;
        decode(&found.ok_or_else(|| ObjectError::NoObject(key.to_owned()))?.bytes)
    }

    /// Makes an upload the object under a key.
    ///
    /// # Errors
    /// [`ObjectError::PreconditionFailed`], [`ObjectError::QuotaExceeded`], [`ObjectError::NoNamespace`], or the store's. After
    /// [`KvError::Unknown`] it may have happened.
    pub async fn put(&self, namespace: &str, key: &str, new: &NewObject) -> Result<()> {
        check_key(key)?;
        if new.row.extents.len() > EXTENTS_AT_ONCE {
            self.refer_first(namespace, key, new).await?;
        }
        for _ in 0..TRIES {
            let (space, space_value) = self.namespace_and_value(namespace).await?;
            let (current, current_value) = self.current(space.id, key).await?;
            new.precondition.check(current.as_ref())?;
            let mut changes = Changes::of(&space, namespace, &space_value);
            changes.replace(key, current.as_ref(), current_value.as_ref(), Some(&new.row))?;
            if new.row.extents.len() > EXTENTS_AT_ONCE {
                let pending = self.store.get(pending_key(new.row.upload)).await?;
                // It may have been given up for being so slow.
                let pending = pending.ok_or(ObjectError::Contended)?;
                changes.check(pending_key(new.row.upload), Some(&pending));
                changes.delete(pending_key(new.row.upload));
            } else {
                self.check_chunks(&mut changes, &new.row.extents, &new.taken).await?;
                changes.refer(&new.row, space.id, key)?;
            }
            match self.commit(changes, &space).await {
                Err(ObjectError::Contended) => {}
                Err(ObjectError::Metadata(KvError::Unknown { reason })) => {
                    let happened = self.object(space.id, key).await.is_ok_and(|found| found.upload == new.row.upload);
                    return if happened { Ok(()) } else { Err(KvError::Unknown { reason }.into()) };
                }
                done => return done,
            }
        }
        Err(ObjectError::Contended)
    }

    /// Deletes the object under a key.
    ///
    /// # Errors
    /// [`ObjectError::NoObject`], [`ObjectError::PreconditionFailed`], [`ObjectError::NoNamespace`], or the store's.
    pub async fn delete(&self, namespace: &str, key: &str, precondition: &Precondition) -> Result<()> {
        for _ in 0..TRIES {
            let (space, space_value) = self.namespace_and_value(namespace).await?;
            let (current, current_value) = self.current(space.id, key).await?;
            precondition.check(current.as_ref())?;
            let current = current.ok_or_else(|| ObjectError::NoObject(key.to_owned()))?;
            let mut changes = Changes::of(&space, namespace, &space_value);
            changes.replace(key, Some(&current), current_value.as_ref(), None)?;
            match self.commit(changes, &space).await {
                Err(ObjectError::Contended) => {}
                done => return done,
            }
        }
        Err(ObjectError::Contended)
    }

    /// Removes references of some objects that are gone; returns how many objects' all are removed.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_gone(&self) -> Result<usize> {
        let gone = self.store.scan(Scan::new(KeyRange::prefix(&b"t"[..]), 100)).await?;
        let mut removed = 0;
        for row in gone.rows {
            let mut left: ExtentsRow = decode(&row.value.bytes)?;
            let some = left.extents.split_off(left.extents.len().saturating_sub(4 * EXTENTS_AT_ONCE));
            let mut changes = Changes::default();
            changes.check(row.key.clone(), Some(&row.value));
            changes.unrefer(&some);
            let all = left.extents.is_empty();
            if all {
                changes.delete(row.key);
            } else {
                changes.put(row.key, encode(&left)?);
            }
            match self.store.commit(changes.finish()).await {
                // Another does it.
                Err(KvError::Conflict { .. }) => {}
                done => {
                    done?;
                    removed += usize::from(all);
                }
            }
        }
        Ok(removed)
    }

    /// Makes an object refer to a copy of a needle in the needle's place; whether it still needed it.
    ///
    /// # Errors
    /// The store's.
    pub async fn move_needle(&self, from: &ReferenceRow, to: Extent, took: Vec<u64>) -> Result<bool> {
        let taken = BTreeMap::from([(to.chunk, took)]);
        for _ in 0..TRIES {
            let (current, value) = self.current(from.namespace, &from.key).await?;
            let Some(mut row) = current.filter(|row| row.upload == from.upload) else { return Ok(false) };
            let Some(place) = row.extents.iter_mut().find(|extent| **extent == from.extent) else { return Ok(false) };
            *place = to;
            let row_key = object_key(from.namespace, &from.key);
            let mut changes = Changes::default();
            changes.check(row_key.clone(), value.as_ref());
            changes.put(row_key, encode(&row)?);
            self.check_chunks(&mut changes, &[to], &taken).await?;
            changes.unrefer(&[from.extent]);
            changes.refer(&ObjectRow { extents: vec![to], ..row }, from.namespace, &from.key)?;
            match self.store.commit(changes.finish()).await {
                Err(KvError::Conflict { .. }) => {}
                done => return done.map(|_| true).map_err(Into::into),
            }
        }
        Err(ObjectError::Contended)
    }

    /// Refers to all needles of an upload, under a row that says so.
    async fn refer_first(&self, namespace: &str, key: &str, new: &NewObject) -> Result<()> {
        let row = &new.row;
        if row.extents.len() > EXTENTS_MAX {
            return Err(ObjectError::TooLong);
        }
        let space = self.namespace(namespace).await?;
        let pending = pending_key(row.upload);
        let mut referred = 0;
        for _ in 0..TRIES as usize + EXTENTS_MAX {
            if referred == row.extents.len() {
                return Ok(());
            }
            let end = row.extents.len().min(referred + 2 * EXTENTS_AT_ONCE);
            let before = self.store.get(pending.clone()).await?;
            let mut changes = Changes::default();
            changes.check(pending.clone(), before.as_ref());
            let so_far = ExtentsRow { upload: row.upload, since_ms: now_ms(), extents: row.extents[..end].to_vec() };
            changes.put(pending.clone(), encode(&so_far)?);
            let some = ObjectRow { extents: row.extents[referred..end].to_vec(), ..row.clone() };
            self.check_chunks(&mut changes, &some.extents, &new.taken).await?;
            changes.refer(&some, space.id, key)?;
            match self.store.commit(changes.finish()).await {
                Err(KvError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => referred = end,
            }
        }
        Err(ObjectError::Contended)
    }

    async fn current(&self, namespace: u64, key: &str) -> Result<(Option<ObjectRow>, Option<Value>)> {
        let value = self.store.get(object_key(namespace, key)).await?;
        let row = value.as_ref().map(|value| decode(&value.bytes)).transpose()?;
        Ok((row, value))
    }

    async fn commit(&self, changes: Changes, space: &NamespaceRow) -> Result<()> {
        match self.store.commit(changes.finish()).await {
            Ok(_) => Ok(()),
            Err(KvError::Conflict { .. }) => Err(ObjectError::Contended),
            Err(KvError::Exceeded { key, number, at_most }) => {
                let what = if key == usage_bytes_key(space.id) { "bytes" } else { "objects" };
                Err(ObjectError::QuotaExceeded { what, holds: number, at_most })
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(ObjectError::BadName(format!("an object's key has 1 to {KEY_BYTES_MAX} bytes")));
    }
    Ok(())
}
