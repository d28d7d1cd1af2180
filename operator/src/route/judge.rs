//! Judging a Route from who holds its hosts and what its backends do.

use std::collections::HashSet;
use std::sync::Arc;

use eddy_crds::{Container, Domain, PortProtocol, Route, RouteProtocol};
use eddy_router::{Claimant, Claims, Filters, Ground, Port, PortClaims, check_passing, matches, unsupported};
use kube::ResourceExt;

use crate::hosts::overlap;
use crate::reason::{Reason, Verdict};
use crate::scopes;
use crate::tenancy::tenant;

pub(super) fn claimant(route: &Route) -> Claimant {
    Claimant {
        ground: Ground::Route,
        created: route.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second()),
        namespace: route.namespace().unwrap_or_default(),
        name: route.name_any(),
        // One for a port is for no host.
        hosts: if Port::of(&route.spec).is_some() { Vec::new() } else { route.spec.hosts.clone() },
    }
}

/// Whether a change to one Route may give or take hosts of another, or its port: they name one, or one covers the other's.
pub(super) fn share_a_claim(left: &Route, right: &Route) -> bool {
    let (port, other) = (Port::of(&left.spec), Port::of(&right.spec));
    if port.is_some() || other.is_some() {
        return port == other;
    }
    left.spec.hosts.iter().any(|a| right.spec.hosts.iter().any(|b| overlap(a, b)))
}

/// Whether a change to a Domain may give or take hosts of a Route, or its certificate.
pub(super) fn concerns(domain: &Domain, route: &Route) -> bool {
    let is_named = route.namespace() == domain.namespace() && route.spec.domain.as_deref() == Some(&domain.name_any());
    is_named || route.spec.hosts.iter().any(|host| overlap(host, &domain.spec.host))
}

/// The claim of a Domain on its host, once that is proven.
fn proven(domain: &Domain) -> Option<Claimant> {
    Some(Claimant::proven(&domain.namespace()?, &domain.name_any(), &domain.spec.host, domain.proven_at_s()?))
}

pub(super) fn names(route: &Route, container: &Container) -> bool {
    route.namespace() == container.namespace()
        && (route.spec.backends.iter().any(|backend| backend.container.as_deref() == Some(&container.name_any()))
            || route.spec.mirrors.iter().any(|mirror| mirror.container == container.name_any()))
}

pub(super) fn hosts_taken(route: &Route, claims: &Claims) -> Vec<String> {
    let namespace = route.namespace().unwrap_or_default();
    if Port::of(&route.spec).is_some() {
        return Vec::new();
    }
    route.spec.hosts.iter().filter(|host| !claims.holds(&namespace, host)).cloned().collect()
}

