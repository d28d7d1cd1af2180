//! What a snapshot is made from, free of Kubernetes types, so that it can be written to a file and read back.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use eddy_crds::{Domain, DomainChallenge, Route, RouteSpec};
pub(crate) use eddy_gateway_api::{Place, place_of};
use eddy_router::{Claimant, Transport};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use crate::endpoints::PortKey;
use crate::gateway_api::ApiInputs;

/// A Route as far as the gateway is concerned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RouteInput {
    pub(crate) place: Place,
    /// When it was created, in seconds since 1970.
    pub(crate) created: i64,
    pub(crate) spec: RouteSpec,
}

/// The addresses that one EndpointSlice adds to a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SliceInput {
    pub(crate) slice: Place,
    /// The Service, which has the Container's name.
    pub(crate) service: String,
    /// By port, the addresses that take requests.
    pub(crate) ready: BTreeMap<u16, Vec<SocketAddr>>,
    /// By port, those that are on their way out and still answer.
    pub(crate) leaving: BTreeMap<u16, Vec<SocketAddr>>,
    /// The same for ports that take datagrams.
    #[serde(default)]
    pub(crate) datagrams: Addresses,
    /// Ports by the names that the Service gives them; empty where it gives none.
    #[serde(default)]
    pub(crate) names: BTreeMap<String, u16>,
}

/// Addresses by port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// Those that take what comes.
    pub(crate) ready: BTreeMap<u16, Vec<SocketAddr>>,
    /// Those that are on their way out, and still do.
    pub(crate) leaving: BTreeMap<u16, Vec<SocketAddr>>,
}

/// A Domain as far as the gateway is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DomainInput {
    pub(crate) place: Place,
    pub(crate) host: String,
    /// When it was proven whose host it is, in seconds since 1970.
    #[serde(default)]
    pub(crate) proven_at_s: Option<i64>,
    /// What an authority is answered that looks whether the host leads here.
    #[serde(default)]
    pub(crate) answer: Option<AnswerInput>,
}

/// What an authority is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerInput {
    /// Where it looks.
    pub(crate) challenge: DomainChallenge,
    /// What it asks for.
    pub(crate) token: String,
    /// What it is answered.
    pub(crate) key_authorization: String,
}

/// A certificate as a Secret has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretInput {
    pub(crate) place: Place,
    /// `tls.crt`, as PEM.
    pub(crate) chain: String,
    /// `tls.key`, as PEM.
    pub(crate) key: String,
}

/// Without the key.
impl std::fmt::Debug for SecretInput {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SecretInput").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Authorities as a ConfigMap has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthorityInput {
    pub(crate) place: Place,
    /// `ca.crt`, as PEM.
    pub(crate) certificates: String,
}

/// Everything that the gateway serves from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    pub(crate) routes: Vec<RouteInput>,
    pub(crate) slices: Vec<SliceInput>,
    #[serde(default)]
    pub(crate) domains: Vec<DomainInput>,
    #[serde(default)]
    pub(crate) secrets: Vec<SecretInput>,
    #[serde(default)]
    pub(crate) authorities: Vec<AuthorityInput>,
    #[serde(default)]
    pub(crate) gateway_api: ApiInputs,
}

impl RouteInput {
    pub(crate) fn of(route: &Route) -> Self {
        Self {
            place: Place { namespace: route.namespace().unwrap_or_default(), name: route.name_any() },
            created: route.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second()),
            spec: route.spec.clone(),
        }
    }

    /// The Secret with its hosts' certificate, if it names one.
    pub(crate) fn secret(&self) -> Option<Place> {
        let name = self.spec.certificate_secret()?.into_owned();
        Some(Place { namespace: self.place.namespace.clone(), name })
    }
}

impl DomainInput {
    pub(crate) fn of(domain: &Domain) -> Self {
        let order = domain.status.as_ref().and_then(|status| status.order.as_ref());
        let answer = order.and_then(|order| order.answer.as_ref()).map(|answer| AnswerInput {
            challenge: answer.challenge,
            token: answer.token.clone(),
            key_authorization: answer.key_authorization.clone(),
        });
        Self { place: place_of(domain), host: domain.spec.host.clone(), proven_at_s: domain.proven_at_s(), answer }
    }

    /// Its claim on its host, once that is proven.
    pub(crate) fn claimant(&self) -> Option<Claimant> {
        Some(Claimant::proven(&self.place.namespace, &self.place.name, &self.host, self.proven_at_s?))
    }
}

