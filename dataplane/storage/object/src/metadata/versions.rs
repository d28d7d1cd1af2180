//! Versions of objects.

use std::fmt;
use std::str::FromStr;

use eddy_kv::{Read, ReadResult, Scan, after_prefix};

use super::Metadata;
use super::known::{Found, found};
use crate::error::{ObjectError, Result};
use crate::schema::{NamespaceRow, ObjectRow, key_and_number, object_key, objects, version_key, versions, versions_of};

/// Which version of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionId {
    /// The one that was written while no versions were kept.
    Unversioned,
    /// One of those that are kept.
    Kept {
        /// Its place among all of its key.
        order: u64,
        /// The upload that wrote it.
        upload: u64,
    },
}

impl VersionId {
    /// That of a version.
    pub fn of(row: &ObjectRow) -> Self {
        if row.unversioned { Self::Unversioned } else { Self::Kept { order: row.order, upload: row.upload } }
    }

    pub(super) fn is_of(self, row: &ObjectRow) -> bool {
        self == Self::of(row)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unversioned => formatter.write_str("null"),
            Self::Kept { order, upload } => write!(formatter, "{order:016x}{upload:016x}"),
        }
    }
}

impl FromStr for VersionId {
    type Err = ObjectError;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || ObjectError::BadName("a version is \"null\" or 32 hexadecimal digits".into());
        if text == "null" {
            return Ok(Self::Unversioned);
        }
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (order, upload) = text.split_at_checked(16).filter(|_| digits).ok_or_else(bad)?;
        let number = |text| u64::from_str_radix(text, 16).map_err(|_| bad());
        Ok(Self::Kept { order: number(order)?, upload: number(upload)? })
    }
}

/// Where a listing of versions goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VersionsAfter {
    /// It begins.
    #[default]
    Nothing,
    /// After all versions of a key.
    Key(String),
    /// After the version of a key that has this order.
    Version(String, u64),
    /// After all keys that begin so.
    Prefix(String),
}

impl VersionsAfter {
    /// Whether a version was listed before.
    fn skips(&self, key: &str, order: u64) -> bool {
        match self {
            Self::Key(last) => key == last,
            Self::Version(last, last_order) => key == last && order >= *last_order,
            Self::Nothing | Self::Prefix(_) => false,
        }
    }
}

/// A version in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// The object's key.
    pub key: String,
    /// The version.
    pub row: ObjectRow,
    /// Whether it is the latest of its key.
    pub latest: bool,
}

impl Metadata {
    /// A version of the object under a key.
    ///
    /// # Errors
    /// [`ObjectError::NoObject`], or the store's.
    pub async fn version(&self, space: &NamespaceRow, key: &str, version: VersionId) -> Result<ObjectRow> {
        self.version_found(space, key, version).await?.map(|found| found.row).ok_or_else(|| ObjectError::NoObject(key.to_owned()))
    }

    /// A version, and the row that it was read from. It may be the present one or not, and become the one or the other: both are
    /// read at once.
    pub(super) async fn version_found(&self, space: &NamespaceRow, key: &str, version: VersionId) -> Result<Option<Found>> {
        let older = match version {
            VersionId::Unversioned => Read::Scan(Scan::new(versions_of(space.id, key), eddy_kv::SCAN_ROWS_MAX)),
            VersionId::Kept { order, .. } => Read::Get(version_key(space.id, key, order)),
        };
        let mut more = false;
        for result in self.store.read(vec![Read::Get(object_key(space.id, key)), older]).await? {
            let values: Vec<_> = match result {
                ReadResult::Value(value) => value.into_iter().collect(),
                ReadResult::Page(page) => {
                    more = page.more;
                    page.rows.into_iter().map(|row| row.value).collect()
                }
            };
            for value in values {
                let found = found(value)?;
                if version.is_of(&found.row) {
                    return Ok(Some(found));
                }
            }
        }
        // Nothing changes which one was written while no versions were kept, but what removes it.
        if more { self.unversioned(space, key).await } else { Ok(None) }
    }

    /// Versions of objects whose keys begin so, after a version of a key: in the order of keys, the latest of each first.
    ///
    /// Returns whether there are more.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_versions(
        &self,
        namespace: u64,
        prefix: &str,
        after: &VersionsAfter,
        limit: usize,
    ) -> Result<(Vec<ListedVersion>, bool)> {
        let (mut present, mut older) = (objects(namespace, prefix), versions(namespace, prefix));
        // Of the key itself, the present version and the last one are read again: they tell which is the latest.
        let starts = match after {
            VersionsAfter::Nothing => None,
            VersionsAfter::Key(key) => Some((object_key(namespace, key), version_key(namespace, key, 0))),
            VersionsAfter::Version(key, order) => Some((object_key(namespace, key), version_key(namespace, key, *order))),
            VersionsAfter::Prefix(common) => {
                Some((after_prefix(&objects(namespace, common).start), after_prefix(&versions(namespace, common).start)))
            }
        };
        if let Some((of_present, of_older)) = starts {
            present.start = present.start.max(of_present);
            older.start = older.start.max(of_older);
        }
        let room = limit.saturating_add(2).min(eddy_kv::SCAN_ROWS_MAX);
        let reads = vec![Read::Scan(Scan::new(present, room)), Read::Scan(Scan::new(older, room))];
        let mut listed = Vec::new();
        // Beyond the last row of a page that was not the last, the other kind of rows says too little.
        let mut known_to: Option<(String, u64)> = None;
        for result in self.store.read(reads).await? {
            let ReadResult::Page(page) = result else { continue };
            let mut last = None;
            for row in page.rows {
                let is_present = row.key.first() == Some(&b'o');
                let key = if is_present {
                    std::str::from_utf8(&row.key[9..]).ok()
                } else {
                    key_and_number(&row.key).map(|(key, _)| key)
                };
                let key = key.ok_or_else(|| ObjectError::Broken("a key is no text".into()))?.to_owned();
                let version = found(row.value)?.row;
                last = Some((key.clone(), if is_present { 0 } else { !version.order }));
                listed.push((key, is_present, version));
            }
            if let Some(last) = last.filter(|_| page.more) {
                known_to = Some(known_to.map_or(last.clone(), |other| other.min(last)));
            }
        }
        let place = |(key, is_present, row): &(String, bool, ObjectRow)| (key.clone(), if *is_present { 0 } else { !row.order });
        listed.sort_by_cached_key(place);
        let all = listed.len();
        if let Some(known_to) = &known_to {
            listed.retain(|version| place(version) <= *known_to);
        }
        let cut = listed.len() < all || known_to.is_some();
        let mut before: Option<String> = None;
        let mut found = Vec::new();
        for (key, _, row) in listed {
            let latest = before.as_ref() != Some(&key);
            before = Some(key.clone());
            if !after.skips(&key, row.order) {
                found.push(ListedVersion { key, row, latest });
            }
        }
        let more = cut || found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }
}