/// What is to be said of a Route. `obstacle` is what keeps its certificate from being served, if anything does.
pub(super) fn judge(
    route: &Route,
    claims: &Claimed,
    find: impl Fn(&str) -> Option<Arc<Container>>,
    obstacle: Option<Verdict>,
) -> Verdict {
    if let Err(obstacle) = tenant(route) {
        return obstacle;
    }
    if let Some(field) = unsupported(&route.spec) {
        let message = format!(
            "this version of Eddy does not do what {field} asks for, and serves nothing rather than without it: remove {field}"
        );
        return Verdict::new(Reason::NotSupported, message);
    }
    if let Err(obstacle) = scopes::read("spec.requiredScopes", &route.spec.required_scopes) {
        return obstacle;
    }
    let is_passed = matches!(route.spec.protocol, RouteProtocol::TLS | RouteProtocol::TCP | RouteProtocol::UDP);
    let passes = || if is_passed { check_passing(&route.spec) } else { Ok(()) };
    let checked = matches(&route.spec).map(drop).and_then(|()| Filters::of(&route.spec).map(drop)).and_then(|()| passes());
    if let Err(error) = checked {
        return Verdict::new(Reason::InvalidRoute, error.to_string());
    }
    if let Some(obstacle) = Port::of(&route.spec).and_then(|port| claims.port_obstacle(route, port)) {
        return obstacle;
    }
    let taken = hosts_taken(route, &claims.hosts);
    if !taken.is_empty() {
        let message = format!(
            "another tenant, by a Domain or an older Route, or the platform itself has {}: choose another host, or prove with a Domain that it is yours",
            taken.join(", ")
        );
        return Verdict::new(Reason::HostTaken, message);
    }
    if let Some(obstacle) = obstacle {
        return obstacle;
    }
    for mirror in &route.spec.mirrors {
        if find(&mirror.container).is_none_or(|container| !container.spec.ports.iter().any(|port| port.port == mirror.port)) {
            let message = format!(
                "there is no Container {} with the port {} to mirror to: create it, or name another in spec.mirrors",
                mirror.container, mirror.port
            );
            return Verdict::new(Reason::BackendNotFound, message);
        }
    }
    let mut ready = 0;
    for backend in &route.spec.backends {
        let name = backend.container.as_deref().unwrap_or_default();
        let Some(container) = find(name) else {
            let namespace = route.namespace().unwrap_or_default();
            let message = format!("there is no Container {name} in {namespace}: create it, or name another in spec.backends");
            return Verdict::new(Reason::BackendNotFound, message);
        };
        let wanted = if route.spec.protocol == RouteProtocol::UDP { PortProtocol::Udp } else { PortProtocol::Tcp };
        if !container.spec.ports.iter().any(|port| port.port == backend.port && port.protocol() == wanted) {
            let message = format!(
                "Container {name} has no port {}: add it to the Container's spec.ports, or name another in spec.backends",
                backend.port
            );
            return Verdict::new(Reason::BackendNotFound, message);
        }
        if backend.weight() > 0 {
            ready += container.status.as_ref().map_or(0, |status| status.ready_replicas);
        }
    }
    if let Some(redirect) = &route.spec.redirect {
        let message = format!("{} sent elsewhere with {}", route.spec.hosts.join(", "), redirect.status);
        return Verdict::new(Reason::Serving, message);
    }
    match ready {
        0 => Verdict::new(Reason::NoEndpoints, "no replica of its Containers is ready to answer"),
        _ => Verdict::new(Reason::Serving, format!("{} answered by {ready} ready replicas", what(route))),
    }
}

/// What a Route is for.
fn what(route: &Route) -> String {
    Port::of(&route.spec).map_or_else(|| route.spec.hosts.join(", "), |port| port.to_string())
}

/// Who holds what.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    pub(super) hosts: Claims,
    ports: PortClaims,
    /// Those that Routes may have.
    open: HashSet<Port>,
}

impl Claimed {
    /// Decides all claims of the platform, if it has a host, of Domains, and of Routes.
    pub(super) fn decide(
        platform: Option<&Claimant>,
        domains: &[Arc<Domain>],
        routes: &[Arc<Route>],
        open: HashSet<Port>,
    ) -> Self {
        let mut oldest: Vec<(Claimant, Option<Port>)> =
            routes.iter().map(|route| (claimant(route), Port::of(&route.spec))).collect();
        oldest.sort_unstable();
        let mut ports = PortClaims::default();
        for (claimant, port) in &oldest {
            port.iter().for_each(|port| ports.want(*port, &claimant.namespace, &claimant.name));
        }
        let proven = domains.iter().filter_map(|domain| proven(domain));
        let hosts = platform.cloned().into_iter().chain(proven).chain(oldest.into_iter().map(|(claimant, _)| claimant));
        Self { hosts: Claims::decide(hosts), ports, open }
    }

