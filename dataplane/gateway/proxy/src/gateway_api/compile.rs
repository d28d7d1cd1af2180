//! The tables of Gateways: for each port that is opened, which listener a request is for, and which rule answers it.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use eddy_certificates::Certificate;
use eddy_crds::RouteProtocol;
use eddy_gateway_api::{Attachment, BackendPort, Decision, HttpRule, Place, Protocol, RouteDecision, RouteKind, decide};
use eddy_router::{Filters, HostMap, Port, Redirect, Rule, Table};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::admission::Requirement;
use crate::authorities::KnownAuthorities;
use crate::balance::{Backend, Backends};
use crate::clients::LetIn;
use crate::compilation::by_prefix;
use crate::endpoints::{PortKey, Registry, ServicePort};
use crate::entry::RouteEntry;
use crate::gateway_api::ApiInputs;
use crate::mirror::Mirror;

/// To open a connection to a backend.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Between two reads or writes.
const IDLE: Duration = Duration::from_secs(60);
/// The same of what is passed on, which may be silent for long and is nobody's to look into.
const IDLE_PASSED: Duration = Duration::from_secs(3600);
/// More tries, where a backend takes no connection.
const RETRIES: u32 = 2;

/// A port that is opened for a Gateway.
#[derive(Debug)]
pub(crate) struct ApiPort {
    /// Of its Gateway.
    pub(crate) namespace: Box<str>,
    /// Unlike that of any other Gateway, and another whenever something else is asked of clients.
    pub(crate) owner: u64,
    /// Which clients may begin TLS; all if none, and they are asked for nothing.
    pub(crate) let_in: Option<LetIn>,
    listeners: HostMap<Arc<ApiListener>>,
}

/// One of those who share a port.
#[derive(Debug)]
pub(crate) struct ApiListener {
    protocol: Protocol,
    pub(crate) table: Table<Arc<RouteEntry>>,
    certificates: Vec<Certificate>,
    /// By whom what comes is passed on as it is.
    passes: HostMap<Arc<RouteEntry>>,
}

/// What becomes of a connection to a port.
#[derive(Debug)]
pub(crate) enum Comes {
    /// It is requests.
    Requests,
    /// It is requests by TLS.
    Tls,
    /// It is TLS, and who is to have it hangs on the name that it begins with.
    Named,
    /// It is passed on; to nobody if there is no Route.
    Passed(Option<Arc<RouteEntry>>),
    /// The same of what is in its TLS.
    Ended(Option<Arc<RouteEntry>>),
}

impl ApiPort {
    /// The listener that a host is for.
    pub(crate) fn listener(&self, host: &str) -> Option<&Arc<ApiListener>> {
        self.listeners.find(host)
    }

    /// What becomes of what comes.
    pub(crate) fn comes(&self) -> Comes {
        let speaks = |protocol| self.listeners.values().any(|listener| listener.protocol == protocol);
        if speaks(Protocol::Tcp) || speaks(Protocol::Udp) {
            return Comes::Passed(self.passed(""));
        }
        match (speaks(Protocol::Tls) || speaks(Protocol::TlsEnded), speaks(Protocol::Https)) {
            (true, _) => Comes::Named,
            (false, true) => Comes::Tls,
            (false, false) => Comes::Requests,
        }
    }

    /// What becomes of TLS that begins with a name in lower case, or with none.
    pub(crate) fn comes_for(&self, name: Option<&str>) -> Comes {
        let name = name.unwrap_or_default();
        match self.listener(name).map(|listener| listener.protocol) {
            Some(Protocol::Https) => Comes::Tls,
            Some(Protocol::TlsEnded) => Comes::Ended(self.passed(name)),
            _ => Comes::Passed(self.passed(name)),
        }
    }

    /// By whom what comes for a name, or for none, is passed on as it is.
    pub(crate) fn passed(&self, name: &str) -> Option<Arc<RouteEntry>> {
        self.listener(name)?.passes.find(name).cloned()
    }

