//! The Service of each Gateway: its addresses, and which ports gateways open behind them.

use std::collections::{BTreeMap, BTreeSet};

use eddy_crds::{MANAGED_BY, MANAGED_BY_LABEL};
use eddy_gateway_api::types::{Gateway, GatewayAddress};
use eddy_gateway_api::{DOOR_PORTS, GATEWAY_ANNOTATION, GatewayDecision, doors, place_of};
use eddy_router::{Port, Transport};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};

use crate::context::GatewayApi;

/// Of the pods that are behind every Gateway.
const SELECTOR: (&str, &str) = ("app.kubernetes.io/name", "eddy-gateway");
/// Which Gateway a Service is of, for those who look for it.
const NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// The Gateways of a namespace have so many ports: each is a socket of every thread of every gateway.
const DOORS_A_NAMESPACE_MAX: usize = 256;
/// Longer names are no labels.
const LABEL_BYTES_MAX: usize = 63;

/// The name of a Gateway's Service. One that is made anew has another.
pub(super) fn name(gateway: &Gateway) -> String {
    format!("gateway-{}", gateway.meta().uid.as_deref().unwrap_or_default())
}

/// Which ports are opened for whom. What has one keeps it, and what is free again is given to nobody for as long as others are: connections
/// that came by it may go on.
#[derive(Default)]
pub(super) struct Plan {
    /// By the name of a Service and its port.
    assigned: BTreeMap<(String, Port), Assigned>,
    /// The last one that was given.
    last: Option<u16>,
}

#[derive(Clone, Debug)]
struct Assigned {
    opened: u16,
    /// Of whoever wants it: a Gateway, or a ListenerSet.
    namespace: String,
}

/// A Gateway's Service as it is to be.
pub(super) struct Planned {
    /// None where nothing is served: it stays as it is.
    pub(super) service: Option<Service>,
    /// Those that cannot be opened, since there are as many as may be.
    pub(super) missing: BTreeSet<Port>,
}

impl Plan {
    /// Takes in what is opened already, by the Services that say so, the oldest first, and forgets those that are neither among them nor wanted.
    pub(super) fn learn(&mut self, services: &[&Service], wanted: &BTreeSet<String>) {
        let observed: BTreeSet<String> = services.iter().map(|service| service.name_any()).collect();
        self.assigned.retain(|(name, _), _| observed.contains(name) || wanted.contains(name));
        let mut taken = self.taken();
        for service in services {
            let Some((gateway, doors)) = doors(service) else { continue };
            for door in doors {
                let key = (service.name_any(), door.of());
                // Of two that have the same, the older one keeps it.
                if !self.assigned.contains_key(&key) && taken.insert(door.opened) {
                    self.assigned.insert(key, Assigned { opened: door.opened, namespace: gateway.namespace.clone() });
                }
            }
        }
        self.last = self.last.or_else(|| taken.last().copied());
    }

    fn taken(&self) -> BTreeSet<u16> {
        self.assigned.values().map(|assigned| assigned.opened).collect()
    }

