//! Route: what the gateway does with requests for a host and path.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod filters;
mod matching;

pub use self::filters::{
    Cors, HeaderEdits, HeaderValue, IpFilter, Mirror, PathEdit, RateLimit, RateLimitKey, Redirect, RedirectScheme, Rewrite,
};
pub use self::matching::{FieldMatch, FieldMatchType, PathMatch, PathMatchType, RouteMethod};

use crate::{Domain, rules};

/// Sends requests for some hosts and paths to a tenant's Containers. Of two tenants that claim one host, the
/// one with the older Route keeps it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    doc = "What the gateway does with requests for some hosts and paths.",
    group = "eddy.cloud", version = "v1alpha1", kind = "Route", namespaced, status = "RouteStatus", cel,
    shortname = "rt", category = "eddy",
    printcolumn(name = "Hosts", type_ = "string", json_path = ".spec.hosts"),
    printcolumn(name = "Protocol", type_ = "string", json_path = ".spec.protocol"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::object_name(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.protocol in ['TCP', 'UDP'] || (has(self.hosts) && self.hosts.size() > 0)")
    .message("spec.hosts needs at least one host, as in app.example.com"))]
#[x_kube(validation = Rule::new("!(self.protocol in ['TCP', 'UDP']) || has(self.port)")
    .message("a TCP or UDP Route needs spec.port, the port that the gateway listens on"))]
#[x_kube(validation = Rule::new("!(self.protocol in ['TCP', 'UDP']) || !has(self.hosts) || self.hosts.size() == 0")
    .message("a TCP or UDP Route has no hosts: whoever comes to a port names none"))]
#[x_kube(validation = Rule::new("!(self.protocol in ['TCP', 'UDP'] || oldSelf.protocol in ['TCP', 'UDP']) || (self.protocol == oldSelf.protocol && has(self.port) == has(oldSelf.port) && (!has(self.port) || self.port == oldSelf.port))")
    .message("a Route keeps its port: make another Route, which has the port once no older one does"))]
#[x_kube(validation = Rule::new("!(self.protocol in ['TCP', 'UDP', 'TLS', 'SSH']) || !has(self.paths) || self.paths.size() == 0")
    .message("only HTTP, gRPC and WebSocket Routes have paths: remove spec.paths or change spec.protocol"))]
#[x_kube(validation = Rule::new("has(self.redirect) != (has(self.backends) && self.backends.size() > 0)")
    .message("a Route needs backends, or sends clients elsewhere with spec.redirect, not both"))]
#[x_kube(validation = Rule::new("!(self.stripPrefix && has(self.rewrite) && has(self.rewrite.path))")
    .message("spec.stripPrefix and spec.rewrite.path both say what becomes of the path: remove one"))]
#[x_kube(validation = Rule::new("!(has(self.domain) && has(self.tls) && has(self.tls.secret))")
    .message("spec.domain and spec.tls.secret both name a certificate: remove one"))]
pub struct RouteSpec {
    /// Exact hosts, as in `app.example.com`, and wildcards, as in `*.example.com`, which match any number of labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = rules::hosts())]
    pub hosts: Vec<String>,

    /// What the clients speak.
    #[serde(default)]
    pub protocol: RouteProtocol,

    /// The port that the gateway listens on for a TCP or UDP Route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::port())]
    pub port: Option<i32>,

    /// Which paths of the hosts; all if unset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub paths: Vec<PathMatch>,

    /// Which methods; all if unset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub methods: Vec<RouteMethod>,

    /// What the request's headers must be, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::field_names())]
    pub headers: Vec<FieldMatch>,

    /// What the parameters of the request's query must be, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub queries: Vec<FieldMatch>,

    /// Whether the matched prefix is removed from the path that the backend sees.
    #[serde(default)]
    pub strip_prefix: bool,

    /// What host and path the backend sees instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,

    /// Where clients are sent to instead of being answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,

    /// What changes of the headers that the backend sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderEdits>,

    /// What changes of the headers that the client sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<HeaderEdits>,

    /// Which pages of other hosts may ask (cross-origin resource sharing); what the backend says of it if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,

    /// Whether answers that shrink, as texts do, are compressed for clients that take it (gzip). Not where what a client sends is in an
    /// answer beside something secret: the size of the answer would tell of it.
    #[serde(default)]
    pub compress: bool,

