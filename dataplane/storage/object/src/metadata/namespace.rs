//! Namespaces.

use bytes::Bytes;
use eddy_kv::{KvError, Scan, Transaction, Value};

use super::{Metadata, TRIES, now_ms};
use crate::error::{ObjectError, Result};
use crate::schema::{
    NamespaceRow, NamespaceSettings, UNSETTLED, Versioning, configuration_key, configurations, decode, encode, multiparts,
    namespace_key, namespaces, objects, unsettled_since, usage_bytes_key, usage_objects_key, versions,
};

/// Longest name of a namespace.
const NAME_BYTES_MAX: usize = 255;

/// What a namespace holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of its objects, before redundancy.
    pub bytes: i64,
    /// Objects.
    pub objects: i64,
}

impl Metadata {
    /// Makes a namespace.
    ///
    /// # Errors
    /// [`ObjectError::NamespaceExists`], [`ObjectError::BadName`], or the store's.
    pub async fn create_namespace(&self, name: &str, settings: NamespaceSettings) -> Result<NamespaceRow> {
        let row = new_row(name, settings)?;
        let made = self.replace_namespace(name, None, row).await?;
        made.ok_or_else(|| ObjectError::NamespaceExists(name.to_owned()))
    }

    /// Makes a namespace as a change makes it of the defaults, or changes the one that there is, as [`Self::change_namespace`]
    /// does. Writes nothing where that is how it is.
    ///
    /// # Errors
    /// [`ObjectError::BadName`], or the store's.
    pub async fn provide_namespace(
        &self,
        name: &str,
        change: impl Fn(&mut NamespaceSettings) + Send + Sync,
    ) -> Result<NamespaceRow> {
        for _ in 0..TRIES {
            let (before, row) = match self.namespace_and_value(name).await {
                Ok((row, value)) => {
                    let changed = row.clone().changed(&change);
                    if changed == row {
                        return Ok(row);
                    }
                    (Some((row, value)), changed)
                }
                Err(ObjectError::NoNamespace(_)) => (None, new_row(name, NamespaceSettings::default())?.changed(&change)),
                Err(error) => return Err(error),
            };
            if let Some(row) = self.replace_namespace(name, before.as_ref(), row).await? {
                return Ok(row);
            }
        }
        Err(ObjectError::Contended)
    }

    /// A namespace.
    ///
    /// # Errors
    /// [`ObjectError::NoNamespace`], or the store's.
    pub async fn namespace(&self, name: &str) -> Result<NamespaceRow> {
        Ok(self.namespace_and_value(name).await?.0)
    }