    /// The Service of a Gateway. What its own listeners are for comes before what ListenerSets add.
    pub(super) fn service(
        &mut self,
        gateway: &Gateway,
        decided: &GatewayDecision,
        namespace: &str,
        settings: &GatewayApi,
    ) -> Planned {
        let place = place_of(gateway);
        let name = name(gateway);
        let ports = decided.ports();
        // What is served no more is closed.
        self.assigned.retain(|(service, port), _| *service != name || ports.contains(port));
        let mut opened: BTreeMap<Port, u16> = BTreeMap::new();
        let mut missing = BTreeSet::new();
        for (port, set) in decided.opened() {
            if opened.contains_key(&port) {
                continue;
            }
            match self.opened(&name, &set.unwrap_or(&place).namespace, port) {
                Some(number) => drop(opened.insert(port, number)),
                // Another of the same port may be of a namespace that has room.
                None => drop(missing.insert(port)),
            }
        }
        missing.retain(|port| !opened.contains_key(port));
        if opened.is_empty() {
            return Planned { service: None, missing };
        }
        let service_port = |(port, opened): (Port, u16)| {
            let (name, protocol) = match port.transport {
                Transport::Tcp => (format!("p{}", port.number), "TCP"),
                Transport::Udp => (format!("p{}-udp", port.number), "UDP"),
            };
            ServicePort {
                name: Some(name),
                port: i32::from(port.number),
                target_port: Some(IntOrString::Int(i32::from(opened))),
                protocol: Some(protocol.to_owned()),
                ..ServicePort::default()
            }
        };
        let infrastructure = gateway.spec.infrastructure.clone().unwrap_or_default();
        // Others act on what Services of the platform's namespace say: whoever writes Gateways says there what they are let.
        let is_let =
            |key: &String| key.split_once('/').is_none_or(|(domain, _)| settings.domains.iter().any(|other| *other == domain));
        let mut labels: BTreeMap<String, String> = infrastructure.labels.into_iter().filter(|(key, _)| is_let(key)).collect();
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
        if place.name.len() <= LABEL_BYTES_MAX {
            labels.insert(NAME_LABEL.to_owned(), place.name.clone());
        }
        let mut annotations: BTreeMap<String, String> =
            infrastructure.annotations.into_iter().filter(|(key, _)| is_let(key)).collect();
        annotations.insert(GATEWAY_ANNOTATION.to_owned(), place.to_string());
        let is_balanced = settings.service_type == "LoadBalancer";
        let wanted = gateway.spec.addresses.iter().find_map(|address| address.value.clone());
        let spec = ServiceSpec {
            type_: Some(settings.service_type.clone()),
            selector: Some([(SELECTOR.0.to_owned(), SELECTOR.1.to_owned())].into()),
            load_balancer_ip: wanted.filter(|_| is_balanced),
            ports: Some(opened.into_iter().map(service_port).collect()),
            ..ServiceSpec::default()
        };
        let metadata = ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        };
        Planned { service: Some(Service { metadata, spec: Some(spec), status: None }), missing }
    }

    fn opened(&mut self, name: &str, namespace: &str, port: Port) -> Option<u16> {
        let key = (name.to_owned(), port);
        let known = self.assigned.get(&key).map(|known| (known.opened, known.namespace == namespace));
        if let Some((opened, true)) = known {
            return Some(opened);
        }
        if self.assigned.values().filter(|assigned| assigned.namespace == namespace).count() >= DOORS_A_NAMESPACE_MAX {
            return None;
        }
        if let Some((opened, false)) = known {
            // Of what was there already it is known only whose Gateway's it is, and a listener may have another owner now.
            self.assigned.insert(key, Assigned { opened, namespace: namespace.to_owned() });
            return Some(opened);
        }
        let taken = self.taken();
        let last = self.last.unwrap_or(*DOOR_PORTS.end());
        let after = (last..=*DOOR_PORTS.end()).skip(1).chain(DOOR_PORTS);
        let free = after.into_iter().find(|port| !taken.contains(port))?;
        self.last = Some(free);
        self.assigned.insert(key, Assigned { opened: free, namespace: namespace.to_owned() });
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
    use eddy_gateway_api::{ListenerDecision, Place, Protocol};
    use serde_json::json;

    fn gateway(name: &str) -> Gateway {
        let metadata = json!({"namespace": "infra", "name": name, "uid": format!("uid-{name}")});
        let spec = json!({"gatewayClassName": "eddy", "infrastructure": {"labels": {"a": "b"}, "annotations": {"lb.example/pool": "x", "external-dns.example/hostname": "y", GATEWAY_ANNOTATION: "infra/z"}}});
        serde_json::from_value(
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata, "spec": spec}),
        )
        .unwrap()
    }

    fn settings() -> GatewayApi {
        GatewayApi { service_type: "LoadBalancer".into(), domains: vec!["lb.example".into()] }
    }
    /// What is decided of a Gateway with these ports, each for one of its own listeners or for a ListenerSet of another namespace.
    fn decided(ports: &[(Port, bool)]) -> GatewayDecision {
        let mut gateway = GatewayDecision::default();
        for (port, is_own) in ports {
            let protocol = if port.transport == Transport::Udp { Protocol::Udp } else { Protocol::Http };
            let set = (!is_own).then(|| Place::new("other", "set"));
            gateway.listeners.push(ListenerDecision {
                number: port.number,
                protocol: Some(protocol),
                set,
                ..ListenerDecision::default()
            });
        }
        gateway
    }
    fn planned(plan: &mut Plan, name: &str, ports: &[u16]) -> Option<Service> {
        let ports: Vec<_> = ports.iter().map(|number| (Port::tcp(*number), true)).collect();
        plan.service(&gateway(name), &decided(&ports), "eddy-system", &settings()).service
    }
    fn opened(service: &Service) -> Vec<(u16, u16)> {
        doors(service).unwrap().1.iter().map(|door| (door.port, door.opened)).collect()
    }

    #[test]
    fn each_port_of_each_gateway_has_one_of_its_own_and_keeps_it() {
        let mut plan = Plan::default();
        let (first, second) = (planned(&mut plan, "a", &[80, 443]).unwrap(), planned(&mut plan, "b", &[80]).unwrap());
        assert_eq!((opened(&first), opened(&second)), (vec![(80, 20_000), (443, 20_001)], vec![(80, 20_002)]));
        assert_eq!(doors(&second).unwrap().0, Place::new("infra", "b"));
        assert_eq!(first.name_any(), "gateway-uid-a");
        // The first is without port 80 now, which nobody else gets at once, also where it begins from what is there.
        let mut fresh = Plan::default();
        fresh.learn(&[&first, &second], &BTreeSet::new());
        for plan in [&mut plan, &mut fresh] {
            assert_eq!(opened(&planned(plan, "a", &[443, 8080]).unwrap()), [(443, 20_001), (8080, 20_003)]);
            assert!(planned(plan, "a", &[]).is_none());
        }
    }

    #[test]
    fn of_two_that_have_the_same_the_older_one_keeps_it() {
        let (first, second) =
            (planned(&mut Plan::default(), "a", &[80]).unwrap(), planned(&mut Plan::default(), "b", &[80]).unwrap());
        assert_eq!(opened(&first), opened(&second));
        let mut plan = Plan::default();
        plan.learn(&[&first, &second], &BTreeSet::new());
        assert_eq!(opened(&planned(&mut plan, "a", &[80]).unwrap()), [(80, 20_000)]);
        assert_eq!(opened(&planned(&mut plan, "b", &[80]).unwrap()), [(80, 20_001)]);
        // What is gone is forgotten, unless it is only not seen yet.
        plan.learn(&[&second], &["gateway-uid-a".to_owned()].into());
        assert_eq!(plan.assigned.len(), 2);
        plan.learn(&[&second], &BTreeSet::new());
        assert_eq!(plan.assigned.len(), 1);
    }

    #[test]
    fn a_namespace_has_so_many_and_whoever_adds_listeners_has_its_own() {
        let mut plan = Plan::default();
        let added: Vec<_> = (1000..1300).map(|number| (Port::udp(number), false)).collect();
        let own: Vec<_> = (1..=DOORS_A_NAMESPACE_MAX as u16).map(|number| (Port::tcp(number), true)).collect();
        let planned = plan.service(&gateway("a"), &decided(&[own, added].concat()), "eddy-system", &settings());
        assert_eq!(opened(&planned.service.unwrap()).len(), 2 * DOORS_A_NAMESPACE_MAX);
        assert_eq!(planned.missing.len(), 300 - DOORS_A_NAMESPACE_MAX);
        assert!(planned.missing.iter().all(|port| port.number >= 1000));
        let planned =
            plan.service(&gateway("b"), &decided(&[(Port::tcp(80), true), (Port::udp(1), false)]), "eddy-system", &settings());
        assert!(planned.service.is_none() && planned.missing.len() == 2);
    }

    #[test]
    fn a_gateway_says_of_its_service_what_it_is_let() {
        let service = planned(&mut Plan::default(), "a", &[80]).unwrap();
        assert_eq!((service.labels()["a"].as_str(), service.annotations()["lb.example/pool"].as_str()), ("b", "x"));
        assert!(!service.annotations().contains_key("external-dns.example/hostname"));
        assert_eq!(service.annotations()[GATEWAY_ANNOTATION], "infra/a");
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
