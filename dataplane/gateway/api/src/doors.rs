//! The ports that gateways open for Gateways, one for each port of each: every Gateway has addresses of its own, and all are served by the same
//! processes, so behind the same port of two Gateways there are two.

use std::ops::RangeInclusive;

use eddy_router::{Port, Transport};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::decide::{ServiceInput, ServicePortInput};
use crate::place::Place;

/// Says on a Service of the platform's namespace which Gateway's addresses it has, as namespace/name.
pub const GATEWAY_ANNOTATION: &str = "eddy.cloud/gateway";
/// Says of a port of a Service that HTTP/2 is spoken there without TLS (KEP-3726).
const HTTP2_WITHOUT_TLS: &str = "kubernetes.io/h2c";
/// The ports that may be opened.
pub const DOOR_PORTS: RangeInclusive<u16> = 20_000..=29_999;

/// A port that gateways open for a Gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Door {
    /// The number of the Gateway's port.
    pub port: u16,
    /// That of the one that is opened.
    pub opened: u16,
    /// What comes at both.
    #[serde(default)]
    pub transport: Transport,
}

impl Door {
    /// The Gateway's port.
    pub const fn of(self) -> Port {
        Port { transport: self.transport, number: self.port }
    }

    /// The one that is opened.
    pub const fn opened(self) -> Port {
        Port { transport: self.transport, number: self.opened }
    }
}

/// The ports that are opened for the Gateway whose addresses a Service has, if it has one's.
pub fn doors(service: &Service) -> Option<(Place, Vec<Door>)> {
    let (namespace, name) = service.annotations().get(GATEWAY_ANNOTATION)?.split_once('/')?;
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let door = |port: &k8s_openapi::api::core::v1::ServicePort| {
        let Some(IntOrString::Int(opened)) = &port.target_port else { return None };
        let opened = u16::try_from(*opened).ok().filter(|opened| DOOR_PORTS.contains(opened))?;
        Some(Door { port: u16::try_from(port.port).ok()?, opened, transport: transport(port)? })
    };
    Some((Place::new(namespace, name), ports.iter().filter_map(door).collect()))
}

/// What comes at a port of a Service; none if nothing that is passed on here.
fn transport(port: &k8s_openapi::api::core::v1::ServicePort) -> Option<Transport> {
    match port.protocol.as_deref() {
        None | Some("TCP") => Some(Transport::Tcp),
        Some("UDP") => Some(Transport::Udp),
        Some(_) => None,
    }
}

impl ServiceInput {
    /// A Service as far as Routes are concerned.
    pub fn of(service: &Service) -> Self {
        let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
            Some(ServicePortInput {
                port: u16::try_from(port.port).ok()?,
                name: port.name.clone().unwrap_or_default(),
                is_udp: transport(port)? == Transport::Udp,
                is_http2: port.app_protocol.as_deref() == Some(HTTP2_WITHOUT_TLS),
            })
        };
        Self { ports: ports.iter().filter_map(port).collect() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_says_what_is_opened_for_whom() {
        let service = |annotations: serde_json::Value| -> Service {
            let ports = json!([{"port": 80, "targetPort": 20001}, {"port": 80, "targetPort": 20002, "protocol": "UDP"}, {"port": 81, "targetPort": 8080}, {"port": 82, "targetPort": "http"}]);
            serde_json::from_value(json!({"metadata": {"annotations": annotations}, "spec": {"ports": ports}})).unwrap()
        };
        assert_eq!(doors(&service(json!({}))), None);
        let found = doors(&service(json!({GATEWAY_ANNOTATION: "infra/g"})));
        let door = |opened, transport| Door { port: 80, opened, transport };
        let opened = vec![door(20_001, Transport::Tcp), door(20_002, Transport::Udp)];
        assert_eq!(found, Some((Place::new("infra", "g"), opened)));
    }

    #[test]
    fn ports_are_told_apart_by_what_comes_there() {
        let ports = json!([{"port": 53, "protocol": "UDP", "name": "dns"}, {"port": 80, "appProtocol": "kubernetes.io/h2c"}, {"port": 9, "protocol": "SCTP"}]);
        let service: Service = serde_json::from_value(json!({"metadata": {}, "spec": {"ports": ports}})).unwrap();
        let port = |port, name: &str, is_udp, is_http2| ServicePortInput { port, name: name.to_owned(), is_udp, is_http2 };
        assert_eq!(ServiceInput::of(&service).ports, [port(53, "dns", true, false), port(80, "", false, true)]);
    }
}
