//! Container: a program from an image, kept running.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Probes;
use crate::rules;

/// A program from an image, kept running in one or more replicas, with a stable name inside the cluster.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    doc = "A program from an image, kept running in one or more replicas.",
    group = "eddy.cloud", version = "v1alpha1", kind = "Container", namespaced, status = "ContainerStatus", cel,
    shortname = "ctr", category = "eddy",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Available", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::object_name(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.volumes) || self.volumes.size() == 0 || self.replicas <= 1")
    .message("a Container with volumes runs in one replica: set spec.replicas to 1, or use no volumes"))]
#[x_kube(validation = rules::probe_ports())]
pub struct ContainerSpec {
    /// The image to run, as in `nginx:1.27`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::image())]
    pub image: String,

    /// The program to start instead of the image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,

    /// Its arguments, instead of the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    pub args: Vec<String>,

    /// The folder that the program starts in, instead of the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rules::absolute_path())]
    pub working_dir: Option<String>,

    /// Environment variables, from literals and Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,

    /// What each replica reserves, and the most that it may use.
    #[serde(default)]
    pub resources: Resources,

    /// The processor architecture that the image needs; any node if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,

    /// Ports that the program listens on. Routes and Networks reach these and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::port_names())]
    #[x_kube(validation = rules::port_numbers())]
    pub ports: Vec<ContainerPort>,

    /// Whether a replica started, works and may have traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,

    /// How many copies run; 0 stops the Container and keeps all else of it.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,

    /// Volumes of the same core namespace, and where each is mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["path".into()]))]
    pub volumes: Vec<VolumeMount>,

    /// Networks of the same core namespace to join.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 40)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub networks: Vec<String>,

    /// What happens when the program ends.
    #[serde(default)]
    pub restart: RestartPolicy,

    /// Others than the owner who may use this Container, by what they may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,

    /// Whether SSH sessions may be opened to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
}

fn default_replicas() -> i32 {
    1
}

/// One environment variable.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one(&["value", "secret"], "an environment variable needs exactly one of value and secret"))]
pub struct EnvVar {
    /// The variable's name.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_.-]*$')")
        .message("must be letters, digits, _, . and -, not starting with a digit, as in LOG_LEVEL"))]
    pub name: String,
    /// Its value, taken as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub value: Option<String>,
    /// A key of a Secret of the same core namespace that holds its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretKey>,
}

/// One key of a Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Processor time and memory of one replica. A limit below what is reserved is refused.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.cpuLimit) || !isQuantity(self.cpuLimit) || !isQuantity(self.cpu) || quantity(self.cpuLimit).compareTo(quantity(self.cpu)) >= 0")
    .message("cpuLimit must not be below cpu"))]
pub struct Resources {
    /// Processor time reserved, in cores.
    #[serde(default = "default_cpu")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::quantity())]
    pub cpu: String,
    /// The most processor time, in cores; what the node has to spare if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::quantity())]
    pub cpu_limit: Option<String>,
    /// Memory, in bytes: reserved, and the most it may use, since memory cannot be taken back.
    #[serde(default = "default_memory")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::quantity())]
    pub memory: String,
}

fn default_cpu() -> String {
    "50m".into()
}
fn default_memory() -> String {
    "128Mi".into()
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpu: default_cpu(), cpu_limit: None, memory: default_memory() }
    }
}

/// A processor architecture, by the name that Kubernetes gives it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit x86.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// The value of the node label `kubernetes.io/arch`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// A port that the program listens on.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// The port's name; `port-` and the number if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self.matches('[a-z]')")
        .message("must be at most 15 lower-case letters, digits and dashes with at least one letter, as in http"))]
    pub name: Option<String>,
    /// The port's number.
    #[x_kube(validation = rules::port())]
    pub port: i32,
    /// The transport protocol; TCP if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<PortProtocol>,
}

impl ContainerPort {
    /// The port's name, given or not.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("port-{}", self.port))
    }
    /// The transport protocol, given or not.
    pub fn protocol(&self) -> PortProtocol {
        self.protocol.unwrap_or_default()
    }
}

/// A transport protocol.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum PortProtocol {
    /// A byte stream.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl PortProtocol {
    /// The name that Kubernetes gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// A Volume in a container's file system.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The Volume's name.
    #[schemars(length(min = 1, max = 40))]
    pub volume: String,
    /// Where it is mounted.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rules::absolute_path())]
    pub path: String,
    /// Whether writing is refused; no if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// What happens when the program ends.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// It is started again, with a growing pause if it ends at once.
    #[default]
    Always,
}

/// Principals beside the owner, by what they may do.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Who may open SSH sessions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)))]
    #[x_kube(validation = rules::principals())]
    pub ssh: Vec<String>,
    /// Who may read its logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)))]
    #[x_kube(validation = rules::principals())]
    pub logs: Vec<String>,
    /// Who may run commands in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)))]
    #[x_kube(validation = rules::principals())]
    pub exec: Vec<String>,
    /// Who may change and delete it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)))]
    #[x_kube(validation = rules::principals())]
    pub manage: Vec<String>,
}

/// SSH to a Container. The image needs no SSH server: sessions are opened by the platform.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Ssh {
    /// Whether sessions may be opened.
    #[serde(default)]
    pub enabled: bool,
    /// The program that a session starts; `/bin/sh` if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rules::absolute_path())]
    pub shell: Option<String>,
}

/// What the platform last observed of a Container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: as many replicas as asked for run the image asked for, and pass their probes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many replicas exist.
    #[serde(default)]
    pub replicas: i32,
    /// How many of them may have traffic.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The label selector of its pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The name that other programs in the cluster reach it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

crate::condition::conditioned!(Container);