    /// Whether a request for a host may come on a connection that TLS was begun on for a name: both are for the same listener.
    pub(crate) fn is_directed(&self, name: &str, host: &str) -> bool {
        name == host || self.listener(name).map(Arc::as_ptr) == self.listener(host).map(Arc::as_ptr)
    }

    /// The certificate for a name, in lower case; of whoever names none, that of the listener for all, if there is one.
    pub(crate) fn certificate(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let certificates = &self.listener(name.unwrap_or_default())?.certificates;
        let covers = |certificate: &&Certificate| name.is_some_and(|name| certificate.covers(name));
        certificates.iter().find(covers).or_else(|| certificates.first()).map(|certificate| certificate.key().clone())
    }
}

/// What Gateways are served from.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    /// By the port that is opened.
    pub(crate) ports: HashMap<Port, Arc<ApiPort>>,
    /// The Secrets that certificates are in.
    pub(crate) named: HashSet<Place>,
    /// The ConfigMaps that authorities are in.
    pub(crate) config_maps: HashSet<Place>,
    /// How many Routes are served somewhere.
    pub(crate) routes: usize,
}

/// Compiles all of it.
pub(crate) fn compile(
    inputs: &ApiInputs,
    secrets: &HashMap<Place, Certificate>,
    authorities: &mut KnownAuthorities,
    registry: &mut Registry,
) -> Compiled {
    let decision = inputs.with_world(decide);
    let mut compiled = Compiled::default();
    let (mut rules, mut passing) = gather(&decision, secrets, authorities, registry);
    compiled.routes = decision.routes.iter().filter(|route| route.parents.iter().any(|parent| !parent.at.is_empty())).count();
    let counting = decision.policies.iter().filter(|policy| policy.counts());
    compiled.config_maps = counting.flat_map(|policy| policy.tls.config_maps().to_vec()).collect();
    // While the Service of a Gateway that was made anew is still there, both lead to the same.
    let mut doors: BTreeMap<(&Place, Port), Vec<Port>> = BTreeMap::new();
    for (gateway, door) in inputs.doors() {
        doors.entry((gateway, door.of())).or_default().push(door.opened());
    }
    for (place, gateway) in &decision.gateways {
        compiled.named.extend(gateway.client_certificate.iter().filter_map(|shown| shown.as_ref().ok()).cloned());
        for port in gateway.ports() {
            let Some(opened) = doors.get(&(place, port)) else { continue };
            let at_port = gateway.listeners.iter().enumerate().filter(|(_, one)| one.port() == Some(port) && one.is_accepted());
            let (mut listeners, mut let_in, mut asked) = (HostMap::default(), None, None);
            for (number, listener) in at_port {
                let Some(protocol) = listener.protocol else { continue };
                let mut passes = HostMap::default();
                for (host, route) in passing.remove(&(place, number)).unwrap_or_default() {
                    passes.get_or_insert_with(&host, || route);
                }
                let (table, errors) = Table::compile(rules.remove(&(place, number)).unwrap_or_default());
                errors.iter().for_each(|error| tracing::warn!(gateway = %place, %error, "a path was left out"));
                compiled.named.extend(listener.certificates.iter().cloned());
                if let Some(clients) = &listener.clients {
                    compiled.config_maps.extend(clients.authorities.iter().cloned());
                    // All listeners of a port ask for the same.
                    let_in = Some(authorities.let_in(clients));
                    asked = Some((clients.is_lax, authorities.revisions(clients)));
                }
                let certificates = listener.certificates.iter().filter_map(|secret| secrets.get(secret).cloned()).collect();
                listeners.get_or_insert_with(&listener.host, || Arc::new(ApiListener { protocol, table, certificates, passes }));
            }
            let port =
                Arc::new(ApiPort { namespace: place.namespace.clone().into(), owner: owner((place, asked)), let_in, listeners });
            for opened in opened {
                match compiled.ports.entry(*opened) {
                    Entry::Vacant(free) => drop(free.insert(port.clone())),
                    // Neither's clients are to be answered by the other's Routes.
                    Entry::Occupied(_) => {
                        tracing::error!(gateway = %place, %opened, "left out: its port is opened for another Gateway");
                    }
                }
            }
        }
    }
    compiled
}

