//! What becomes of Gateways and their Routes.

mod attach;
mod backends;
mod bounds;
mod clients;
mod filters;
mod grants;
mod listener_sets;
mod listeners;
mod namespaces;
mod policies;
mod request_route;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use eddy_router::{Port, Transport};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

pub use self::attach::{Attachment, ParentDecision};
pub use self::backends::BackendPort;
pub use self::clients::Clients;
pub use self::listener_sets::ListenerSetDecision;
pub use self::listeners::{ListenerDecision, Protocol};
pub use self::policies::{Authorities, BackendTls, CertificateName, PolicyDecision};
pub use self::request_route::RouteKind;
pub use self::rules::{Backend, HttpRule, Mirrored};

use self::grants::Grants;
use self::policies::Policies;
use self::request_route::RequestRoute;
use crate::place::{Place, place_of};
use crate::types::{BackendTlsPolicy, Gateway, GrpcRoute, HttpRoute, ListenerSet, ReferenceGrant, TcpRoute, TlsRoute, UdpRoute};

/// The `controllerName` of classes whose Gateways are run here.
pub const CONTROLLER: &str = "eddy.cloud/gateway";

/// What is done, as the conformance suite calls it.
pub const FEATURES: [&str; 43] = [
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
    "UDPRoute",
];

/// What is decided about.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The Gateways of classes that are run here.
    pub gateways: &'a [&'a Gateway],
    /// All ListenerSets.
    pub listener_sets: &'a [&'a ListenerSet],
    /// All Routes for HTTP.
    pub http_routes: &'a [&'a HttpRoute],
    /// All Routes for calls of gRPC.
    pub grpc_routes: &'a [&'a GrpcRoute],
    /// All Routes for TLS that is passed on.
    pub tls_routes: &'a [&'a TlsRoute],
    /// All Routes for connections.
    pub tcp_routes: &'a [&'a TcpRoute],
    /// All Routes for datagrams.
    pub udp_routes: &'a [&'a UdpRoute],
    /// How Services are reached by TLS; none where that is not known yet, and who must be reached so neither.
    pub tls_policies: Option<&'a [&'a BackendTlsPolicy]>,
    /// Who may name what.
    pub grants: &'a [&'a ReferenceGrant],
    /// All namespaces, with their labels.
    pub namespaces: &'a BTreeMap<String, BTreeMap<String, String>>,
    /// All Services.
    pub services: &'a BTreeMap<Place, ServiceInput>,
}

/// A Service as far as Routes are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceInput {
    /// Its ports.
    pub ports: Vec<ServicePortInput>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePortInput {
    /// Its number.
    pub port: u16,
    /// Its name, by which its endpoints are found; empty where it has none.
    pub name: String,
    /// It takes datagrams, not connections.
    pub is_udp: bool,
    /// HTTP/2 is spoken there, without TLS.
    #[serde(default)]
    pub is_http2: bool,
}

impl ServicePortInput {
    /// What comes there.
    pub fn transport(&self) -> Transport {
        if self.is_udp { Transport::Udp } else { Transport::Tcp }
    }
}

/// Why something is not as it was asked for: what conditions say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As the Gateway API calls it.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What becomes of all Gateways and Routes.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// Of each Gateway.
    pub gateways: BTreeMap<Place, GatewayDecision>,
    /// Of each ListenerSet for one of them.
    pub listener_sets: BTreeMap<Place, ListenerSetDecision>,
    /// Of each Route with a parent among them, in the order in which they come before one another.
    pub routes: Vec<RouteDecision>,
    /// Of each policy.
    pub policies: Vec<PolicyDecision>,
}

/// What becomes of a Gateway.
#[derive(Clone, Debug, Default)]
pub struct GatewayDecision {
    /// Of its listeners: its own in their order, and those of ListenerSets, the oldest first.
    pub listeners: Vec<ListenerDecision>,
    /// Of the whole.
    pub problem: Option<Problem>,
    /// The Secret with the certificate that backends are shown that are reached by TLS, or why there is none.
    pub client_certificate: Option<Result<Place, Problem>>,
}

impl GatewayDecision {
    /// Whether it is run: some of what it has itself can be served.
    pub fn is_accepted(&self) -> bool {
        self.problem.is_none() && self.listeners_of(None).any(ListenerDecision::is_accepted)
    }

    /// The ports at which something is served.
    pub fn ports(&self) -> BTreeSet<Port> {
        self.opened().map(|(port, _)| port).collect()
    }

