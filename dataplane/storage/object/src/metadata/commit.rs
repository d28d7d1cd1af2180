//! Objects coming and going: the one point at which they do.
//!
//! An upload of few needles becomes an object in one transaction, references and all. One of many puts them into pieces
//! first, each in a transaction of its own, and what it replaces is left to [`Metadata::remove_gone`] likewise.

use eddy_chunks::Extent;
use eddy_kv::{KvError, Value};

use super::changes::Changes;
use super::chunks::chunk_keys;
use super::known::{Found, Known};
use super::versions::VersionId;
use super::{Metadata, TRIES, now_ms};
use crate::error::{ObjectError, Result};
use crate::replicas::Taking;
use crate::schema::{
    Attributes, Contents, NamespaceRow, Needed, ObjectRow, Tier, UNSETTLED, Versioning, configuration_key, decode, object_key,
    pending_key, usage_bytes_key,
};

/// Needles that one transaction refers to, and as many that it refers to no more.
pub(crate) const EXTENTS_AT_ONCE: usize = 8;
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
    /// There is one.
    Present,
    /// There is one, written by this upload.
    Upload(u64),
}

/// For which namespace something is written, and how that has new objects kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// The namespace's number: another one may have its name by the time all has come.
    pub namespace: u64,
    /// Copies of each chunk.
    pub copies: u8,
    /// Where they go.
    pub tier: Tier,
}

impl Keeping {
    /// As a namespace has it now.
    pub const fn of(space: &NamespaceRow) -> Self {
        Self { namespace: space.id, copies: space.settings.copies, tier: space.settings.tiering.begins() }
    }

    /// What was written so comes to a namespace: it must be the one for which it was, and is noted where it is to be kept otherwise by now.
    pub(super) fn come_to(self, space: &NamespaceRow, name: &str, changes: &mut Changes) -> Result<()> {
        if self.namespace != space.id {
            return Err(ObjectError::NoNamespace(name.to_owned()));
        }
        if self != Self::of(space) {
            changes.unsettle(space.id);
        }
        Ok(())
    }
}

/// An object that is going to be.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// The number of the upload that wrote it.
    pub upload: u64,
    /// Its length.
    pub bytes: u64,
    /// What it is known by.
    pub attributes: Attributes,
    /// For whom it was written, and how.
    pub keeping: Keeping,
    /// Where its bytes are, in order.
    pub needles: Vec<Extent>,
    /// Who took them, or is about to. What another one of their chunks lacks is noted with the object.
    pub taking: Taking,
}

/// What became of an object that was to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// The version that is gone, or that now says that the object was deleted.
    pub version: Option<VersionId>,
    /// Whether that one says, or said, that the object was deleted.
    pub marker: bool,
}

