//! What becomes of a Gateway's listeners.

use std::collections::BTreeSet;

use eddy_router::{ANY_HOST, Port, Transport};
use kube::ResourceExt;

use super::clients::{self, Clients};
use super::grants::Grants;
use super::request_route::RouteKind;
use super::{GatewayDecision, Problem};
use crate::place::{Place, place_of};
use crate::types::{GROUP, Gateway, GatewayTls, Listener, ListenerSet, ListenerTls, Namespaces, RouteGroupKind};

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP without TLS.
    Http,
    /// HTTP with TLS, which ends here.
    Https,
    /// TLS, which is passed on.
    Tls,
    /// TLS, which ends here; what is in it is passed on.
    TlsEnded,
    /// Whatever comes by connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// What comes.
    pub const fn transport(self) -> Transport {
        match self {
            Self::Http | Self::Https | Self::Tls | Self::TlsEnded | Self::Tcp => Transport::Tcp,
            Self::Udp => Transport::Udp,
        }
    }
}

/// What becomes of a listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerDecision {
    /// The ListenerSet that adds it; the Gateway has it itself if none.
    pub set: Option<Place>,
    /// Its name, unlike others of the same object.
    pub name: String,
    /// The number of its port.
    pub number: u16,
    /// What is spoken there; none if that is nothing that is done.
    pub protocol: Option<Protocol>,
    /// Its host, its wildcard, or [`ANY_HOST`], in lower case.
    pub host: String,
    /// Of which namespaces Routes may be attached; of its own if none.
    pub route_namespaces: Option<Namespaces>,
    /// Which kinds may be attached.
    pub kinds: Vec<RouteGroupKind>,
    /// The Secrets with its certificates, which it may name.
    pub certificates: Vec<Place>,
    /// What is asked of clients that begin TLS; nothing if none.
    pub clients: Option<Clients>,
    /// Another listener has the same, or wants it.
    pub conflict: Option<Problem>,
    /// Why it is not served.
    pub problem: Option<Problem>,
    /// Why some of what it names is not there, as far as that is known without Secrets.
    pub unresolved: Option<Problem>,
    /// The Routes that are attached.
    pub attached: BTreeSet<(RouteKind, Place)>,
}

impl ListenerDecision {
    /// Its port, if something is spoken there.
    pub fn port(&self) -> Option<Port> {
        self.protocol.map(|protocol| Port { transport: protocol.transport(), number: self.number })
    }

    /// Whether it can be served.
    pub fn is_accepted(&self) -> bool {
        self.conflict.is_none() && self.problem.is_none()
    }
}

/// The kinds of Routes for HTTP.
const HTTP_KINDS: [&str; 2] = [RouteKind::Http.as_str(), RouteKind::Grpc.as_str()];

/// Who has a listener.
struct Owner<'a> {
    kind: &'static str,
    namespace: &'a str,
    set: Option<Place>,
}

pub(super) fn decide(gateway: &Gateway, sets: &[&ListenerSet], grants: &Grants<'_>) -> GatewayDecision {
    let namespace = gateway.namespace().unwrap_or_default();
    let own = Owner { kind: "Gateway", namespace: &namespace, set: None };
    let mut listeners: Vec<ListenerDecision> = gateway
        .spec
        .listeners
        .iter()
        .map(|listener| one(listener, (gateway.spec.tls.as_ref(), &namespace), &own, grants))
        .collect();
    let conflicts: Vec<Option<Problem>> = listeners.iter().map(|listener| conflict(listener, &listeners)).collect();
    listeners.iter_mut().zip(conflicts).for_each(|(listener, conflict)| listener.conflict = conflict);
    for set in sets {
        let place = place_of(*set);
        let owner = Owner { kind: "ListenerSet", namespace: &place.namespace, set: Some(place.clone()) };
        for listener in &set.spec.listeners {
            let mut decided = one(listener, (gateway.spec.tls.as_ref(), &namespace), &owner, grants);
            // What the Gateway has, or wants twice, is left to nobody else, and what an older one has to no younger one.
            let has = |other: &&ListenerDecision| other.set.is_none() || other.conflict.is_none();
            decided.conflict = conflict(&decided, listeners.iter().filter(has));
            listeners.push(decided);
        }
    }
    GatewayDecision { problem: problem(gateway), listeners, client_certificate: clients::shown(gateway, &namespace, grants) }
}

