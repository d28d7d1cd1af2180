//! What the Kubernetes API says of a request to it (`audit.k8s.io/v1`, `Event`), as far as it is looked at.
//!
//! <https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Events of one request of the Kubernetes API to us.
#[derive(Debug, Deserialize)]
pub(crate) struct EventList<'a> {
    /// Each is read by itself: one that is not understood hides no others.
    #[serde(borrow, default)]
    pub(crate) items: Vec<&'a RawValue>,
}

/// What somebody asked of the Kubernetes API.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Event {
    #[serde(rename = "auditID")]
    pub(crate) audit_id: String,
    pub(crate) stage: String,
    #[serde(rename = "requestURI")]
    pub(crate) request_uri: String,
    pub(crate) verb: String,
    pub(crate) user: User,
    /// Whoever connected is the last one, the others are what they say.
    #[serde(rename = "sourceIPs")]
    pub(crate) source_ips: Vec<String>,
    pub(crate) object_ref: Option<ObjectReference>,
    pub(crate) response_status: Option<Status>,
    pub(crate) request_received_timestamp: Option<Timestamp>,
}

/// Who asked, whomever they asked as.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct User {
    pub(crate) username: String,
    pub(crate) extra: BTreeMap<String, Option<Vec<String>>>,
}

/// Of what.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ObjectReference {
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) api_group: String,
    pub(crate) subresource: String,
}

/// What was answered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) reason: String,
}
