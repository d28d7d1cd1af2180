//! User: a person, and the tenant that the platform keeps for them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::rules;

/// A person who uses the cloud. Each User has a core namespace, `u-<name>`, that holds all else of theirs;
/// deleting the User deletes it with everything in it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    doc = "A person who uses the cloud, and the tenant kept for them.",
    group = "eddy.cloud", version = "v1alpha1", kind = "User", status = "UserStatus", cel,
    shortname = "eu", category = "eddy",
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Admin", type_ = "boolean", json_path = ".spec.admin"),
    printcolumn(name = "Core Namespace", type_ = "string", json_path = ".status.coreNamespace"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::object_name(),
)]
#[serde(rename_all = "camelCase")]
pub struct UserSpec {
    /// What others see instead of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub display_name: Option<String>,

    /// Where notices about this person's account go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254))]
    #[x_kube(validation = Rule::new("self.matches('^[^@ ]+@[^@ ]+$')").message("must be one e-mail address"))]
    pub email: Option<String>,

    /// Administrators see and manage every tenant.
    #[serde(default)]
    pub admin: bool,

    /// A suspended person can neither sign in nor use tokens; their workloads go on.
    #[serde(default)]
    pub suspended: bool,

    /// Who this person is at the identity providers that may sign them in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["issuer".into(), "subject".into()]))]
    pub oidc_subjects: Vec<OidcSubject>,

    /// Public keys that may open SSH sessions to this person's containers and virtual machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub ssh_keys: Vec<SshKey>,

    /// The most that all of this person's workloads may ask for together.
    #[serde(default)]
    pub quota: Quota,
}

/// One account at one OpenID Connect provider.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct OidcSubject {
    /// The provider's issuer URL, exactly as its tokens say it.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() == 'https'").message("must be the provider's https:// URL"))]
    pub issuer: String,
    /// The `sub` claim of this person's tokens.
    #[schemars(length(min = 1, max = 255))]
    pub subject: String,
}

/// A public key with a name to tell it by.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SshKey {
    /// A name to tell the key by, such as that of the machine it is on.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// The key as one line of OpenSSH's public key format.
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = rules::ssh_public_key())]
    pub public_key: String,
}

/// Limits on the sum of what a tenant asks for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Processor time that all pods together may reserve, in cores.
    #[serde(default = "default_cpu")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::quantity())]
    pub cpu: String,
    /// Memory that all pods together may use, in bytes.
    #[serde(default = "default_memory")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::quantity())]
    pub memory: String,
    /// Space that all Volumes together may ask for, in bytes.
    #[serde(default = "default_storage")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::quantity())]
    pub storage: String,
    /// How many Containers there may be.
    #[serde(default = "default_containers")]
    #[schemars(range(min = 0, max = 10000))]
    pub containers: i32,
    /// How many VMs there may be.
    #[serde(default = "default_vms")]
    #[schemars(range(min = 0, max = 10000))]
    pub vms: i32,
    /// How many Volumes there may be.
    #[serde(default = "default_volumes")]
    #[schemars(range(min = 0, max = 10000))]
    pub volumes: i32,
    /// How many Routes there may be: every gateway knows all of them.
    #[serde(default = "default_routes")]
    #[schemars(range(min = 0, max = 10000))]
    pub routes: i32,
    /// How many Domains there may be: each has a certificate, of which authorities issue a limited number.
    #[serde(default = "default_domains")]
    #[schemars(range(min = 0, max = 1000))]
    pub domains: i32,
    /// How many ServiceAccounts there may be: every process of the platform knows all of them.
    #[serde(default = "default_service_accounts")]
    #[schemars(range(min = 0, max = 10000))]
    pub service_accounts: i32,
    /// How many Tokens there may be: every process of the platform knows all of them.
    #[serde(default = "default_tokens")]
    #[schemars(range(min = 0, max = 10000))]
    pub tokens: i32,
    /// How many pods, that is replicas of Containers and VMs, may run at once.
    #[serde(default = "default_pods")]
    #[schemars(range(min = 0, max = 10000))]
    pub pods: i32,
}

fn default_cpu() -> String {
    "4".into()
}
fn default_memory() -> String {
    "8Gi".into()
}
fn default_storage() -> String {
    "50Gi".into()
}
fn default_containers() -> i32 {
    20
}
fn default_vms() -> i32 {
    5
}
fn default_volumes() -> i32 {
    20
}
fn default_routes() -> i32 {
    200
}
fn default_domains() -> i32 {
    20
}
fn default_service_accounts() -> i32 {
    50
}
fn default_tokens() -> i32 {
    100
}
fn default_pods() -> i32 {
    50
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            cpu: default_cpu(),
            memory: default_memory(),
            storage: default_storage(),
            containers: default_containers(),
            vms: default_vms(),
            volumes: default_volumes(),
            routes: default_routes(),
            domains: default_domains(),
            service_accounts: default_service_accounts(),
            tokens: default_tokens(),
            pods: default_pods(),
        }
    }
}

/// What the platform last observed of a User.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the core namespace with its limits and rights is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The core namespace that holds this person's objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_namespace: Option<String>,
}

crate::condition::conditioned!(User);