/// Why a Gateway is none that is run here.
fn problem(gateway: &Gateway) -> Option<Problem> {
    if gateway.spec.infrastructure.as_ref().is_some_and(|infrastructure| infrastructure.parameters_ref.is_some()) {
        return Some(Problem::new("InvalidParameters", "spec.infrastructure.parametersRef: Gateways have no parameters here"));
    }
    let kind = |address: &crate::types::GatewayAddress| address.kind.as_deref().unwrap_or("IPAddress") != "IPAddress";
    gateway
        .spec
        .addresses
        .iter()
        .any(kind)
        .then(|| Problem::new("UnsupportedAddress", "spec.addresses: only addresses of the type IPAddress can be given"))
}

fn one(
    listener: &Listener,
    (tls, gateways_namespace): (Option<&GatewayTls>, &str),
    owner: &Owner<'_>,
    grants: &Grants<'_>,
) -> ListenerDecision {
    let protocol = match listener.protocol.as_str() {
        "HTTP" => Some(Protocol::Http),
        "HTTPS" => Some(Protocol::Https),
        "TLS" => match listener.tls.as_ref().and_then(|tls| tls.mode.as_deref()) {
            Some("Passthrough") => Some(Protocol::Tls),
            _ => Some(Protocol::TlsEnded),
        },
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        _ => None,
    };
    let problem = protocol.is_none().then(|| {
        let message = format!("{} is not spoken here: HTTP, HTTPS, TLS, TCP and UDP are", listener.protocol);
        Problem::new("UnsupportedProtocol", message)
    });
    let supported: &[&str] = match protocol {
        Some(Protocol::Http | Protocol::Https) => &HTTP_KINDS,
        Some(Protocol::Tls | Protocol::TlsEnded) => &[RouteKind::Tls.as_str()],
        Some(Protocol::Tcp) => &[RouteKind::Tcp.as_str()],
        Some(Protocol::Udp) => &[RouteKind::Udp.as_str()],
        None => &[],
    };
    let (kinds, wrong_kind) = kinds(listener, supported);
    let (certificates, wrong_certificate) = match (protocol, &listener.tls) {
        (Some(Protocol::Https | Protocol::TlsEnded), ends) => certificates(ends.as_ref(), owner, grants),
        _ => (Vec::new(), None),
    };
    let ends_tls = matches!(protocol, Some(Protocol::Https | Protocol::TlsEnded));
    let validation = tls.filter(|_| ends_tls).and_then(|tls| tls.validation(listener.port));
    let asked = validation.map(|validation| clients::asked(validation, gateways_namespace, grants));
    let (clients, wrong_clients) = asked.map_or((None, None), |(clients, wrong)| (Some(clients), wrong));
    ListenerDecision {
        set: owner.set.clone(),
        name: listener.name.clone(),
        number: u16::try_from(listener.port).unwrap_or(0),
        protocol,
        host: listener.hostname.as_deref().filter(|host| !host.is_empty()).unwrap_or(ANY_HOST).to_ascii_lowercase(),
        route_namespaces: listener.allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.clone()),
        kinds,
        certificates,
        clients,
        conflict: None,
        problem,
        unresolved: wrong_kind.or(wrong_certificate).or(wrong_clients),
        attached: BTreeSet::new(),
    }
}

