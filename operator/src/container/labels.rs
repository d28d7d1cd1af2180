//! How the children of a Container are told apart and belong to it.

use std::collections::BTreeMap;

use eddy_crds::{CONTAINER_LABEL, Container, MANAGED_BY, MANAGED_BY_LABEL};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::{Resource, ResourceExt};

pub(super) fn labels(container: &Container) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), container.name_any()),
        (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
        (CONTAINER_LABEL.to_owned(), container.name_any()),
    ])
}

pub(super) fn selector(container: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(CONTAINER_LABEL.to_owned(), container.to_owned())])),
        ..LabelSelector::default()
    }
}

pub(super) fn metadata(container: &Container) -> ObjectMeta {
    ObjectMeta {
        name: Some(container.name_any()),
        namespace: container.namespace(),
        labels: Some(labels(container)),
        owner_references: Some(container.controller_owner_ref(&()).into_iter().collect()),
        ..ObjectMeta::default()
    }
}
