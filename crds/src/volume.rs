//! Volume: a file system that outlives the programs that use it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DeletionPolicy, rules};

/// A file system that outlives the Containers and VMs that use it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    doc = "A file system that outlives the programs that use it.",
    group = "eddy.cloud", version = "v1alpha1", kind = "Volume", namespaced, status = "VolumeStatus", cel,
    shortname = "vol", category = "eddy",
    printcolumn(name = "Size", type_ = "string", json_path = ".spec.size"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.class"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::object_name(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.class) == has(oldSelf.class) && (!has(self.class) || self.class == oldSelf.class)")
    .message("spec.class cannot be changed: make a new Volume and copy the data"))]
pub struct VolumeSpec {
    /// How much it holds, in bytes. It can grow, not shrink.
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::quantity())]
    #[x_kube(validation = Rule::new("!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0")
        .message("a Volume cannot shrink: make a smaller one and copy the data"))]
    pub size: String,

    /// The storage class of the cluster that it is made from; the cluster's default if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class: Option<String>,

    /// How many nodes may use it at once.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.access cannot be changed: make a new Volume and copy the data"))]
    pub access: VolumeAccess,

    /// Copies made by themselves, for going back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<SnapshotPolicy>,

    /// What happens to the data when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// How many nodes may use a Volume at once.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumeAccess {
    /// One node at a time.
    #[default]
    ReadWriteOnce,
    /// Many, where the class can.
    ReadWriteMany,
}

/// When copies are made, and how many are kept.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotPolicy {
    /// Hours from one copy to the next.
    #[schemars(range(min = 1, max = 8760))]
    pub every_hours: i32,
    /// How many copies are kept; the oldest goes first.
    #[schemars(range(min = 1, max = 100))]
    pub keep: i32,
}

/// What the platform last observed of a Volume.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: it can be mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How much it holds now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<String>,
}

crate::condition::conditioned!(Volume);
