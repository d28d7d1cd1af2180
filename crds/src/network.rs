//! Network: who may reach whom inside a tenant.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{Status, rules};

/// A private network between Containers and VMs of one tenant: its members reach each other on their
/// declared ports, by name. What is in no common Network is apart.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    doc = "A private network between Containers and VMs of one tenant.",
    group = "eddy.cloud", version = "v1alpha1", kind = "Network", namespaced, status = "Status", cel,
    shortname = "enet", category = "eddy",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::object_name(),
)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// Labels of Containers and VMs that are members without naming this Network themselves.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub selector: std::collections::BTreeMap<String, String>,

    /// Networks outside the cluster that members may reach, beside the public internet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = rules::cidrs())]
    pub egress: Vec<String>,
}

crate::condition::conditioned!(Network);
