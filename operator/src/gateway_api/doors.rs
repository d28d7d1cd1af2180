//! The Service of each Gateway: its addresses, and which ports gateways open behind them.

use std::collections::{BTreeMap, BTreeSet};

use eddy_crds::{MANAGED_BY, MANAGED_BY_LABEL};
use eddy_gateway_api::types::{Gateway, GatewayAddress};
use eddy_gateway_api::{DOOR_PORTS, Door, GATEWAY_ANNOTATION, GatewayDecision, Place, doors, place_of};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};

/// Of the pods that are behind every Gateway.
const SELECTOR: (&str, &str) = ("app.kubernetes.io/name", "eddy-gateway");
/// Which Gateway a Service is of, for those who look for it.
const NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// Longer names are no labels.
const LABEL_BYTES_MAX: usize = 63;

/// The name of a Gateway's Service. One that is made anew has another.
pub(super) fn name(gateway: &Gateway) -> String {
    format!("gateway-{}", gateway.meta().uid.as_deref().unwrap_or_default())
}

/// The ports of a Gateway at which something is served.
pub(super) fn ports(decided: &GatewayDecision) -> BTreeSet<u16> {
    let accepted = decided.listeners.iter().filter(|listener| decided.problem.is_none() && listener.is_accepted());
    accepted.map(|listener| listener.port).collect()
}

/// Which ports are opened for whom. What has one keeps it.
pub(super) struct Plan {
    known: BTreeMap<Place, Vec<Door>>,
    taken: BTreeSet<u16>,
}

impl Plan {
    /// What is opened already, by the Services that say so.
    pub(super) fn new<'a>(services: impl Iterator<Item = &'a Service>) -> Self {
        let known: BTreeMap<Place, Vec<Door>> = services.filter_map(doors).collect();
        let taken = known.values().flatten().map(|door| door.opened).collect();
        Self { known, taken }
    }

    /// The Service of a Gateway that has these ports; none where no more can be opened.
    pub(super) fn service(
        &mut self,
        gateway: &Gateway,
        ports: &BTreeSet<u16>,
        namespace: &str,
        service_type: &str,
    ) -> Option<Service> {
        let place = place_of(gateway);
        let opened = ports.iter().map(|port| self.opened(&place, *port)).collect::<Option<Vec<_>>>()?;
        let service_port = |(port, opened): (&u16, u16)| ServicePort {
            name: Some(format!("p{port}")),
            port: i32::from(*port),
            target_port: Some(IntOrString::Int(i32::from(opened))),
            protocol: Some("TCP".to_owned()),
            ..ServicePort::default()
        };
        let infrastructure = gateway.spec.infrastructure.clone().unwrap_or_default();
        let mut labels = infrastructure.labels;
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
        if place.name.len() <= LABEL_BYTES_MAX {
            labels.insert(NAME_LABEL.to_owned(), place.name.clone());
        }
        let mut annotations = infrastructure.annotations;
        annotations.insert(GATEWAY_ANNOTATION.to_owned(), place.to_string());
        let is_balanced = service_type == "LoadBalancer";
        let wanted = gateway.spec.addresses.iter().find_map(|address| address.value.clone());
        let spec = ServiceSpec {
            type_: Some(service_type.to_owned()),
            selector: Some([(SELECTOR.0.to_owned(), SELECTOR.1.to_owned())].into()),
            load_balancer_ip: wanted.filter(|_| is_balanced),
            ports: Some(ports.iter().zip(opened).map(service_port).collect()),
            ..ServiceSpec::default()
        };
        let metadata = ObjectMeta {
            name: Some(name(gateway)),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        };
        Some(Service { metadata, spec: Some(spec), status: None })
    }

    fn opened(&mut self, gateway: &Place, port: u16) -> Option<u16> {
        let known = self.known.get(gateway).and_then(|doors| doors.iter().find(|door| door.port == port));
        if let Some(known) = known {
            return Some(known.opened);
        }
        let free = DOOR_PORTS.into_iter().find(|port| !self.taken.contains(port))?;
        self.taken.insert(free);
        Some(free)
    }
}

/// The addresses that a Service has.
pub(super) fn addresses(service: &Service) -> Vec<GatewayAddress> {
    let address = |kind: &str, value: &str| GatewayAddress { kind: Some(kind.to_owned()), value: Some(value.to_owned()) };
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let given = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    let spec = service.spec.clone().unwrap_or_default();
    if spec.type_.as_deref() == Some("LoadBalancer") {
        let given = given.iter().filter_map(|given| match (&given.ip, &given.hostname) {
            (Some(ip), _) => Some(address("IPAddress", ip)),
            (None, Some(hostname)) => Some(address("Hostname", hostname)),
            (None, None) => None,
        });
        return given.collect();
    }
    let own = spec.cluster_ips.unwrap_or_default();
    own.iter().filter(|ip| *ip != "None").map(|ip| address("IPAddress", ip)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn gateway(name: &str) -> Gateway {
        let metadata = json!({"namespace": "infra", "name": name, "uid": format!("uid-{name}")});
        let spec = json!({"gatewayClassName": "eddy", "infrastructure": {"labels": {"a": "b"}, "annotations": {"c": "d"}}});
        serde_json::from_value(
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata, "spec": spec}),
        )
        .unwrap()
    }

    #[test]
    fn each_port_of_each_gateway_has_one_of_its_own_and_keeps_it() {
        let mut plan = Plan::new(std::iter::empty());
        let first = plan.service(&gateway("a"), &[80, 443].into(), "eddy-system", "LoadBalancer").unwrap();
        let second = plan.service(&gateway("b"), &[80].into(), "eddy-system", "LoadBalancer").unwrap();
        assert_eq!(doors(&first).unwrap().1, [Door { port: 80, opened: 20_000 }, Door { port: 443, opened: 20_001 }]);
        assert_eq!(doors(&second).unwrap(), (Place::new("infra", "b"), vec![Door { port: 80, opened: 20_002 }]));
        assert_eq!(
            (first.name_any().as_str(), first.labels()["a"].as_str(), first.annotations()["c"].as_str()),
            ("gateway-uid-a", "b", "d")
        );
        // The first is without port 80 now, and the second keeps what it has.
        let mut plan = Plan::new([&first, &second].into_iter());
        let first = plan.service(&gateway("a"), &[443, 8080].into(), "eddy-system", "LoadBalancer").unwrap();
        assert_eq!(doors(&first).unwrap().1, [Door { port: 443, opened: 20_001 }, Door { port: 8080, opened: 20_003 }]);
    }

    #[test]
    fn addresses_are_the_balancers_or_the_cluster_s() {
        let service = |spec: serde_json::Value, status: serde_json::Value| -> Service {
            serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap()
        };
        let values = |service: Service| addresses(&service).into_iter().filter_map(|address| address.value).collect::<Vec<_>>();
        let given = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]}});
        assert_eq!(
            values(service(json!({"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"]}), given)),
            ["192.0.2.1", "lb.example"]
        );
        assert!(values(service(json!({"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"]}), json!({}))).is_empty());
        assert_eq!(values(service(json!({"type": "ClusterIP", "clusterIPs": ["10.0.0.1"]}), json!({}))), ["10.0.0.1"]);
    }
}
