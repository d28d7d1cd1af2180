//! Server-side apply of what the operator makes, left out where nothing changed.
//!
//! Expected flow: a reconciliation computes the whole desired object and calls [`Applier::apply`] with what the
//! watch last showed of it. The patch is sent if the desired object differs from the one last sent, or if someone
//! changed the object since. So a quiet cluster costs no request, and a change by hand is put right.
//!
//! Guarantee: after an `Ok`, the API server holds every field of the desired object, as of this process's
//! knowledge. Caveat: what was sent is remembered only in this process; a new leader applies everything once.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use eddy_crds::FIELD_MANAGER;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::children::Child;
use crate::error::ReconcileError;

/// Applies and deletes children.
pub(crate) struct Applier {
    client: Client,
    applied: Mutex<HashMap<Key, Applied>>,
}

/// Kind, namespace and name.
type Key = (&'static str, String, String);

/// What was last sent, and the version that it became.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Applied {
    hash: u64,
    version: String,
}

impl Applier {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, applied: Mutex::default() }
    }

    /// Makes a namespaced object as desired. `observed` is what the watch shows of it. Returns the object as the
    /// API server has it where a request was needed, which is newer than what the watch shows.
    pub(crate) async fn apply<K>(&self, desired: &K, observed: Option<&K>) -> Result<Option<K>, ReconcileError>
    where
        K: Child + Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let api = Api::namespaced(self.client.clone(), &desired.namespace().unwrap_or_default());
        self.apply_to(&api, desired, observed).await
    }

    /// The same for an object of the whole cluster.
    pub(crate) async fn apply_cluster<K>(&self, desired: &K, observed: Option<&K>) -> Result<Option<K>, ReconcileError>
    where
        K: Child + Resource<Scope = ClusterResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        self.apply_to(&Api::all(self.client.clone()), desired, observed).await
    }

    async fn apply_to<K>(&self, api: &Api<K>, desired: &K, observed: Option<&K>) -> Result<Option<K>, ReconcileError>
    where
        K: Child + Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let key = (K::KIND, desired.namespace().unwrap_or_default(), desired.name_any());
        let hash = hash(desired);
        let current = observed.map(|observed| Applied { hash, version: observed.version() });
        if current.is_some() && self.lock().get(&key) == current.as_ref() {
            return Ok(None);
        }
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let applied = api.patch(&key.2, &parameters, &Patch::Apply(desired)).await.map_err(|source| ReconcileError::Apply {
            kind: K::KIND,
            name: key.2.clone(),
            source: Box::new(source),
        })?;
        tracing::debug!(kind = K::KIND, namespace = key.1, name = key.2, "applied");
        self.lock().insert(key, Applied { hash, version: applied.version() });
        Ok(Some(applied))
    }

    /// Deletes a namespaced object that is no longer desired, if the watch shows one.
    pub(crate) async fn delete<K>(&self, observed: Option<&K>) -> Result<(), ReconcileError>
    where
        K: Child + Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let Some(observed) = observed.filter(|observed| observed.meta().deletion_timestamp.is_none()) else { return Ok(()) };
        let (namespace, name) = (observed.namespace().unwrap_or_default(), observed.name_any());
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        match api.delete(&name, &DeleteParams::background()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => return Err(ReconcileError::Delete { kind: K::KIND, name, source: Box::new(source) }),
        }
        self.lock().remove(&(K::KIND, namespace, name));
        Ok(())
    }

    /// Forgets what was sent to a namespace that is going away.
    pub(crate) fn forget_namespace(&self, namespace: &str) {
        self.lock().retain(|(_, known, _), _| known != namespace);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Applied>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Only compared within one process, so any stable hash does.
fn hash<K: Serialize>(desired: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Maps of the API types are ordered, so equal objects are equal text.
    serde_json::to_string(desired).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
