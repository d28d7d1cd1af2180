//! Namespaces.

use eddy_kv::{KvError, Transaction, Value};

use super::{Metadata, TRIES, now_ms};
use crate::error::{ObjectError, Result};
use crate::schema::{
    NamespaceRow, Quota, decode, encode, namespace_key, namespaces, objects, usage_bytes_key, usage_objects_key,
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
    pub async fn create_namespace(&self, name: &str, quota: Quota, copies: u8) -> Result<NamespaceRow> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(ObjectError::BadName(format!("a namespace's name has 1 to {NAME_BYTES_MAX} bytes")));
        }
        let row = NamespaceRow { id: fastrand::u64(1..), created_ms: now_ms(), quota, copies };
        let create = Transaction::new().check(namespace_key(name), None).put(namespace_key(name), encode(&row)?);
        match self.store.commit(create).await {
            Ok(_) => Ok(row),
            Err(KvError::Conflict { .. }) => Err(ObjectError::NamespaceExists(name.to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    /// A namespace.
    ///
    /// # Errors
    /// [`ObjectError::NoNamespace`], or the store's.
    pub async fn namespace(&self, name: &str) -> Result<NamespaceRow> {
        Ok(self.namespace_and_value(name).await?.0)
    }

    /// The names of namespaces that begin so, in order.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_namespaces(&self, prefix: &str) -> Result<Vec<String>> {
        let rows = self.scan_all(namespaces(prefix)).await?;
        Ok(rows.iter().map(|row| String::from_utf8_lossy(&row.key[1..]).into_owned()).collect())
    }

    /// Changes what a namespace may hold. What it holds already stays.
    ///
    /// # Errors
    /// [`ObjectError::NoNamespace`], or the store's.
    pub async fn set_quota(&self, name: &str, quota: Quota) -> Result<NamespaceRow> {
        for _ in 0..TRIES {
            let (row, value) = self.namespace_and_value(name).await?;
            let row = NamespaceRow { quota, ..row };
            let key = namespace_key(name);
            match self.store.commit(Transaction::new().check(key.clone(), Some(&value)).put(key, encode(&row)?)).await {
                Err(KvError::Conflict { .. }) => {}
                done => return done.map(|_| row).map_err(Into::into),
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

    /// Removes a namespace that holds nothing.
    ///
    /// # Errors
    /// [`ObjectError::NoNamespace`], [`ObjectError::NotEmpty`], or the store's.
    pub async fn delete_namespace(&self, name: &str) -> Result<()> {
        for _ in 0..TRIES {
            let (row, value) = self.namespace_and_value(name).await?;
            let count = self.get_all([usage_objects_key(row.id)]).await?.pop().flatten();
            let usage = self.usage(name).await?;
            if usage.objects != 0 || !self.scan_all(objects(row.id, "")).await?.is_empty() {
                return Err(ObjectError::NotEmpty(name.to_owned(), usage.objects));
            }
            let delete = Transaction::new()
                .check(namespace_key(name), Some(&value))
                .check(usage_objects_key(row.id), count.as_ref())
                .delete(namespace_key(name))
                .delete(usage_objects_key(row.id))
                .delete(usage_bytes_key(row.id));
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
