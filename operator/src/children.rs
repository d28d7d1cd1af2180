//! The kinds that the operator makes, and how a change to one of them is recognised.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;

/// A kind that the operator makes.
pub(crate) trait Child: ResourceExt {
    /// The kind's name, in messages.
    const KIND: &'static str;

    /// A text that changes when someone changes what the operator set.
    ///
    /// The generation counts changes of the spec only, so a status update is no change. Kinds without one
    /// have no status that moves, and their resource version serves.
    fn version(&self) -> String {
        match self.meta().generation {
            Some(generation) => format!("generation {generation}"),
            None => self.resource_version().unwrap_or_default(),
        }
    }
}

macro_rules! children {
    ($($kind:ident),+ $(,)?) => {$(
        impl Child for $kind {
            const KIND: &'static str = stringify!($kind);
        }
    )+};
}
children!(Deployment, StatefulSet, Namespace, LimitRange, Service, NetworkPolicy, Role, RoleBinding);

impl Child for ResourceQuota {
    const KIND: &'static str = "ResourceQuota";

    /// A quota has no generation, and its status moves with every pod.
    fn version(&self) -> String {
        serde_json::to_string(&self.spec).unwrap_or_default()
    }
}