    fn port_obstacle(&self, route: &Route, port: Port) -> Option<Verdict> {
        if !self.open.contains(&port) {
            let message = format!(
                "the gateway does not listen on {port}: choose a port of gateway.ports, or ask who runs it to add this one"
            );
            return Some(Verdict::new(Reason::PortNotOpen, message));
        }
        if !self.ports.is_of(port, &route.namespace().unwrap_or_default(), &route.name_any()) {
            return Some(Verdict::new(Reason::PortTaken, format!("an older Route has {port}: choose another port")));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn route(namespace: &str, spec: Value) -> Route {
        let mut route = Route::new("r", serde_json::from_value(spec).unwrap());
        route.metadata.namespace = Some(namespace.into());
        route
    }
    fn container(ready: i32) -> Option<Arc<Container>> {
        let mut container =
            Container::new("web", serde_json::from_value(json!({"image": "x", "ports": [{"port": 80}]})).unwrap());
        container.status = Some(serde_json::from_value(json!({"readyReplicas": ready})).unwrap());
        Some(Arc::new(container))
    }
    fn plain(host: &str) -> Value {
        json!({"hosts": [host], "backends": [{"container": "web", "port": 80}]})
    }
    fn claims(routes: &[&Route]) -> Claimed {
        let routes: Vec<_> = routes.iter().map(|route| Arc::new((*route).clone())).collect();
        Claimed::decide(None, &[], &routes, ["tcp/5432".parse().unwrap(), "udp/5353".parse().unwrap()].into())
    }

    #[test]
    fn a_route_serves_when_one_replica_can_answer() {
        let route = route("u-ada", plain("a"));
        let claims = claims(&[&route]);
        assert_eq!(judge(&route, &claims, |_| container(1), None).reason, Reason::Serving);
        assert_eq!(judge(&route, &claims, |_| container(0), None).reason, Reason::NoEndpoints);
        assert_eq!(judge(&route, &claims, |_| None, None).reason, Reason::BackendNotFound);
    }

    #[test]
    fn a_port_that_the_container_does_not_have_is_said() {
        let route = route("u-ada", json!({"hosts": ["a"], "backends": [{"container": "web", "port": 81}]}));
        let verdict = judge(&route, &claims(&[&route]), |_| container(1), None);
        assert_eq!(verdict.reason, Reason::BackendNotFound);
        assert!(verdict.message.contains("no port 81"), "{}", verdict.message);
    }

    #[test]
    fn a_host_of_another_tenant_is_said() {
        let (ada, bob) = (route("u-ada", plain("a")), route("u-bob", plain("a")));
        let claims = claims(&[&ada, &bob]);
        assert_eq!(judge(&bob, &claims, |_| container(1), None).reason, Reason::HostTaken);
        assert_eq!(hosts_taken(&bob, &claims.hosts), ["a"]);
        assert_eq!(judge(&ada, &claims, |_| container(1), None).reason, Reason::Serving);
    }

    #[test]
    fn a_domain_takes_a_host_from_who_only_names_it() {
        let (ada, bob) = (Arc::new(route("u-ada", plain("a.b"))), Arc::new(route("u-bob", plain("a.b"))));
        let mut domain = Domain::new("d", serde_json::from_value(json!({"host": "*.b"})).unwrap());
        domain.metadata.namespace = Some("u-bob".into());
        assert!(concerns(&domain, &ada) && !concerns(&domain, &route("u-ada", plain("b"))));
        let judged = |domain: &Domain| {
            let claims = Claimed::decide(None, &[Arc::new(domain.clone())], &[ada.clone(), bob.clone()], HashSet::new());
            [&ada, &bob].map(|route| judge(route, &claims, |_| container(1), None).reason)
        };
        assert_eq!(judged(&domain), [Reason::Serving, Reason::HostTaken], "it is not proven");
        domain.status = Some(serde_json::from_value(json!({"provenAt": "2026-01-01T00:00:00Z"})).unwrap());
        assert_eq!(judged(&domain), [Reason::HostTaken, Reason::Serving]);
        let named = route("u-bob", json!({"hosts": ["x"], "domain": "d", "backends": []}));
        assert!(
            concerns(&domain, &named)
                && !concerns(&domain, &route("u-ada", json!({"hosts": ["x"], "domain": "d", "backends": []})))
        );
    }

    #[test]
    fn what_is_not_enforced_is_not_served() {
        let of_a_vm = route("u-ada", json!({"hosts": ["a"], "backends": [{"vm": "v", "port": 80}]}));
        assert_eq!(judge(&of_a_vm, &claims(&[&of_a_vm]), |_| container(1), None).reason, Reason::NotSupported);
    }

    #[test]
    fn an_expression_that_is_none_is_said() {
        let broken = route("u-ada", json!({"hosts": ["a"], "paths": [{"path": "/(", "type": "Regex"}], "backends": []}));
        let verdict = judge(&broken, &claims(&[&broken]), |_| container(1), None);
        assert_eq!(verdict.reason, Reason::InvalidRoute);
        assert!(verdict.message.starts_with("spec.paths: \"/(\""), "{}", verdict.message);
    }

    #[test]
    fn what_cannot_be_done_without_looking_into_tls_is_said() {
        let passing = |more: Value| {
            let mut spec = json!({"hosts": ["a"], "backends": [{"container": "web", "port": 80}], "protocol": "TLS"});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let route = route("u-ada", spec);
            judge(&route, &claims(&[&route]), |_| container(1), None)
        };
        assert_eq!(passing(json!({})).reason, Reason::Serving);
        let verdict = passing(json!({"rateLimit": {"requestsPerSecond": 1}}));
        assert_eq!(verdict.reason, Reason::InvalidRoute);
        assert!(verdict.message.contains("spec.rateLimit"), "{}", verdict.message);
    }

    #[test]
    fn a_port_is_open_and_the_oldest_routes() {
        let at = |name: &str, port: i32, created: i64| {
            let spec = json!({"protocol": "TCP", "port": port, "backends": [{"container": "web", "port": 80}]});
            let mut route = route("u-ada", spec);
            route.metadata.name = Some(name.into());
            let created = jiff::Timestamp::from_second(created).unwrap();
            route.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created));
            route
        };
        let (first, second, closed) = (at("first", 5432, 1), at("second", 5432, 2), at("closed", 22, 3));
        let claims = claims(&[&second, &first, &closed]);
        let judged = |route: &Route| judge(route, &claims, |_| container(1), None);
        let verdict = judged(&first);
        assert_eq!((verdict.reason, verdict.message.as_str()), (Reason::Serving, "tcp/5432 answered by 1 ready replicas"));
        assert_eq!((judged(&second).reason, judged(&closed).reason), (Reason::PortTaken, Reason::PortNotOpen));
        assert!(share_a_claim(&first, &second) && !share_a_claim(&first, &closed));
    }

