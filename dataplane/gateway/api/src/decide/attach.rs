//! Which Routes are attached to which listeners.

use std::collections::{BTreeMap, BTreeSet};

use eddy_router::ANY_HOST;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use super::listeners::ListenerDecision;
use super::request_route::{RequestRoute, RouteKind};
use super::{GatewayDecision, Problem, RouteDecision, World};
use crate::place::Place;
use crate::types::{GROUP, Gateway, ParentReference, RouteNamespaces};

/// What becomes of a Route at one of its parents.
#[derive(Clone, Debug)]
pub struct ParentDecision {
    /// Which.
    pub parent: ParentReference,
    /// Where it is attached; nowhere if there is a problem.
    pub at: Vec<Attachment>,
    /// Why it is nowhere.
    pub problem: Option<Problem>,
}

/// A Route is attached to a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Of this Gateway,
    pub gateway: Place,
    /// in its order,
    pub listener: usize,
    /// for these hosts and wildcards, as far as they are the listener's.
    pub hosts: Vec<String>,
}

/// Of each of a Route's references to a Gateway that is run here.
pub(super) fn decide(
    route: &RequestRoute<'_>,
    gateways: &BTreeMap<Place, GatewayDecision>,
    world: &World<'_>,
) -> Vec<ParentDecision> {
    let namespace = &route.place.namespace;
    let decided = route.parents.iter().filter_map(|parent| {
        let is_gateway =
            parent.group.as_deref().unwrap_or(GROUP) == GROUP && parent.kind.as_deref().unwrap_or("Gateway") == "Gateway";
        let place = Place::new(parent.namespace.as_deref().unwrap_or(namespace), &parent.name);
        let decision = gateways.get(&place).filter(|_| is_gateway)?;
        let gateway = world
            .gateways
            .iter()
            .find(|gateway| gateway.name_any() == place.name && gateway.namespace().as_deref() == Some(&place.namespace))?;
        let attached = attach(route, parent, (&place, gateway, decision), world);
        let (at, problem) = match attached {
            Ok(at) => (at, None),
            Err(problem) => (Vec::new(), Some(problem)),
        };
        Some(ParentDecision { parent: parent.clone(), at, problem })
    });
    decided.collect()
}

fn attach(
    route: &RequestRoute<'_>,
    parent: &ParentReference,
    (place, gateway, decision): (&Place, &Gateway, &GatewayDecision),
    world: &World<'_>,
) -> Result<Vec<Attachment>, Problem> {
    let is_named = |listener: &ListenerDecision| {
        parent.section_name.as_ref().is_none_or(|name| *name == listener.name)
            && parent.port.is_none_or(|port| port == i32::from(listener.port))
    };
    let named: Vec<_> =
        decision.listeners.iter().zip(&gateway.spec.listeners).enumerate().filter(|(_, (one, _))| is_named(one)).collect();
    if named.is_empty() {
        return Err(Problem::new("NoMatchingParent", format!("Gateway {place} has no listener of this name and port")));
    }
    let allowed: Vec<_> = named
        .into_iter()
        .filter(|(_, (decided, listener))| {
            let from = listener.allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
            decided.kinds.iter().any(|kind| kind.kind == route.kind.as_str())
                && are_allowed(from, &route.place.namespace, &place.namespace, world)
        })
        .collect();
    if allowed.is_empty() {
        let message =
            format!("no listener of Gateway {place} allows a {} of namespace {}", route.kind.as_str(), route.place.namespace);
        return Err(Problem::new("NotAllowedByListeners", message));
    }
    let at: Vec<_> = allowed
        .into_iter()
        .map(|(listener, (decided, _))| Attachment {
            gateway: place.clone(),
            listener,
            hosts: common(&decided.host, route.hostnames),
        })
        .filter(|attachment| !attachment.hosts.is_empty())
        .collect();
    let is_served = |one: &Attachment| decision.problem.is_none() && decision.listeners[one.listener].is_accepted();
    if !at.is_empty() && !at.iter().any(is_served) {
        return Err(Problem::new("Pending", format!("the listeners of Gateway {place} that it is for cannot be served")));
    }
    if at.is_empty() {
        let message = format!("no listener of Gateway {place} is for any of {}", route.hostnames.join(", "));
        return Err(Problem::new("NoMatchingListenerHostname", message));
    }
    Ok(at)
}