/// Of the kinds that a listener asks for, those that are done, and what is wrong with the others.
fn kinds(listener: &Listener, supported: &[&str]) -> (Vec<RouteGroupKind>, Option<Problem>) {
    let of = |kind: &str| RouteGroupKind { group: Some(GROUP.to_owned()), kind: kind.to_owned() };
    let asked = listener.allowed_routes.as_ref().map(|allowed| allowed.kinds.as_slice()).unwrap_or_default();
    if asked.is_empty() {
        return (supported.iter().map(|kind| of(kind)).collect(), None);
    }
    let is_done =
        |asked: &&RouteGroupKind| asked.group.as_deref().unwrap_or(GROUP) == GROUP && supported.contains(&asked.kind.as_str());
    let kinds = asked.iter().filter(is_done).map(|asked| of(&asked.kind)).collect();
    let wrong = asked.iter().find(|asked| !is_done(asked)).map(|asked| {
        let message = format!("allowedRoutes.kinds: no {} can be attached to a listener for {}", asked.kind, listener.protocol);
        Problem::new("InvalidRouteKinds", message)
    });
    (kinds, wrong)
}

/// The Secrets that a listener may name, and what is wrong with the others.
fn certificates(tls: Option<&ListenerTls>, owner: &Owner<'_>, grants: &Grants<'_>) -> (Vec<Place>, Option<Problem>) {
    let references = tls.map(|tls| tls.certificate_refs.as_slice()).unwrap_or_default();
    if references.is_empty() {
        return (Vec::new(), Some(Problem::new("InvalidCertificateRef", "tls.certificateRefs names no certificate")));
    }
    let (mut certificates, mut problem) = (Vec::new(), None);
    for reference in references {
        let place = Place::new(reference.namespace.as_deref().unwrap_or(owner.namespace), &reference.name);
        let wrong = if !reference.is_core("Secret", "Secret") {
            Problem::new("InvalidCertificateRef", "tls.certificateRefs: a certificate is in a Secret, and in nothing else")
        } else if !grants.permit((owner.kind, owner.namespace), ("Secret", &place)) {
            Problem::new(
                "RefNotPermitted",
                format!("tls.certificateRefs: no ReferenceGrant of namespace {} lets Secret {place} be named", place.namespace),
            )
        } else {
            certificates.push(place);
            continue;
        };
        problem.get_or_insert(wrong);
    }
    (certificates, problem)
}

