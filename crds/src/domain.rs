//! Domain: a host name that a tenant brings, with its certificate.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// A host name that a tenant brings: once its ownership is proven, a certificate is obtained and kept fresh.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    doc = "A host name that a tenant brings, with its certificate.",
    group = "eddy.cloud", version = "v1alpha1", kind = "Domain", namespaced, status = "DomainStatus", cel,
    shortname = "dom", category = "eddy",
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host"),
    printcolumn(name = "Expires", type_ = "date", json_path = ".status.notAfter"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::object_name(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.host.startsWith('*.') || self.challenge == 'DNS01'")
    .message("a wildcard host can only be proven by DNS: set spec.challenge to DNS01"))]
pub struct DomainSpec {
    /// The host, exact or with one leading wildcard label.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([*][.])?([a-z0-9]([-a-z0-9]*[a-z0-9])?[.])+[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("must be a lower-case host with at least one dot, as in www.example.com or *.example.com"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.host cannot be changed: make another Domain"))]
    pub host: String,

    /// How the certificate authority is shown that the host leads here.
    #[serde(default)]
    pub challenge: DomainChallenge,
}

/// How a certificate authority is shown that a host leads here (RFC 8555, RFC 8737).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DomainChallenge {
    /// A file over plain HTTP.
    #[default]
    HTTP01,
    /// A certificate in a TLS handshake.
    TLSALPN01,
    /// A TXT record.
    DNS01,
}

/// What the platform last observed of a Domain.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DomainStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: ownership is proven and a valid certificate is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The name of the TXT record that proves ownership.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_record: Option<String>,
    /// What that record must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_value: Option<String>,
    /// The Secret that holds the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// When the certificate ends, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
}

crate::condition::conditioned!(Domain);
