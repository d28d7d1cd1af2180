//! One object, ready to be sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject, TypeMeta};

/// Where an object is: in whose core namespace, if in one, and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// Empty for what is in none.
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

/// One version of an object.
#[derive(Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) place: Place,
    /// Its resource version. Kubernetes has them grow from change to change of a kind.
    pub(crate) version: u64,
    pub(crate) uid: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// What users see of it.
    pub(crate) json: Bytes,
}

impl Place {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl Item {
    /// An object as the watch shows it; none if it has no version, as nothing that was stored has.
    pub(crate) fn of(mut object: DynamicObject, resource: &ApiResource) -> Option<Arc<Self>> {
        let version = object.resource_version()?.parse().ok()?;
        // Whoever watches one kind is not told which.
        object.types = Some(TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() });
        // Nobody reads it, and it is longer than the rest.
        object.metadata.managed_fields = None;
        let json = serde_json::to_vec(&object).ok()?.into();
        let place = Place::new(object.metadata.namespace.as_deref().unwrap_or_default(), object.metadata.name.as_deref()?);
        let labels = object.metadata.labels.take().unwrap_or_default();
        Some(Arc::new(Self { place, version, uid: object.uid().unwrap_or_default(), labels, json }))
    }
}
