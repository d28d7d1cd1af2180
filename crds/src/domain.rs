//! Domain: a host name that a tenant brings, with its certificate.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
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
    printcolumn(name = "Until", type_ = "string", json_path = ".status.notAfter"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::object_name(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.host.startsWith('*.') || self.challenge in ['DNS01', 'None']")
    .message("a wildcard host can only be proven by DNS: set spec.challenge to DNS01, or to None if the Routes name a certificate"))]
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

impl Domain {
    /// The Secret that a Domain's certificate is in, by the Domain's name.
    #[must_use]
    pub fn secret_of(name: &str) -> String {
        format!("{name}-domain-tls")
    }

    /// When its ownership was proven, in seconds since 1970.
    #[must_use]
    pub fn proven_at_s(&self) -> Option<i64> {
        Some(self.status.as_ref()?.proven_at.as_ref()?.0.as_second())
    }
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
    /// Not at all: no certificate is obtained, and the Routes name their own.
    None,
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
    /// Since when ownership has been proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<Time>,
    /// The Secret that holds the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// When the certificate ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// The certificate that is being obtained, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<DomainOrder>,
    /// What went wrong last while a certificate was obtained, until one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<DomainFailure>,
}

/// A certificate that is being obtained (RFC 8555, section 7.4).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DomainOrder {
    /// The order's address at the authority.
    pub url: String,
    /// When it began.
    pub since: Time,
    /// What whoever looks is answered. Gateways do; none of it is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<DomainAnswer>,
    /// When the authority was asked to look. It is asked once: each look that finds nothing counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Time>,
}

/// What an authority is answered that looks whether a host leads here.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DomainAnswer {
    /// Where it looks.
    pub challenge: DomainChallenge,
    /// What it asks for.
    pub token: String,
    /// What it is answered: the key authorization (RFC 8555, section 8.1).
    pub key_authorization: String,
    /// Since when that is known.
    pub since: Time,
    /// Of DNS01, the record that it is in, which others may lead to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Of DNS01, whether that record was asked for.
    #[serde(default)]
    pub is_presented: bool,
}

/// What went wrong while a certificate was obtained.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DomainFailure {
    /// In the authority's own words, where it said something.
    pub message: String,
    /// How many times it did since the last certificate.
    pub count: i32,
    /// It is not tried again before.
    pub next_attempt_at: Time,
}

crate::condition::conditioned!(Domain);
