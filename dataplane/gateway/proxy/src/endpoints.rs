//! The addresses of each Container's ports, swapped one by one: a pod that comes or goes recompiles no route.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use eddy_router::Transport;

use crate::inputs::{Place, SliceInput};
use crate::trust::Trust;

/// One address, and how many requests it has under way.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    active: AtomicUsize,
    pub(crate) trust: Trust,
}

impl Endpoint {
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }
}

/// Counts a request as under way at its endpoint for as long as it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Endpoint>);

impl InFlight {
    pub(crate) fn start(endpoint: Arc<Endpoint>) -> Self {
        endpoint.active.fetch_add(1, Ordering::Relaxed);
        Self(endpoint)
    }
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }
    pub(crate) fn trust(&self) -> &Trust {
        &self.0.trust
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A Service's port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServicePort {
    pub(crate) service: Place,
    pub(crate) transport: Transport,
    pub(crate) port: PortKey,
}

/// Which port of a Service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PortKey {
    /// That of the pods.
    Number(u16),
    /// That which the Service gives this name.
    Name(String),
}

/// The endpoints behind a port, as they are now.
pub(crate) type Endpoints = Arc<ArcSwap<Vec<Arc<Endpoint>>>>;

/// Every port that a route names, and its endpoints.
#[derive(Default)]
pub(crate) struct Registry {
    slices: BTreeMap<Place, SliceInput>,
    ports: HashMap<ServicePort, Endpoints>,
}

impl Registry {
    /// The endpoints behind a port, which go on being kept up to date.
    pub(crate) fn endpoints(&mut self, port: &ServicePort) -> Endpoints {
        if let Some(endpoints) = self.ports.get(port) {
            return endpoints.clone();
        }
        let endpoints: Endpoints = Arc::new(ArcSwap::from_pointee(self.gather(port, &[])));
        self.ports.insert(port.clone(), endpoints.clone());
        endpoints
    }

    /// Takes in a new or changed slice.
    pub(crate) fn apply(&mut self, slice: SliceInput) {
        let service = Place { namespace: slice.slice.namespace.clone(), name: slice.service.clone() };
        let before = self.slices.insert(slice.slice.clone(), slice);
        self.refresh(&service);
        if let Some(before) = before.filter(|before| before.service != service.name) {
            self.refresh(&Place { namespace: before.slice.namespace, name: before.service });
        }
    }

    /// Forgets a slice.
    pub(crate) fn delete(&mut self, slice: &Place) {
        if let Some(gone) = self.slices.remove(slice) {
            self.refresh(&Place { namespace: gone.slice.namespace, name: gone.service });
        }
    }

    /// Takes in all slices anew, and forgets those that are not among them.
    pub(crate) fn replace(&mut self, slices: Vec<SliceInput>) {
        self.slices = slices.into_iter().map(|slice| (slice.slice.clone(), slice)).collect();
        let services: BTreeSet<Place> = self.ports.keys().map(|port| port.service.clone()).collect();
        for service in services {
            self.refresh(&service);
        }
    }

    /// Forgets the ports that no route names any more.
    pub(crate) fn prune(&mut self) {
        self.ports.retain(|_, endpoints| Arc::strong_count(endpoints) > 1);
    }

    pub(crate) fn slices(&self) -> Vec<SliceInput> {
        self.slices.values().cloned().collect()
    }

    fn refresh(&self, service: &Place) {
        for (port, endpoints) in self.ports.iter().filter(|(port, _)| port.service == *service) {
            let now = self.gather(port, &endpoints.load());
            endpoints.store(Arc::new(now));
        }
    }

