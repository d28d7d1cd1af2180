//! What becomes of a Route's requests and answers besides being passed on.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Which client addresses are served. The longest network that holds an address decides; deny wins a draw.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IpFilter {
    /// Served. If this list is not empty, an address in neither list is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 64)))]
    #[x_kube(validation = rules::cidrs())]
    pub allow: Vec<String>,
    /// Refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 64)))]
    #[x_kube(validation = rules::cidrs())]
    pub deny: Vec<String>,
}

/// How many requests are let through; more are answered with 429.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Requests a second, over time.
    #[schemars(range(min = 1, max = 1000000))]
    pub requests_per_second: i32,
    /// Requests that may come at once after a quiet time; as many as a second's if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub burst: Option<i32>,
    /// Who shares one allowance.
    #[serde(default)]
    pub per: RateLimitKey,
}

/// Who shares one allowance.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateLimitKey {
    /// Each client address has its own.
    #[default]
    Client,
    /// Each token has its own.
    Token,
    /// All requests of the Route share one.
    Route,
}

/// What changes of some headers: first what is removed, then what is set, then what is added.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HeaderEdits {
    /// These have this value and no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::field_names())]
    pub set: Vec<HeaderValue>,
    /// These have this value as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::field_names())]
    pub add: Vec<HeaderValue>,
    /// These are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    #[x_kube(validation = rules::header_names())]
    pub remove: Vec<String>,
}

/// A header.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HeaderValue {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096))]
    #[x_kube(validation = Rule::new("!self.matches('[\\\\x00-\\\\x08\\\\x0a-\\\\x1f\\\\x7f]')").message("a header's value is one line"))]
    pub value: String,
}

/// One who sees copies of requests.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// A Container of the same core namespace.
    #[schemars(length(min = 1, max = 40))]
    pub container: String,
    /// One of its ports.
    #[x_kube(validation = rules::port())]
    pub port: i32,
    /// Of how many requests, in hundredths.
    #[serde(default = "all_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
}

fn all_percent() -> i32 {
    100
}

/// What a backend sees instead of what the client asked for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rewrite {
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::host())]
    pub host: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathEdit>,
}

/// What becomes of a path.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one(&["full", "prefix"], "a path becomes exactly one of full and prefix"))]
pub struct PathEdit {
    /// It is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rules::request_path())]
    pub full: Option<String>,
    /// The prefix that was matched is this, and the rest stays. Of another match than by a prefix nothing is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rules::request_path())]
    pub prefix: Option<String>,
}

/// Where clients are sent to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.scheme) || has(self.host) || has(self.port) || has(self.path)")
    .message("a redirect to where the client is already has no end: name a scheme, a host, a port or a path"))]
pub struct Redirect {
    /// The scheme there; that of the request if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RedirectScheme>,
    /// The host there; that of the request if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::host())]
    pub host: Option<String>,
    /// The port there; if unset, the scheme's where one is given, else that of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::port())]
    pub port: Option<i32>,
    /// The path there; that of the request if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathEdit>,
    /// With which status.
    #[serde(default = "default_redirect_status")]
    #[x_kube(validation = Rule::new("self in [301, 302, 303, 307, 308]").message("a redirect has the status 301, 302, 303, 307 or 308"))]
    pub status: i32,
}

fn default_redirect_status() -> i32 {
    302
}

/// How clients are to come again.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RedirectScheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl RedirectScheme {
    /// As it is written in URLs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Which pages of other hosts may ask, and what they may know (Fetch, "CORS protocol"). Requests of other pages are not refused: their
/// browsers keep the answer from them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.allowCredentials && has(self.allowOrigins) && self.allowOrigins.exists(o, o == '*'))")
    .message("any origin, and credentials with it, would let every page act as its visitor: name the origins"))]
pub struct Cors {
    /// Origins, as in `https://app.example.com`, `https://*.example.com` or `*` for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(o, o == '*' || o.matches('^[a-z][a-z0-9+.-]*://([*][.])?[a-zA-Z0-9.-]+(:[0-9]+)?$'))")
        .message("each origin is a scheme and a host, as in https://app.example.com or https://*.example.com, or *"))]
    pub allow_origins: Vec<String>,
    /// Methods, or `*` for any; GET, HEAD and POST if unset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 32)))]
    #[x_kube(validation = rules::header_names())]
    pub allow_methods: Vec<String>,
    /// Headers that pages may send besides those that need no leave, or `*` for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(validation = rules::header_names())]
    pub allow_headers: Vec<String>,
    /// Headers of answers that pages may read besides those that need no leave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(validation = rules::header_names())]
    pub expose_headers: Vec<String>,
    /// Whether cookies and the like come with requests.
    #[serde(default)]
    pub allow_credentials: bool,
    /// Seconds for which browsers may remember this.
    #[serde(default = "default_max_age_seconds")]
    #[schemars(range(min = 0, max = 86400))]
    pub max_age_seconds: i32,
}

fn default_max_age_seconds() -> i32 {
    5
}