/// Routes that pass on what comes at a listener, by host, the oldest first.
type Passing<'a> = HashMap<(&'a Place, usize), Vec<(String, Arc<RouteEntry>)>>;
type Rules<'a> = HashMap<(&'a Place, usize), Vec<Rule<Arc<RouteEntry>>>>;

/// The rules of each listener, in the order of their Routes.
fn gather<'a>(
    decision: &'a Decision,
    secrets: &HashMap<Place, Certificate>,
    authorities: &mut KnownAuthorities,
    registry: &mut Registry,
) -> (Rules<'a>, Passing<'a>) {
    let (mut rules, mut passing) = (Rules::new(), Passing::new());
    let shown = |gateway: &Place| secrets.get(decision.gateways.get(gateway)?.client_certificate.as_ref()?.as_ref().ok()?);
    let listener = |at: &Attachment| decision.gateways.get(&at.gateway).and_then(|gateway| gateway.listeners.get(at.listener));
    for route in &decision.routes {
        let at = || route.parents.iter().flat_map(|parent| &parent.at);
        if at().next().is_none() {
            continue;
        }
        if matches!(route.kind, RouteKind::Tls | RouteKind::Tcp | RouteKind::Udp) {
            let Some(rule) = route.rules.first() else { continue };
            // What is passed on as it comes is in its client's TLS, if it is in any.
            let as_it_is = Arc::new(entry(route, &without_tls(rule), None, (authorities, None), registry));
            for attachment in at() {
                let is_ended = listener(attachment).is_some_and(|listener| listener.protocol == Some(Protocol::TlsEnded));
                let value = match is_ended {
                    true => Arc::new(entry(route, rule, None, (&mut *authorities, shown(&attachment.gateway)), registry)),
                    false => as_it_is.clone(),
                };
                let of_listener = passing.entry((&attachment.gateway, attachment.listener)).or_default();
                of_listener.extend(attachment.hosts.iter().map(|host| (host.clone(), value.clone())));
            }
            continue;
        }
        for rule in &route.rules {
            for (matched, matches) in by_prefix(rule.matches.clone()) {
                // One for all listeners, but for what differs: whoever is sent to no other scheme or port stays at the listener's, and
                // Gateways show backends certificates of their own.
                let mut shared: BTreeMap<(Option<u16>, Option<&Place>), Arc<RouteEntry>> = BTreeMap::new();
                let redirect = rule.filters.as_ref().ok().and_then(|filters| filters.redirect.clone());
                let redirect = redirect.filter(|redirect| redirect.scheme.is_none() && redirect.port.is_none());
                for attachment in at() {
                    let shown = shown(&attachment.gateway);
                    let port = redirect.as_ref().and(listener(attachment)).map(|listener| listener.number);
                    let key = (port, shown.map(|_| &attachment.gateway));
                    let value = shared.entry(key).or_insert_with(|| {
                        let mut value = entry(route, rule, matched.clone(), (&mut *authorities, shown), registry);
                        if let (Some(redirect), Some(port)) = (&redirect, port) {
                            value.filters.redirect = Some(Redirect { port: Some(port), ..redirect.clone() });
                        }
                        Arc::new(value)
                    });
                    let of_listener = rules.entry((&attachment.gateway, attachment.listener)).or_default();
                    of_listener.push(Rule { hosts: attachment.hosts.clone(), matches: matches.clone(), value: value.clone() });
                }
            }
        }
    }
    (rules, passing)
}

/// A rule whose backends are reached without TLS.
fn without_tls(rule: &HttpRule) -> HttpRule {
    let mut rule = rule.clone();
    rule.backends.iter_mut().filter_map(|backend| backend.port.as_mut()).for_each(|port| port.tls = None);
    rule
}

