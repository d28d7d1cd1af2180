//! Token: a credential for programs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{Scope, rules};

/// The type of the Secrets that tokens are written to.
pub const TOKEN_SECRET_TYPE: &str = "eddy.cloud/token";

/// A credential of its owner, or of a ServiceAccount of theirs. The secret is written once, to a Secret
/// of the same core namespace; the platform keeps only its hash.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    doc = "A credential for programs.",
    group = "eddy.cloud", version = "v1alpha1", kind = "Token", namespaced, status = "TokenStatus", cel,
    shortname = "tok", category = "eddy",
    printcolumn(name = "Service Account", type_ = "string", json_path = ".spec.serviceAccount"),
    printcolumn(name = "Expires", type_ = "date", json_path = ".spec.expiresAt"),
    printcolumn(name = "Last Used", type_ = "date", json_path = ".status.lastUsedAt"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::object_name(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.serviceAccount) == has(oldSelf.serviceAccount) && (!has(self.serviceAccount) || self.serviceAccount == oldSelf.serviceAccount)")
    .message("spec.serviceAccount cannot be changed: make another Token"))]
#[x_kube(validation = Rule::new("has(self.secretName) == has(oldSelf.secretName) && (!has(self.secretName) || self.secretName == oldSelf.secretName)")
    .message("spec.secretName cannot be changed: make another Token"))]
pub struct TokenSpec {
    /// The ServiceAccount that it stands for; the owner if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub service_account: Option<String>,

    /// What it may do, of what its principal may do; all of that if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["scope".into()]))]
    pub scopes: Vec<Scope>,

    /// When it ends; never if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,

    /// When its secret is replaced by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<TokenRotation>,

    /// The Secret that the token is written to, under the key `token`, and as an access key of S3, under `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`; that of the Token's own name if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub secret_name: Option<String>,
}

/// When a token's secret is replaced by itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.overlapHours < self.everyDays * 24").message("overlapHours must be shorter than everyDays"))]
pub struct TokenRotation {
    /// Days from one secret to the next.
    #[schemars(range(min = 1, max = 3650))]
    pub every_days: i32,
    /// Hours that the last secret goes on being accepted.
    #[schemars(range(min = 0, max = 8760))]
    pub overlap_hours: i32,
}

/// What the platform last observed of a Token.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: every service accepts it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The Secret that the token was written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The secrets that are accepted, the newest first: those before it only until they end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub secrets: Vec<TokenSecret>,
    /// When a service last accepted it, to the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Time>,
}

/// What the platform keeps of a secret: enough to know it again, not to show it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TokenSecret {
    /// Which it is: the part of the token after `eddy_`.
    pub id: String,
    /// The SHA-256 of all of the token, in base64url.
    pub hash: String,
    /// Since when it has been good.
    pub issued_at: Time,
    /// Until when it is, where another has taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

crate::condition::conditioned!(Token);
