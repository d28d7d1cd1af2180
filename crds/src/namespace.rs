//! Namespace: a storage namespace, known to S3 clients as a bucket.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// A storage namespace: a named set of files and objects with one owner. S3 clients see it as a bucket.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    doc = "A storage namespace: a named set of objects, known to S3 clients as a bucket.",
    group = "eddy.cloud", version = "v1alpha1", kind = "Namespace", namespaced, status = "NamespaceStatus", cel,
    shortname = "sns", category = "eddy",
    printcolumn(name = "Visibility", type_ = "string", json_path = ".spec.visibility"),
    printcolumn(name = "Objects", type_ = "integer", json_path = ".status.objects"),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.bytes"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) >= 3 && size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be 3 to 63 lower-case letters, digits and dashes, as S3 asks of a bucket"),
)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSpec {
    /// Who may see it and read from it.
    #[serde(default)]
    pub visibility: Visibility,

    /// The most that it may hold; as much as there is room for if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<NamespaceQuota>,

    /// How its data survives the loss of servers.
    #[serde(default)]
    pub redundancy: Redundancy,

    /// When data moves to slower, cheaper storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_policy: Option<TierPolicy>,

    /// When objects are deleted by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub lifecycle: Vec<Lifecycle>,

    /// Whether overwritten and deleted objects are kept as older versions.
    #[serde(default)]
    pub versioning: bool,

    /// What happens to the contents when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Who may see a storage namespace and read from it. Only the owner, and whom they allow, may write.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// The owner sees and reads it.
    #[default]
    Private,
    /// Everyone signed in sees that it exists; the owner reads it.
    Visible,
    /// Everyone reads it, signed in or not.
    Public,
}

/// The most that a storage namespace may hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceQuota {
    /// Objects, older versions among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub objects: Option<i64>,
    /// Bytes before redundancy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::quantity())]
    pub bytes: Option<String>,
}

/// How data survives the loss of servers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Redundancy {
    /// Whole copies, or a code that needs less space.
    #[serde(default)]
    pub mode: RedundancyMode,
    /// How many whole copies, with mode Replicated.
    #[serde(default = "default_copies")]
    #[schemars(range(min = 1, max = 5))]
    pub copies: i32,
}

fn default_copies() -> i32 {
    3
}

impl Default for Redundancy {
    fn default() -> Self {
        Self { mode: RedundancyMode::default(), copies: default_copies() }
    }
}

/// Whole copies, or a code that needs less space.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedundancyMode {
    /// Whole copies on distinct servers: quickest to read and repair.
    #[default]
    Replicated,
    /// Four parts and two for recovery on six distinct servers: half as much again in space, survives the loss of two.
    ErasureCoded,
}

/// When data moves to slower, cheaper storage.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TierPolicy {
    /// Days without a read after which an object moves to the cold tier. A read moves it back.
    #[schemars(range(min = 1, max = 3650))]
    pub cold_after_days: i32,
}

/// When some objects are deleted by themselves.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.expireAfterDays) || has(self.expireVersionsAfterDays) || has(self.abortUploadsAfterDays)")
    .message("a lifecycle rule needs expireAfterDays, expireVersionsAfterDays, abortUploadsAfterDays or several of them"))]
pub struct Lifecycle {
    /// A name to tell the rule by.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The objects whose keys start with this; all if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub prefix: Option<String>,
    /// Days after an object was written at which it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub expire_after_days: Option<i32>,
    /// Days after a version was overwritten or deleted at which it is gone for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub expire_versions_after_days: Option<i32>,
    /// Days after an upload in parts was begun at which it is given up, if it is not complete by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub abort_uploads_after_days: Option<i32>,
}

/// What happens to the contents when the object that stands for them is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// Deletion waits until the contents are gone.
    #[default]
    Retain,
    /// The contents are deleted with it.
    Delete,
}

/// What the platform last observed of a storage namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: it can be read and written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many objects it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<i64>,
    /// How many bytes they are, before redundancy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}

crate::condition::conditioned!(Namespace);