/// Whether one of these has, or wants, what a listener wants.
fn conflict<'a>(
    listener: &ListenerDecision,
    all: impl IntoIterator<Item = &'a ListenerDecision, IntoIter: Clone>,
) -> Option<Problem> {
    // Where nothing is done about a protocol, there is nothing that others could meet.
    listener.protocol?;
    // Connections and datagrams to one number meet nowhere.
    let is_it = |other: &ListenerDecision| (&other.set, &other.name) == (&listener.set, &listener.name);
    let mut others = all.into_iter().filter(|other| other.port() == listener.port() && !is_it(other));
    let conflict = |reason, other: &ListenerDecision, what: &str| {
        let namespace = |one: &ListenerDecision| one.set.as_ref().map(|set| set.namespace.clone());
        let name = match &other.set {
            // What others have is nobody's business.
            Some(_) if namespace(other) != namespace(listener) => "another listener".to_owned(),
            Some(set) => format!("listener {} of ListenerSet {set}", other.name),
            None => format!("listener {}", other.name),
        };
        Problem::new(reason, format!("{name} has port {} {what}", other.number))
    };
    // Who begins TLS says for which host, whoever ends it.
    let spoken = |listener: &ListenerDecision| match listener.protocol {
        Some(Protocol::Tls | Protocol::TlsEnded) => Some(Protocol::Https),
        other => other,
    };
    if let Some(other) = others.clone().find(|other| spoken(other) != spoken(listener)) {
        return Some(conflict("ProtocolConflict", other, "for another protocol"));
    }
    others.find(|other| other.host == listener.host).map(|other| conflict("HostnameConflict", other, "and the same hostname"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn decided(listeners: Value) -> Vec<ListenerDecision> {
        let spec = json!({"gatewayClassName": "eddy", "listeners": listeners});
        let mut gateway = Gateway::new("g", serde_json::from_value(spec).unwrap());
        gateway.metadata.namespace = Some("infra".into());
        decide(&gateway, &[], &Grants::new(&[])).listeners
    }
    fn conflicts(listeners: Value) -> Vec<Option<&'static str>> {
        decided(listeners).iter().map(|one| one.conflict.as_ref().map(|problem| problem.reason)).collect()
    }

    #[test]
    fn listeners_of_one_port_differ_by_host_and_speak_the_same() {
        let of = |name: &str, port: i32, protocol: &str, host: &str| json!({"name": name, "port": port, "protocol": protocol, "hostname": host});
        assert_eq!(
            conflicts(json!([of("a", 80, "HTTP", "a.b"), of("b", 80, "HTTP", "*.b"), of("c", 8080, "HTTP", "a.b")])),
            [None; 3]
        );
        assert_eq!(
            conflicts(json!([of("a", 80, "HTTP", "a.b"), of("b", 80, "HTTP", "A.b"), of("c", 80, "HTTP", "c")])),
            [Some("HostnameConflict"), Some("HostnameConflict"), None]
        );
        assert_eq!(conflicts(json!([of("a", 80, "HTTP", "a"), of("b", 80, "HTTPS", "b")])), [Some("ProtocolConflict"); 2]);
        assert_eq!(conflicts(json!([of("a", 80, "HTTP", "a"), of("b", 80, "UDP", "a")])), [None; 2], "these never meet");
        assert_eq!(conflicts(json!([of("a", 80, "HTTP", "a"), of("b", 80, "X", "a")])), [None; 2], "X is not done at all");
    }

    #[test]
    fn what_is_not_done_is_said() {
        let all = decided(json!([
            {"name": "a", "port": 1, "protocol": "SCTP"},
            {"name": "b", "port": 2, "protocol": "HTTP", "allowedRoutes": {"kinds": [{"kind": "HTTPRoute"}, {"kind": "Invalid"}]}},
            {"name": "c", "port": 3, "protocol": "HTTP", "allowedRoutes": {"kinds": [{"group": "x", "kind": "HTTPRoute"}]}},
            {"name": "d", "port": 4, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "s"}, {"name": "s", "kind": "ConfigMap"}]}},
            {"name": "e", "port": 5, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "s", "namespace": "other"}]}},
        ]));
        assert_eq!(all[0].problem.as_ref().unwrap().reason, "UnsupportedProtocol");
        let unresolved: Vec<_> = all.iter().map(|one| one.unresolved.as_ref().map(|problem| problem.reason)).collect();
        let invalid = Some("InvalidRouteKinds");
        assert_eq!(unresolved, [None, invalid, invalid, Some("InvalidCertificateRef"), Some("RefNotPermitted")]);
        assert_eq!((all[1].kinds.len(), all[2].kinds.len()), (1, 0));
        assert_eq!((all[3].certificates.as_slice(), all[4].certificates.len()), (&[Place::new("infra", "s")][..], 0));
    }

    #[test]
    fn a_grant_lets_a_secret_of_another_namespace_be_named() {
        let grant = |to: Value| {
            let spec = json!({"from": [{"group": GROUP, "kind": "Gateway", "namespace": "infra"}], "to": [to]});
            let mut grant = crate::types::ReferenceGrant::new("g", serde_json::from_value(spec).unwrap());
            grant.metadata.namespace = Some("other".into());
            grant
        };
        let permits = |to: Value| {
            let grant = grant(to);
            let grants = [&grant];
            Grants::new(&grants).permit(("Gateway", "infra"), ("Secret", &Place::new("other", "s")))
        };
        assert!(permits(json!({"group": "", "kind": "Secret"})) && permits(json!({"group": "", "kind": "Secret", "name": "s"})));
        assert!(
            !permits(json!({"group": "", "kind": "Secret", "name": "t"})) && !permits(json!({"group": "", "kind": "Service"}))
        );
    }
}
