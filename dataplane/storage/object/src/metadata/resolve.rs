//! A namespace and an object of it, in one round trip.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Metadata;
use crate::error::{ObjectError, Result};
use crate::schema::{NamespaceRow, ObjectRow, decode, namespace_key, object_key};

/// Numbers that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// The numbers that namespaces had when last seen. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Numbers(Arc<RwLock<HashMap<String, u64>>>);

impl Numbers {
    pub(super) fn of(&self, namespace: &str) -> Option<u64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(namespace).copied()
    }

    pub(super) fn remember(&self, namespace: &str, number: u64) {
        let mut numbers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if numbers.len() >= REMEMBERED_MAX {
            numbers.clear();
        }
        numbers.insert(namespace.to_owned(), number);
    }
}

impl Metadata {
    /// A namespace and the object under a key of it, if there is one, both as they are now.
    ///
    /// # Errors
    /// [`ObjectError::NoNamespace`], or the store's.
    pub async fn resolve(&self, namespace: &str, key: &str) -> Result<(NamespaceRow, Option<ObjectRow>)> {
        let guess = self.numbers.of(namespace);
        let keys = [namespace_key(namespace)].into_iter().chain(guess.map(|number| object_key(number, key)));
        let mut values = self.get_all(keys).await?.into_iter();
        let found = values.next().flatten().ok_or_else(|| ObjectError::NoNamespace(namespace.to_owned()))?;
        let space: NamespaceRow = decode(&found.bytes)?;
        let object = if guess == Some(space.id) {
            values.next().flatten()
        } else {
            self.numbers.remember(namespace, space.id);
            self.store.get(object_key(space.id, key)).await?
        };
        Ok((space, object.map(|value| decode(&value.bytes)).transpose()?))
    }
}
