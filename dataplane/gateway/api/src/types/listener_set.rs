//! ListenerSet: listeners that others than its owner add to a Gateway.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::gateway::{Listener, ListenerStatus};

/// Listeners that are added to a Gateway.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "ListenerSet",
    namespaced,
    status = "ListenerSetStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// To which.
    pub parent_ref: ParentGatewayReference,
    /// What is listened for.
    #[serde(default)]
    pub listeners: Vec<Listener>,
}

/// A Gateway that listeners are added to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ParentGatewayReference {
    /// Its group; this one if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its kind; Gateway if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its namespace; the ListenerSet's if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// What became of a ListenerSet.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetStatus {
    /// Of the whole.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Of its listeners.
    #[serde(default)]
    pub listeners: Vec<ListenerStatus>,
}