    /// Namespaces whose names begin so, in order.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_namespaces(&self, prefix: &str) -> Result<Vec<(String, NamespaceRow)>> {
        let rows = self.scan_all(namespaces(prefix)).await?;
        let name = |key: &[u8]| String::from_utf8_lossy(&key[1..]).into_owned();
        rows.iter().map(|row| Ok((name(&row.key), decode(&row.value.bytes)?))).collect()
    }

    /// Changes what the owner of a namespace decides. What it holds already stays, also beyond a quota; versions that were kept
    /// are, even where no more are to be; and where they may be locked, they are always kept.
    ///
    /// # Errors
    /// [`ObjectError::NoNamespace`], or the store's.
    pub async fn change_namespace(
        &self,
        name: &str,
        change: impl Fn(&mut NamespaceSettings) + Send + Sync,
    ) -> Result<NamespaceRow> {
        for _ in 0..TRIES {
            let before = self.namespace_and_value(name).await?;
            let row = before.0.clone().changed(&change);
            if let Some(row) = self.replace_namespace(name, Some(&before), row).await? {
                return Ok(row);
            }
        }
        Err(ObjectError::Contended)
    }

    /// Writes a namespace's row; nothing, if it is no longer as it was.
    async fn replace_namespace(
        &self,
        name: &str,
        before: Option<&(NamespaceRow, Value)>,
        row: NamespaceRow,
    ) -> Result<Option<NamespaceRow>> {
        let key = namespace_key(name);
        let change = Transaction::new().check(key.clone(), before.map(|(_, value)| value)).put(key, encode(&row)?);
        let change = match before {
            Some((before, _)) if is_kept_otherwise(&before.settings, &row.settings) => {
                change.put(configuration_key(row.id, UNSETTLED), unsettled_since(now_ms()))
            }
            _ => change,
        };
        match self.store.commit(change).await {
            Err(KvError::Conflict { .. }) => Ok(None),
            done => done.map(|_| Some(row)).map_err(Into::into),
        }
    }

    /// Something else that the owner of a namespace decided, if so.
    ///
    /// # Errors
    /// The store's.
    pub async fn configuration(&self, namespace: u64, name: &str) -> Result<Option<Bytes>> {
        Ok(self.store.get(configuration_key(namespace, name)).await?.map(|value| value.bytes))
    }

    /// Notes something else that the owner of a namespace decided, or that it is no longer so.
    ///
    /// # Errors
    /// [`ObjectError::NoNamespace`], or the store's.
    pub async fn set_configuration(&self, namespace: &str, name: &str, value: Option<Bytes>) -> Result<()> {
        for _ in 0..TRIES {
            let (row, found) = self.namespace_and_value(namespace).await?;
            let key = configuration_key(row.id, name);
            let change = Transaction::new().check(namespace_key(namespace), Some(&found));
            let change = match value.clone() {
                Some(value) => change.put(key, value),
                None => change.delete(key),
            };
            match self.store.commit(change).await {
                Err(KvError::Conflict { .. }) => {}
                done => return done.map(drop).map_err(Into::into),
            }
        }
        Err(ObjectError::Contended)
    }

    /// What a namespace holds.
    ///
    /// # Errors
    /// [`ObjectError::NoNamespace`], or the store's.
    pub async fn usage(&self, name: &str) -> Result<Usage> {
        let id = self.namespace(name).await?.id;
        let values = self.get_all([usage_bytes_key(id), usage_objects_key(id)]).await?;
        let number = |value: Option<&Option<Value>>| {
            let bytes = value.and_then(Option::as_ref).and_then(|value| value.bytes[..].try_into().ok());
            bytes.map_or(0, i64::from_le_bytes)
        };
        Ok(Usage { bytes: number(values.first()), objects: number(values.get(1)) })
    }

    /// Removes a namespace that holds nothing. Objects that come to it in parts are given up.
    ///
    /// # Errors
    /// [`ObjectError::NoNamespace`], [`ObjectError::NotEmpty`], or the store's.
    pub async fn delete_namespace(&self, name: &str) -> Result<()> {
        for _ in 0..TRIES {
            let (row, value) = self.namespace_and_value(name).await?;
            let count = self.get_all([usage_objects_key(row.id)]).await?.pop().flatten();
            let usage = self.usage(name).await?;
            let any = async |range| Ok::<_, ObjectError>(!self.store.scan(Scan::new(range, 1)).await?.rows.is_empty());
            if usage.objects != 0 || any(objects(row.id, "")).await? || any(versions(row.id, "")).await? {
                return Err(ObjectError::NotEmpty(name.to_owned(), usage.objects));
            }
            if any(multiparts(row.id, "")).await? {
                for multipart in self.list_multiparts(row.id, "", None, 100).await?.0 {
                    match self.abort_multipart(name, &multipart.key, multipart.upload).await {
                        Ok(()) | Err(ObjectError::NoUpload) => {}
                        Err(error) => return Err(error),
                    }
                }
                continue;
            }
            // Whoever writes to it checks its row, so nothing comes after this.
            let mut delete = Transaction::new()
                .check(namespace_key(name), Some(&value))
                .check(usage_objects_key(row.id), count.as_ref())
                .delete(namespace_key(name))
                .delete(usage_objects_key(row.id))
                .delete(usage_bytes_key(row.id));
            for decided in self.scan_all(configurations(row.id)).await? {
                delete = delete.delete(decided.key);
            }
            match self.store.commit(delete).await {
                Err(KvError::Conflict { .. }) => {}
                done => return done.map(drop).map_err(Into::into),
            }
        }
        Err(ObjectError::Contended)
    }

    pub(super) async fn namespace_and_value(&self, name: &str) -> Result<(NamespaceRow, Value)> {
        let found = self.store.get(namespace_key(name)).await?;
        let value = found.ok_or_else(|| ObjectError::NoNamespace(name.to_owned()))?;
        Ok((decode(&value.bytes)?, value))
    }
}

/// Whether what is there may be to be moved.
fn is_kept_otherwise(before: &NamespaceSettings, now: &NamespaceSettings) -> bool {
    before.copies != now.copies || before.tiering != now.tiering
}

fn new_row(name: &str, settings: NamespaceSettings) -> Result<NamespaceRow> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(ObjectError::BadName(format!("a namespace's name has 1 to {NAME_BYTES_MAX} bytes")));
    }
    Ok(NamespaceRow { id: fastrand::u64(1..), created_ms: now_ms(), settings })
}

impl NamespaceRow {
    /// With what its owner decides now.
    fn changed(mut self, change: &impl Fn(&mut NamespaceSettings)) -> Self {
        let before = self.settings.versioning;
        change(&mut self.settings);
        if before != Versioning::Off && self.settings.versioning == Versioning::Off {
            self.settings.versioning = Versioning::Suspended;
        }
        if self.settings.lock.is_some() {
            // A lock is on versions.
            self.settings.versioning = Versioning::On;
        }
        self
    }
}