/// What becomes of a rule's requests.
fn entry(
    route: &RouteDecision,
    rule: &HttpRule,
    matched: Option<Box<str>>,
    (authorities, shown): (&mut KnownAuthorities, Option<&Certificate>),
    registry: &mut Registry,
) -> RouteEntry {
    let mut reached = |port: &BackendPort| {
        // Who cannot be reached as they must be is not reached at all.
        let secured = match &port.tls {
            None => None,
            Some(tls) => Some(authorities.secured(tls, shown)?),
        };
        let BackendPort { service, port, transport, .. } = port.clone();
        Some((registry.endpoints(&ServicePort { service, transport, port: PortKey::Name(port) }), secured))
    };
    let mut backend = |backend: &eddy_gateway_api::Backend| {
        let (endpoints, secured) = backend.port.as_ref().and_then(&mut reached).unzip();
        Backend {
            endpoints,
            secured: secured.flatten(),
            is_http2: backend.port.as_ref().is_some_and(|port| port.is_http2),
            request_headers: backend.request_headers.clone(),
            response_headers: backend.response_headers.clone(),
        }
    };
    let mut backends: Vec<_> = rule.backends.iter().map(|one| (one.weight, backend(one))).collect();
    if backends.iter().all(|(weight, _)| *weight == 0) {
        // A rule that leads to nobody leads to nobody who is there.
        backends = vec![(1, Backend::default())];
    }
    let protocol = match route.kind {
        RouteKind::Http => RouteProtocol::HTTP,
        RouteKind::Grpc => RouteProtocol::GRPC,
        RouteKind::Tls => RouteProtocol::TLS,
        RouteKind::Tcp => RouteProtocol::TCP,
        RouteKind::Udp => RouteProtocol::UDP,
    };
    let idle_timeout = match route.kind {
        RouteKind::Tls | RouteKind::Tcp => IDLE_PASSED,
        RouteKind::Udp => IDLE,
        // Who gives a request longer waits longer.
        RouteKind::Http | RouteKind::Grpc => {
            IDLE.max(rule.request_timeout.unwrap_or_default()).max(rule.try_timeout.unwrap_or_default())
        }
    };
    let backends = Backends::of(backends);
    let mirrors = rule.mirrors.iter().filter_map(|one| {
        let (endpoints, secured) = reached(&one.backend)?;
        let backend = Backend { endpoints: Some(endpoints), secured, ..Backend::default() };
        Some(Mirror { backends: Backends::of(vec![(1, backend)]), share: one.share })
    });
    let mirrors = mirrors.collect();
    RouteEntry {
        id: route.route.to_string().into(),
        fingerprint: fingerprint(rule),
        is_broken: rule.filters.is_err(),
        is_tls_only: false,
        protocol,
        is_direct: protocol != RouteProtocol::GRPC && backends.are_direct(),
        backends,
        connect_timeout: CONNECT_WITHIN,
        idle_timeout,
        retries: RETRIES,
        matched,
        filters: rule.filters.as_ref().map_or_else(|_| Filters::default(), Clone::clone),
        mirrors,
        request_timeout: rule.request_timeout,
        try_timeout: rule.try_timeout,
        requirement: Requirement::default(),
    }
}

/// What a rule that passes on leads to, as a number.
fn fingerprint(rule: &HttpRule) -> u64 {
    let mut hasher = DefaultHasher::new();
    rule.backends.iter().for_each(|backend| (backend.weight, &backend.port).hash(&mut hasher));
    hasher.finish()
}

/// A number for whatever this is, which nobody knows beforehand.
fn owner(of: impl Hash) -> u64 {
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    KEYS.get_or_init(RandomState::new).hash_one(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_before_are_told_apart_by_whose_a_port_was_and_what_was_asked_of_clients() {
        let (one, other) = (Place::new("infra", "one"), Place::new("infra", "other"));
        let (plain, strict) = (None::<(bool, Vec<u64>)>, |revision| Some((false, vec![revision])));
        assert_eq!(owner((&one, plain.clone())), owner((&one, plain.clone())));
        assert_ne!(owner((&one, plain.clone())), owner((&other, plain.clone())));
        assert_ne!(owner((&one, plain)), owner((&one, strict(1))));
        assert_ne!(owner((&one, strict(1))), owner((&one, strict(2))));
    }
}
