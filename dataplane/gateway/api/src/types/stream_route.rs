//! TLSRoute, TCPRoute and UDPRoute: Routes that pass on what comes.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::http_route::{HttpBackendRef, RouteStatus};
use super::meta::ParentReference;

/// What becomes of connections that begin TLS for some hosts.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "TLSRoute",
    plural = "tlsroutes",
    namespaced,
    status = "RouteStatus",
    schema = "disabled",
    root = "TlsRoute",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct TlsRouteSpec {
    /// What it is attached to.
    #[serde(default)]
    pub parent_refs: Vec<ParentReference>,
    /// Hosts and wildcards.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// To whom they are passed on.
    #[serde(default)]
    pub rules: Vec<StreamRouteRule>,
}

/// What becomes of connections to a port.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "TCPRoute",
    plural = "tcproutes",
    namespaced,
    status = "RouteStatus",
    schema = "disabled",
    root = "TcpRoute",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct TcpRouteSpec {
    /// What it is attached to.
    #[serde(default)]
    pub parent_refs: Vec<ParentReference>,
    /// To whom they are passed on.
    #[serde(default)]
    pub rules: Vec<StreamRouteRule>,
}

/// What becomes of datagrams to a port.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "UDPRoute",
    plural = "udproutes",
    namespaced,
    status = "RouteStatus",
    schema = "disabled",
    root = "UdpRoute",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct UdpRouteSpec {
    /// What it is attached to.
    #[serde(default)]
    pub parent_refs: Vec<ParentReference>,
    /// To whom they are passed on.
    #[serde(default)]
    pub rules: Vec<StreamRouteRule>,
}

/// To whom connections, or datagrams, are passed on.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StreamRouteRule {
    /// By weight.
    #[serde(default)]
    pub backend_refs: Vec<HttpBackendRef>,
}