    /// The addresses that take requests; if there is none, those that are leaving and still answer. What was
    /// known before keeps its count of requests under way.
    fn gather(&self, port: &ServicePort, before: &[Arc<Endpoint>]) -> Vec<Arc<Endpoint>> {
        let collect = |is_ready: bool| -> BTreeSet<SocketAddr> {
            self.slices
                .values()
                .filter(|slice| slice.slice.namespace == port.service.namespace && slice.service == port.service.name)
                .flat_map(|slice| slice.at(port.transport, &port.port, is_ready).iter().copied())
                .collect()
        };
        let mut addresses = collect(true);
        if addresses.is_empty() {
            addresses = collect(false);
        }
        addresses
            .into_iter()
            .map(|address| {
                let known = before.iter().find(|endpoint| endpoint.address == address).cloned();
                known.unwrap_or_else(|| Arc::new(Endpoint { address, active: AtomicUsize::new(0), trust: Trust::default() }))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Addresses;

    fn place(name: &str) -> Place {
        Place { namespace: "u-ada".into(), name: name.into() }
    }
    fn slice(name: &str, ready: &[&str], leaving: &[&str]) -> SliceInput {
        let list =
            |addresses: &[&str]| BTreeMap::from([(80, addresses.iter().map(|address| address.parse().unwrap()).collect())]);
        SliceInput {
            slice: place(name),
            service: "web".into(),
            ready: list(ready),
            leaving: list(leaving),
            datagrams: Addresses::default(),
            names: BTreeMap::new(),
        }
    }
    fn addresses(endpoints: &Endpoints) -> Vec<String> {
        endpoints.load().iter().map(|endpoint| endpoint.address.to_string()).collect()
    }

    #[test]
    fn slices_of_one_service_add_up_and_changes_show_at_once() {
        let mut registry = Registry::default();
        let web =
            registry.endpoints(&ServicePort { service: place("web"), transport: Transport::Tcp, port: PortKey::Number(80) });
        assert!(addresses(&web).is_empty());
        registry.apply(slice("web-1", &["10.0.0.1:80"], &[]));
        registry.apply(slice("web-2", &["10.0.0.2:80"], &[]));
        assert_eq!(addresses(&web), ["10.0.0.1:80", "10.0.0.2:80"]);
        registry.delete(&place("web-1"));
        assert_eq!(addresses(&web), ["10.0.0.2:80"]);
        registry.replace(vec![slice("web-3", &["10.0.0.3:80"], &[])]);
        assert_eq!(addresses(&web), ["10.0.0.3:80"]);
    }

    #[test]
    fn a_port_for_datagrams_is_another() {
        let mut registry = Registry::default();
        let tcp = ServicePort { service: place("web"), transport: Transport::Tcp, port: PortKey::Number(80) };
        let udp = registry.endpoints(&ServicePort { transport: Transport::Udp, ..tcp.clone() });
        let tcp = registry.endpoints(&tcp);
        let datagrams = Addresses { ready: BTreeMap::from([(80, vec!["10.0.0.9:80".parse().unwrap()])]), ..Addresses::default() };
        registry.apply(SliceInput { datagrams, ..slice("web-1", &["10.0.0.1:80"], &[]) });
        assert_eq!((addresses(&tcp), addresses(&udp)), (vec!["10.0.0.1:80".to_owned()], vec!["10.0.0.9:80".to_owned()]));
    }

    #[test]
    fn what_is_leaving_serves_only_when_nothing_else_can() {
        let mut registry = Registry::default();
        let web =
            registry.endpoints(&ServicePort { service: place("web"), transport: Transport::Tcp, port: PortKey::Number(80) });
        registry.apply(slice("web-1", &["10.0.0.1:80"], &["10.0.0.2:80"]));
        assert_eq!(addresses(&web), ["10.0.0.1:80"]);
        registry.apply(slice("web-1", &[], &["10.0.0.2:80"]));
        assert_eq!(addresses(&web), ["10.0.0.2:80"]);
    }

    #[test]
    fn an_endpoint_keeps_its_count_over_a_change() {
        let mut registry = Registry::default();
        let web =
            registry.endpoints(&ServicePort { service: place("web"), transport: Transport::Tcp, port: PortKey::Number(80) });
        registry.apply(slice("web-1", &["10.0.0.1:80"], &[]));
        let in_flight = InFlight::start(web.load()[0].clone());
        registry.apply(slice("web-1", &["10.0.0.1:80", "10.0.0.2:80"], &[]));
        assert_eq!(web.load()[0].active(), 1);
        drop(in_flight);
        assert_eq!(web.load()[0].active(), 0);
    }

    #[test]
    fn ports_that_no_route_names_are_forgotten() {
        let mut registry = Registry::default();
        drop(registry.endpoints(&ServicePort { service: place("web"), transport: Transport::Tcp, port: PortKey::Number(80) }));
        registry.prune();
        assert!(registry.ports.is_empty());
    }
}
