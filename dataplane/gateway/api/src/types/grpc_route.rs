//! GRPCRoute.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::http_route::{HttpBackendRef, HttpRouteFilter, NamedMatch, RouteStatus};
use super::meta::ParentReference;

/// What becomes of calls of gRPC for some hosts.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "GRPCRoute",
    plural = "grpcroutes",
    namespaced,
    status = "RouteStatus",
    schema = "disabled",
    root = "GrpcRoute",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteSpec {
    /// What it is attached to.
    #[serde(default)]
    pub parent_refs: Vec<ParentReference>,
    /// Hosts and wildcards; those of the listeners if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// What becomes of which.
    #[serde(default)]
    pub rules: Vec<GrpcRouteRule>,
}

/// What becomes of some calls.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteRule {
    /// Which: any of these.
    #[serde(default)]
    pub matches: Vec<GrpcRouteMatch>,
    /// What besides being passed on.
    #[serde(default)]
    pub filters: Vec<HttpRouteFilter>,
    /// To whom they are passed on.
    #[serde(default)]
    pub backend_refs: Vec<HttpBackendRef>,
}

/// Which calls: all of it must hold.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct GrpcRouteMatch {
    /// What is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<GrpcMethodMatch>,
    /// Their headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<NamedMatch>,
}

/// What is called.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct GrpcMethodMatch {
    /// Exact or RegularExpression; Exact if none.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The service; any if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The method; any if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}