/// A host of a listener is of Routes of one kind only: those that came before have it.
pub(super) fn leave_to_others(kind: RouteKind, parents: &mut [ParentDecision], before: &[RouteDecision]) {
    let is_for_requests = |kind| matches!(kind, RouteKind::Http | RouteKind::Grpc);
    if !is_for_requests(kind) {
        return;
    }
    let others = || before.iter().filter(|route| is_for_requests(route.kind) && route.kind != kind && route.problem.is_none());
    for parent in parents.iter_mut().filter(|parent| !parent.at.is_empty()) {
        let is_theirs = |one: &Attachment| {
            others().flat_map(|route| route.parents.iter().flat_map(|parent| &parent.at)).any(|other| {
                (&other.gateway, other.listener) == (&one.gateway, one.listener)
                    && one.hosts.iter().any(|host| other.hosts.iter().any(|other| meet(host, other)))
            })
        };
        parent.at.retain(|one| !is_theirs(one));
        if parent.at.is_empty() {
            let message = "an older Route of another kind has its hosts at every listener";
            parent.problem = Some(Problem::new("HostnameConflict", message));
        }
    }
}

fn are_allowed(from: Option<&RouteNamespaces>, namespace: &str, gateway: &str, world: &World<'_>) -> bool {
    match from.and_then(|from| from.from.as_deref()).unwrap_or("Same") {
        "All" => true,
        "Same" => namespace == gateway,
        "Selector" => from.and_then(|from| from.selector.as_ref()).is_some_and(|selector| selects(selector, namespace, world)),
        _ => false,
    }
}

fn selects(selector: &LabelSelector, namespace: &str, world: &World<'_>) -> bool {
    let Ok(selector) = Selector::try_from(selector.clone()) else { return false };
    world.namespaces.get(namespace).is_some_and(|labels| selector.matches(labels))
}

/// The hosts of a Route that are for a listener of this host as well.
fn common(listener: &str, route: &[String]) -> Vec<String> {
    if route.is_empty() {
        return vec![ANY_HOST.to_owned()];
    }
    let hosts: BTreeSet<String> =
        route.iter().map(|host| host.to_ascii_lowercase()).filter(|host| meet(listener, host)).collect();
    hosts.into_iter().collect()
}

/// Whether there is a name that two hosts or wildcards are for.
fn meet(one: &str, other: &str) -> bool {
    covers(one, other) || covers(other, one)
}

/// Whether all of a host or wildcard is below another.
fn covers(above: &str, host: &str) -> bool {
    let below = |suffix: &str| host.strip_prefix('*').unwrap_or(host).ends_with(suffix);
    above == ANY_HOST || above == host || above.strip_prefix('*').is_some_and(|suffix| host != ANY_HOST && below(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_meet_the_listeners_count() {
        let of =
            |listener: &str, route: &[&str]| common(listener, &route.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>());
        assert_eq!((of("*", &[]), of("a.b", &[])), (vec!["*".to_owned()], vec!["*".to_owned()]));
        assert_eq!(of("*", &["A.b", "*.c"]), ["*.c", "a.b"]);
        assert_eq!(of("*.b.c", &["x.b.c", "b.c", "*.c", "*.y.b.c", "x.y.b.c", "z.c"]), ["*.c", "*.y.b.c", "x.b.c", "x.y.b.c"]);
        assert_eq!(of("x.b.c", &["*.c", "*.b.c", "y.b.c"]), ["*.b.c", "*.c"]);
        assert!(of("a.b", &["b", "*.a.b", "a.bc"]).is_empty());
    }
}
