//! Whom a Route's references lead to.

use std::sync::Arc;

use eddy_router::Transport;

use super::grants::Grants;
use super::policies::{BackendTls, Policies};
use super::request_route::RouteKind;
use super::{Problem, World};
use crate::place::Place;
use crate::types::ObjectReference;

/// A port of a Service, by the name that its endpoints have it under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendPort {
    /// The Service.
    pub service: Place,
    /// The port's name; empty where it has none.
    pub port: String,
    /// What comes there.
    pub transport: Transport,
    /// HTTP/2 is spoken there.
    pub is_http2: bool,
    /// How it is reached by TLS; without TLS if none.
    pub tls: Option<Arc<BackendTls>>,
}

/// Finds whom a Route of a kind and namespace leads to.
pub(super) fn find(
    reference: &ObjectReference,
    (kind, namespace): (RouteKind, &str),
    (grants, policies): (&Grants<'_>, &Policies),
    world: &World<'_>,
) -> Result<BackendPort, Problem> {
    if !reference.is_core("Service", "Service") {
        let kind = reference.kind.as_deref().unwrap_or_default();
        return Err(Problem::new("InvalidKind", format!("backend {}: a backend is a Service, not a {kind}", reference.name)));
    }
    let service = Place::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    // Before it is looked for: who may not name it is not told whether it is there.
    if !grants.permit((kind.as_str(), namespace), ("Service", &service)) {
        let message = format!("no ReferenceGrant of namespace {} lets Service {service} be named", service.namespace);
        return Err(Problem::new("RefNotPermitted", message));
    }
    let missing = |what: String| Problem::new("BackendNotFound", what);
    let input = world.services.get(&service).ok_or_else(|| missing(format!("there is no Service {service}")))?;
    let number =
        reference.port.ok_or_else(|| Problem::new("UnsupportedValue", format!("backend {service}: a port is needed")))?;
    let port = input.ports.iter().find(|port| i32::from(port.port) == number && port.transport() == kind.transport());
    let port = port.ok_or_else(|| missing(format!("Service {service} has no port {number}")))?;
    // What is not looked into may be TLS already.
    let tls = match kind {
        RouteKind::Http | RouteKind::Grpc | RouteKind::Tls => policies.find(&service, &port.name),
        RouteKind::Tcp | RouteKind::Udp => None,
    };
    Ok(BackendPort { service, port: port.name.clone(), transport: kind.transport(), is_http2: port.is_http2, tls })
}