impl Precondition {
    pub(super) fn check(&self, current: Option<&ObjectRow>) -> Result<()> {
        let holds = match (self, current) {
            (Self::None, _) | (Self::Absent, None) | (Self::Present, Some(_)) => true,
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

    /// Makes an upload the object under a key; as it is then.
    ///
    /// # Errors
    /// [`ObjectError::PreconditionFailed`], [`ObjectError::QuotaExceeded`], [`ObjectError::NoNamespace`], or the store's. After
    /// [`KvError::Unknown`] it may have happened.
    pub async fn put(&self, namespace: &str, key: &str, new: NewObject, precondition: &Precondition) -> Result<ObjectRow> {
        check_key(key)?;
        let NewObject { upload, bytes, attributes, keeping, needles, taking } = new;
        let contents = self.contents(upload, needles, &taking).await?;
        let chunks = chunk_keys(contents.needles());
        let row = ObjectRow::written(upload, bytes, attributes, contents);
        for _ in 0..TRIES {
            let (space, value, known, chunks) = self.space_and_known_with(namespace, key, &chunks).await?;
            precondition.check(known.present())?;
            let mut changes = Changes::of(&space, namespace, &value);
            keeping.come_to(&space, namespace, &mut changes)?;
            let put = changes.put_version(key, &known, row.clone())?;
            let by = of_object(&space, key, &put);
            self.adopt(&mut changes, upload, &by, &row.contents, chunks, &taking).await?;
            match self.commit(changes, &space).await {
                Err(ObjectError::Contended) => {}
                Err(ObjectError::Metadata(KvError::Unknown { reason })) => {
                    let found = self.object(space.id, key).await;
                    let happened = found.ok().filter(|found| found.upload == upload);
                    return happened.ok_or_else(|| KvError::Unknown { reason }.into());
                }
                done => return done.map(|()| put),
            }
        }
        Err(ObjectError::Contended)
    }

    /// Deletes the object under a key. Where versions are kept, only a note that it was deleted comes in its place.
    ///
    /// # Errors
    /// [`ObjectError::NoObject`] where no versions are kept, [`ObjectError::PreconditionFailed`], [`ObjectError::NoNamespace`], or
    /// the store's.
    pub async fn delete(&self, namespace: &str, key: &str, precondition: &Precondition) -> Result<Deleted> {
        check_key(key)?;
        for _ in 0..TRIES {
            let (space, value, known) = self.space_and_known(namespace, key).await?;
            precondition.check(known.present())?;
            if known.current.is_none() && space.settings.versioning == Versioning::Off {
                return Err(ObjectError::NoObject(key.to_owned()));
            }
            let mut changes = Changes::of(&space, namespace, &value);
            let marker = changes.delete_present(key, &known)?;
            match self.commit(changes, &space).await {
                Err(ObjectError::Contended) => {}
                done => {
                    return done.map(|()| Deleted { version: marker.as_ref().map(VersionId::of), marker: marker.is_some() });
                }
            }
        }
        Err(ObjectError::Contended)
    }

    /// Removes one version of an object for good, even where governance wants it to stay if whoever asks bypasses that.
    ///
    /// # Errors
    /// [`ObjectError::Locked`], [`ObjectError::NoObject`], [`ObjectError::PreconditionFailed`] where that is not so of this version,
    /// [`ObjectError::NoNamespace`], or the store's.
    pub async fn delete_version(
        &self,
        namespace: &str,
        key: &str,
        version: VersionId,
        precondition: &Precondition,
        bypasses: bool,
    ) -> Result<Deleted> {
        for _ in 0..TRIES {
            let (space, value, known) = self.space_and_known(namespace, key).await?;
            let target = self.target(&space, key, &known, version).await?;
            precondition.check(Some(&target.row))?;
            if target.row.attributes.lock.holds(now_ms(), bypasses) {
                return Err(ObjectError::Locked);
            }
            let mut changes = Changes::of(&space, namespace, &value);
            if changes.delete_version(key, &known, &target)? {
                // The one before is present again, where nobody may look any more who looks at all.
                self.note_moved(&space, &mut changes).await?;
            }
            match self.commit(changes, &space).await {
                Err(ObjectError::Contended) => {}
                done => return done.map(|()| Deleted { version: Some(version), marker: target.row.deleted }),
            }
        }
        Err(ObjectError::Contended)
    }

    /// Changes what a version of an object is known by; the present one if none is named.
    ///
    /// # Errors
    /// What the change says, [`ObjectError::NoObject`], [`ObjectError::PreconditionFailed`], [`ObjectError::NoNamespace`], or the store's.
    pub async fn set_attributes(
        &self,
        namespace: &str,
        key: &str,
        version: Option<VersionId>,
        precondition: &Precondition,
        change: impl Fn(&mut ObjectRow) -> Result<()> + Send + Sync,
    ) -> Result<ObjectRow> {
        for _ in 0..TRIES {
            let (space, value, known) = self.space_and_known(namespace, key).await?;
            let target = match version {
                Some(version) => self.target(&space, key, &known, version).await?,
                None => known.current.clone().ok_or_else(|| ObjectError::NoObject(key.to_owned()))?,
            };
            precondition.check(Some(&target.row))?;
            let mut row = target.row.clone();
            change(&mut row)?;
            let mut changes = Changes::of(&space, namespace, &value);
            let is_present = known.present().is_some_and(|present| present.order == row.order);
            let row_key =
                if is_present { object_key(space.id, key) } else { crate::schema::version_key(space.id, key, row.order) };
            changes.check(row_key.clone(), Some(&target.value));
            changes.put(row_key, crate::schema::encode(&row)?);
            match self.commit(changes, &space).await {
                Err(ObjectError::Contended) => {}
                done => return done.map(|()| row),
            }
        }
        Err(ObjectError::Contended)
    }

    /// Gives an object another key, whatever its length; as it is then. What was under that key goes.
    ///
    /// # Errors
    /// [`ObjectError::NoObject`], [`ObjectError::Versioned`] where older versions would stay behind,
    /// [`ObjectError::PreconditionFailed`] of what is under the other key, [`ObjectError::NoNamespace`], or the store's.
    pub async fn rename(&self, namespace: &str, from: &str, to: &str, precondition: &Precondition) -> Result<ObjectRow> {
        check_key(to)?;
        for _ in 0..TRIES {
            let (space, value) = self.namespace_and_value(namespace).await?;
            if space.settings.versioning != Versioning::Off {
                return Err(ObjectError::Versioned);
            }
            let (before, replaced) = (self.known(&space, from).await?, self.known(&space, to).await?);
            let moved = before.current.as_ref().ok_or_else(|| ObjectError::NoObject(from.to_owned()))?;
            precondition.check(replaced.present())?;
            if from == to {
                return Ok(moved.row.clone());
            }
            let mut changes = Changes::of(&space, namespace, &value);
            let row = changes.put_version(to, &replaced, moved.row.clone())?;
            changes.check(object_key(space.id, from), Some(&moved.value));
            changes.delete(object_key(space.id, from));
            // It was counted as one more.
            changes.count(-1, -super::changes::length(&row));
            self.note_moved(&space, &mut changes).await?;
            changes.refer_anew(row.upload, &of_object(&space, to, &row), row.contents.needles())?;
            match self.commit(changes, &space).await {
                Err(ObjectError::Contended) => {}
                done => return done.map(|()| row),
            }
        }
        Err(ObjectError::Contended)
    }

    /// What goes from where it has not been looked at yet to where it has is not to be missed: all is looked at once more, if at all.
    async fn note_moved(&self, space: &NamespaceRow, changes: &mut Changes) -> Result<()> {
        let key = configuration_key(space.id, UNSETTLED);
        if let Some(noted) = self.store.get(key.clone()).await? {
            changes.check(key, Some(&noted));
            changes.unsettle(space.id);
        }
        Ok(())
    }

    /// A version, and the row that it was read from.
    async fn target(&self, space: &NamespaceRow, key: &str, known: &Known, version: VersionId) -> Result<Found> {
        let found = match known.current.iter().find(|found| version.is_of(&found.row)) {
            Some(found) => Some(found.clone()),
            None => self.version_found(space, key, version).await?,
        };
        found.ok_or_else(|| ObjectError::NoObject(key.to_owned()))
    }

    pub(super) async fn commit(&self, changes: Changes, space: &NamespaceRow) -> Result<()> {
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

    /// What an upload wrote is now named by a row; the rows of its needles' chunks were read just now. Pieces have named their
    /// needles already: with them the upload has ended, unless it was given up for being so slow.
    pub(super) async fn adopt(
        &self,
        changes: &mut Changes,
        upload: u64,
        by: &Needed,
        contents: &Contents,
        chunks: Vec<Option<Value>>,
        taking: &Taking,
    ) -> Result<()> {
        match contents {
            Contents::Needles(needles) => {
                self.check_chunks_read(changes, needles, chunks, taking).await?;
                changes.refer(upload, by, needles)
            }
            Contents::Pieces(_) => {
                let pending = self.store.get(pending_key(upload)).await?.ok_or(ObjectError::Contended)?;
                changes.check(pending_key(upload), Some(&pending));
                changes.delete(pending_key(upload));
                Ok(())
            }
        }
    }
}

fn of_object(space: &NamespaceRow, key: &str, row: &ObjectRow) -> Needed {
    Needed::Object { namespace: space.id, key: key.to_owned(), order: row.order }
}

pub(super) fn check_key(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(ObjectError::BadName(format!("an object's key has 1 to {KEY_BYTES_MAX} bytes")));
    }
    if key.contains('\0') {
        return Err(ObjectError::BadName("an object's key has no zero byte".into()));
    }
    Ok(())
}