impl AuthorityInput {
    /// What a ConfigMap holds, be it authorities or not.
    pub(crate) fn of(map: &ConfigMap) -> Self {
        let certificates = map.data.as_ref().and_then(|data| data.get("ca.crt")).cloned().unwrap_or_default();
        Self { place: place_of(map), certificates }
    }
}

impl SecretInput {
    /// What a Secret holds, be it a certificate or not. Beside PEM there may be text in any encoding.
    pub(crate) fn of(secret: &Secret) -> Self {
        let bytes = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |bytes| &bytes.0);
        let text = |key: &str| String::from_utf8_lossy(bytes(key)).into_owned();
        Self { place: place_of(secret), chain: text("tls.crt"), key: text("tls.key") }
    }
}

impl SliceInput {
    /// Its addresses at a port.
    pub(crate) fn at(&self, transport: Transport, port: &PortKey, is_ready: bool) -> &[SocketAddr] {
        let by_port = match (transport, is_ready) {
            (Transport::Tcp, true) => &self.ready,
            (Transport::Tcp, false) => &self.leaving,
            (Transport::Udp, true) => &self.datagrams.ready,
            (Transport::Udp, false) => &self.datagrams.leaving,
        };
        let number = match port {
            PortKey::Number(number) => Some(number),
            PortKey::Name(name) => self.names.get(name),
        };
        number.and_then(|number| by_port.get(number)).map(Vec::as_slice).unwrap_or_default()
    }

    /// None where the slice belongs to no Service, or holds names instead of addresses.
    pub(crate) fn of(slice: &EndpointSlice) -> Option<Self> {
        let service = slice.labels().get("kubernetes.io/service-name")?.clone();
        let mut input = Self {
            slice: Place { namespace: slice.namespace()?, name: slice.name_any() },
            service,
            ready: BTreeMap::new(),
            leaving: BTreeMap::new(),
            datagrams: Addresses::default(),
            names: BTreeMap::new(),
        };
        for port in slice.ports.iter().flatten() {
            let (ready, leaving) = match port.protocol.as_deref() {
                None | Some("TCP") => (&mut input.ready, &mut input.leaving),
                Some("UDP") => (&mut input.datagrams.ready, &mut input.datagrams.leaving),
                Some(_) => continue,
            };
            let (name, number) = (port.name.clone().unwrap_or_default(), port.port.and_then(|port| u16::try_from(port).ok()));
            let Some(port) = number else { continue };
            input.names.insert(name, port);
            for endpoint in &slice.endpoints {
                let conditions = endpoint.conditions.clone().unwrap_or_default();
                // Unset means true for `ready` and `serving` (API reference of EndpointConditions).
                let list = match (conditions.ready.unwrap_or(true), conditions.serving.unwrap_or(true)) {
                    (true, _) => &mut *ready,
                    (false, true) => &mut *leaving,
                    (false, false) => continue,
                };
                // Only the first address stands for the endpoint (API reference of Endpoint).
                let address = endpoint.addresses.first().and_then(|address| address.parse().ok());
                list.entry(port).or_default().extend(address.map(|address| SocketAddr::new(address, port)));
            }
        }
        Some(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slice(endpoints: serde_json::Value) -> SliceInput {
        let slice = serde_json::from_value(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "u-ada", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}],
            "endpoints": endpoints,
        }));
        SliceInput::of(&slice.unwrap()).unwrap()
    }

    #[test]
    fn addresses_are_told_apart_by_their_conditions() {
        let input = slice(json!([
            {"addresses": ["10.0.0.1"]},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": true}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.0.0.4"], "conditions": {"ready": false, "serving": false}},
        ]));
        assert_eq!(input.ready[&80], ["10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap()]);
        assert_eq!(input.at(Transport::Tcp, &PortKey::Name("http".into()), true), input.ready[&80]);
        assert!(input.at(Transport::Tcp, &PortKey::Name("dns".into()), true).is_empty());
        assert_eq!(input.leaving[&80], ["10.0.0.3:80".parse().unwrap()]);
        assert!(!input.ready.contains_key(&53), "only TCP carries HTTP");
        assert_eq!(input.datagrams.ready[&53], ["10.0.0.1:53".parse().unwrap(), "10.0.0.2:53".parse().unwrap()]);
    }

    #[test]
    fn a_slice_without_a_service_is_nobody_s() {
        let slice: EndpointSlice =
            serde_json::from_value(json!({"addressType": "IPv4", "endpoints": [], "metadata": {"namespace": "x"}})).unwrap();
        assert!(SliceInput::of(&slice).is_none());
    }
}
