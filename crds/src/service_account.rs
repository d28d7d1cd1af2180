//! ServiceAccount: a principal that is not a person.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{Scope, Status, rules};

/// A named set of scopes, for programs. It never holds more than its owner does at that moment.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    doc = "A principal that is not a person: a named set of scopes.",
    group = "eddy.cloud", version = "v1alpha1", kind = "ServiceAccount", namespaced, status = "Status", cel,
    shortname = "esa", category = "eddy",
    printcolumn(name = "Description", type_ = "string", json_path = ".spec.description"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::object_name(),
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,

    /// What it may do.
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["scope".into()]))]
    pub scopes: Vec<Scope>,

    /// Whether its tokens are refused.
    #[serde(default)]
    pub suspended: bool,
}

crate::condition::conditioned!(ServiceAccount);