    #[test]
    fn a_secret_that_is_not_there_is_said() {
        let encrypted = route("u-ada", json!({"hosts": ["a"], "redirect": {}, "tls": {"secret": "mine"}}));
        let missing = Verdict::new(Reason::SecretMissing, "there is no Secret mine");
        assert_eq!(judge(&encrypted, &claims(&[&encrypted]), |_| None, Some(missing.clone())), missing);
    }

    #[test]
    fn who_is_sent_elsewhere_needs_no_backend() {
        let moved = route("u-ada", json!({"hosts": ["a"], "redirect": {"scheme": "https"}}));
        let verdict = judge(&moved, &claims(&[&moved]), |_| None, None);
        assert_eq!((verdict.reason, verdict.message.as_str()), (Reason::Serving, "a sent elsewhere with 302"));
    }

    #[test]
    fn routes_affect_each_other_by_common_and_covered_hosts() {
        let of = |host| route("u-ada", plain(host));
        assert!(share_a_claim(&of("a.b"), &of("a.b")));
        assert!(share_a_claim(&of("*.b"), &of("a.b")) && share_a_claim(&of("a.b"), &of("*.b")));
        assert!(share_a_claim(&of("*.b"), &of("*.a.b")));
        assert!(!share_a_claim(&of("a.b"), &of("b.b")));
    }
}
