//! ReferenceGrant: who may name what from other namespaces.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// Lets objects of other namespaces name those of its own.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1beta1",
    kind = "ReferenceGrant",
    namespaced,
    schema = "disabled",
    derive = "PartialEq"
)]
pub struct ReferenceGrantSpec {
    /// Who may.
    #[serde(default)]
    pub from: Vec<GrantFrom>,
    /// What they may name.
    #[serde(default)]
    pub to: Vec<GrantTo>,
}

/// Who may name something.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GrantFrom {
    /// Objects of this group,
    pub group: String,
    /// this kind,
    pub kind: String,
    /// and this namespace.
    pub namespace: String,
}

/// What may be named.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GrantTo {
    /// Objects of this group,
    pub group: String,
    /// this kind,
    pub kind: String,
    /// and this name; all if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