    /// The largest body of a request, in MiB; more is answered with 413. Any if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub request_body_mebibytes_max: Option<i32>,

    /// Who answers. Several share the requests by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub backends: Vec<Backend>,

    /// Who sees copies of the requests besides, whose answers are nobody's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub mirrors: Vec<Mirror>,

    /// Which client addresses are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_filter: Option<IpFilter>,

    /// Scopes that a request's token must hold, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub required_scopes: Vec<crate::Scope>,

    /// How many requests are let through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,

    /// How long each step may take.
    #[serde(default)]
    pub timeouts: Timeouts,

    /// What is tried again.
    #[serde(default)]
    pub retries: Retries,

    /// The certificate, and what happens to requests without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RouteTls>,

    /// A Domain of the same core namespace whose certificate serves the hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub domain: Option<String>,
}

impl RouteSpec {
    /// The Secret with its hosts' certificate, if it names one, or a Domain that has one. What is no name of a Secret is none.
    pub fn certificate_secret(&self) -> Option<Cow<'_, str>> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        let of_tls = self.tls.as_ref().and_then(|tls| tls.secret.as_deref());
        let name = match (of_tls, &self.domain) {
            (Some(secret), _) => Cow::Borrowed(secret),
            (None, Some(domain)) => Cow::Owned(Domain::secret_of(domain)),
            (None, None) => return None,
        };
        let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(is_plain);
        Some(name).filter(|_| is_name)
    }
}

/// What the clients of a Route speak.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteProtocol {
    /// HTTP/1.1 and HTTP/2, WebSocket upgrades among it.
    #[default]
    HTTP,
    /// gRPC: HTTP/2 to the backend as well.
    GRPC,
    /// WebSocket only: requests without an upgrade are refused.
    WebSocket,
    /// TLS that ends at the backend, routed by the name in the handshake.
    TLS,
    /// A byte stream on a port of its own.
    TCP,
    /// Datagrams on a port of its own.
    UDP,
    /// SSH to a Container or VM.
    SSH,
}

/// One of those who answer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one(&["container", "vm"], "a backend needs exactly one of container and vm"))]
pub struct Backend {
    /// A Container of the same core namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub container: Option<String>,
    /// A VM of the same core namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub vm: Option<String>,
    /// One of its ports.
    #[x_kube(validation = rules::port())]
    pub port: i32,
    /// Its share of the requests, in proportion to the sum of all; 0 sends it none; 1 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000000))]
    pub weight: Option<i32>,
}

impl Backend {
    /// Its share of the requests, given or not.
    pub fn weight(&self) -> u32 {
        self.weight.map_or(1, |weight| u32::try_from(weight).unwrap_or(0))
    }
}

/// How long each step may take, in seconds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// To open a connection to a backend.
    #[serde(default = "default_connect_seconds")]
    #[schemars(range(min = 1, max = 60))]
    pub connect_seconds: i32,
    /// Between two reads or writes of a request or response: an idle stream ends after it.
    #[serde(default = "default_idle_seconds")]
    #[schemars(range(min = 1, max = 86400))]
    pub idle_seconds: i32,
    /// From a request's header to the end of its answer, all tries together; without limit if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub request_seconds: Option<i32>,
}

fn default_connect_seconds() -> i32 {
    5
}
fn default_idle_seconds() -> i32 {
    60
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_seconds: default_connect_seconds(), idle_seconds: default_idle_seconds(), request_seconds: None }
    }
}

/// What is tried again. A request that may have reached a backend is tried again only if it is idempotent.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// How many times more, each on another endpoint if there is one; 0 to never.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 0, max = 10))]
    pub attempts: i32,
}

fn default_attempts() -> i32 {
    2
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: default_attempts() }
    }
}

/// How TLS is done for a Route's hosts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RouteTls {
    /// A Secret of type `kubernetes.io/tls` of the same core namespace; the platform's own certificate if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::kubernetes_name())]
    pub secret: Option<String>,
    /// Whether requests without TLS are sent to the same URL with TLS.
    #[serde(default)]
    pub redirect_http: bool,
}

/// What the platform last observed of a Route.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the hosts are this tenant's, the backends are there, and at least one can answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Hosts of this Route that an older Route of another tenant keeps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts_taken: Vec<String>,
}

crate::condition::conditioned!(Route);
