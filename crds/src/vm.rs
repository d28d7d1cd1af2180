//! VM: a virtual machine.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::{Access, Arch, ContainerPort};

/// A virtual machine with disks of its own.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    doc = "A virtual machine with disks of its own.",
    group = "eddy.cloud", version = "v1alpha1", kind = "VM", root = "Vm", plural = "vms", namespaced, status = "VmStatus", cel,
    shortname = "evm", category = "eddy",
    printcolumn(name = "CPU", type_ = "integer", json_path = ".spec.cpu"),
    printcolumn(name = "Memory", type_ = "string", json_path = ".spec.memory"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::object_name(),
)]
#[serde(rename_all = "camelCase")]
pub struct VmSpec {
    /// How many virtual processors.
    #[schemars(range(min = 1, max = 128))]
    pub cpu: i32,

    /// Memory, in bytes.
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::quantity())]
    pub memory: String,

    /// The container image that holds the disk image to boot from.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::image())]
    pub image: String,

    /// The processor architecture of the disk image; the node's if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,

    /// Disks beside the one booted from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub disks: Vec<Disk>,

    /// What cloud-init does at first boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,

    /// Public keys for the image's default user, beside those of the owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub ssh_keys: Vec<crate::SshKey>,

    /// Ports that programs in it listen on. Routes and Networks reach these and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::port_names())]
    #[x_kube(validation = rules::port_numbers())]
    pub ports: Vec<ContainerPort>,

    /// Networks of the same core namespace to join.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 40)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub networks: Vec<String>,

    /// When it runs.
    #[serde(default)]
    pub run_strategy: RunStrategy,

    /// Others than the owner who may use this VM, by what they may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

/// A disk.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// The disk's name, which the guest sees as its serial number.
    #[schemars(length(min = 1, max = 20))]
    pub name: String,
    /// The Volume that holds its contents.
    #[schemars(length(min = 1, max = 40))]
    pub volume: String,
}

/// What cloud-init does at first boot.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one(&["userData", "secret"], "cloudInit needs exactly one of userData and secret"))]
pub struct CloudInit {
    /// The user data as it stands, starting with `#cloud-config` or `#!`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    #[x_kube(validation = Rule::new("self.startsWith('#cloud-config') || self.startsWith('#!')")
        .message("must start with #cloud-config or #!"))]
    pub user_data: Option<String>,
    /// A Secret of the same core namespace with the user data under the key `userdata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret: Option<String>,
}

/// When a VM runs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunStrategy {
    /// Always: it is started again when it stops, whoever stopped it.
    #[default]
    Always,
    /// Until its guest shuts it down; it is started again when it fails.
    RerunOnFailure,
    /// Not.
    Halted,
}

/// What the platform last observed of a VM.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VmStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: it runs as its spec says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The name that other programs in the cluster reach it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

crate::condition::conditioned!(Vm);