    /// The same, each with the ListenerSet that it is for first, if it is for one: the Gateway's own come before all others.
    pub fn opened(&self) -> impl Iterator<Item = (Port, Option<&Place>)> {
        let accepted = self.listeners.iter().filter(|listener| self.is_accepted() && listener.is_accepted());
        accepted.filter_map(|listener| Some((listener.port()?, listener.set.as_ref())))
    }

    /// Its own listeners, or those that a ListenerSet adds.
    pub fn listeners_of<'a>(&'a self, set: Option<&'a Place>) -> impl Iterator<Item = &'a ListenerDecision> {
        self.listeners.iter().filter(move |listener| listener.set.as_ref() == set)
    }
}

/// What becomes of a Route.
#[derive(Clone, Debug)]
pub struct RouteDecision {
    /// Of which kind.
    pub kind: RouteKind,
    /// Which.
    pub route: Place,
    /// Of its references to Gateways that are run here.
    pub parents: Vec<ParentDecision>,
    /// Its rules, in their order.
    pub rules: Vec<HttpRule>,
    /// Why it is not served at all.
    pub problem: Option<Problem>,
    /// Why some of its rules refuse what they are for.
    pub partly: Option<Problem>,
    /// Why some of what it names is not there.
    pub unresolved: Option<Problem>,
}

/// Decides about all of it.
pub fn decide(world: &World<'_>) -> Decision {
    let (grants, mut policies) = (Grants::new(world.grants), Policies::new(world));
    let mut listener_sets = listener_sets::decide(world);
    let mut added = listener_sets::added(world, &mut listener_sets);
    let decide_one = |gateway: &&Gateway| {
        let place = place_of(*gateway);
        let decided = listeners::decide(gateway, &added.remove(&place).unwrap_or_default(), &grants);
        (place, decided)
    };
    let mut gateways: BTreeMap<Place, GatewayDecision> = world.gateways.iter().map(decide_one).collect();
    listener_sets::heed_parents(&mut listener_sets, &gateways);
    let mut oldest: Vec<&&Gateway> = world.gateways.iter().collect();
    oldest.sort_by_cached_key(|gateway| (gateway.creation_timestamp().map(|time| time.0), place_of(**gateway)));
    bounds::leave_out(&oldest.iter().map(|gateway| place_of(**gateway)).collect::<Vec<_>>(), &mut gateways);
    let mut routes = Vec::new();
    for route in RequestRoute::all(world) {
        let mut parents = attach::decide(&route, (&gateways, &listener_sets), world);
        if parents.is_empty() {
            continue;
        }
        attach::leave_to_others(route.kind, &mut parents, &routes);
        let decided = rules::decide(&route, parents, (&grants, &policies), world);
        // What is not served at all is attached nowhere.
        for attached in decided.parents.iter().filter(|_| decided.problem.is_none()).flat_map(|parent| &parent.at) {
            if let Some(gateway) = gateways.get_mut(&attached.gateway) {
                gateway.listeners[attached.listener].attached.insert((decided.kind, decided.route.clone()));
            }
        }
        routes.push(decided);
    }
    for (gateway, service, port) in looked_into(&routes, &gateways) {
        policies.reached(gateway, service, port);
    }
    Decision { gateways, listener_sets, routes, policies: policies.end() }
}

/// Which Gateways lead to which ports of Services with what they look into. What is passed on as it comes is reached as it comes.
fn looked_into<'a>(
    routes: &'a [RouteDecision],
    gateways: &BTreeMap<Place, GatewayDecision>,
) -> BTreeSet<(&'a Place, &'a Place, &'a str)> {
    let mut reached = BTreeSet::new();
    for route in routes.iter().filter(|route| route.problem.is_none()) {
        for at in route.parents.iter().flat_map(|parent| &parent.at) {
            let protocol = gateways.get(&at.gateway).and_then(|gateway| gateway.listeners[at.listener].protocol);
            let is_looked_into = match route.kind {
                RouteKind::Http | RouteKind::Grpc => true,
                RouteKind::Tls => protocol == Some(Protocol::TlsEnded),
                RouteKind::Tcp | RouteKind::Udp => false,
            };
            let backends = route.rules.iter().filter(|_| is_looked_into).flat_map(HttpRule::reached);
            reached.extend(backends.map(|backend| (&at.gateway, &backend.service, backend.port.as_str())));
        }
    }
    reached
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
