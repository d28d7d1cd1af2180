//! Which Routes are attached to which listeners.

use std::collections::{BTreeMap, BTreeSet};

use eddy_router::ANY_HOST;

use super::listener_sets::ListenerSetDecision;
use super::listeners::ListenerDecision;
use super::namespaces::are_let;
use super::request_route::{RequestRoute, RouteKind};
use super::{GatewayDecision, Problem, RouteDecision, World};
use crate::place::Place;
use crate::types::{GROUP, ParentReference};

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
    /// in the order of its decision,
    pub listener: usize,
    /// for these hosts and wildcards, as far as they are the listener's.
    pub hosts: Vec<String>,
}

/// Of each of a Route's references to a Gateway that is run here, or to a ListenerSet of one.
pub(super) fn decide(
    route: &RequestRoute<'_>,
    (gateways, sets): (&BTreeMap<Place, GatewayDecision>, &BTreeMap<Place, ListenerSetDecision>),
    world: &World<'_>,
) -> Vec<ParentDecision> {
    let namespace = &route.place.namespace;
    let decided = route.parents.iter().filter(|parent| parent.group.as_deref().unwrap_or(GROUP) == GROUP).filter_map(|parent| {
        let place = Place::new(parent.namespace.as_deref().unwrap_or(namespace), &parent.name);
        let attached = match parent.kind.as_deref().unwrap_or("Gateway") {
            "Gateway" => attach(route, parent, (&place, None, gateways.get(&place)?), world),
            "ListenerSet" => {
                let set = sets.get(&place)?;
                match &set.problem {
                    None => attach(route, parent, (&set.gateway, Some(&place), gateways.get(&set.gateway)?), world),
                    Some(_) => Err(Problem::new("NoMatchingParent", format!("ListenerSet {place} is not accepted"))),
                }
            }
            _ => return None,
        };
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
    (gateway, set, decision): (&Place, Option<&Place>, &GatewayDecision),
    world: &World<'_>,
) -> Result<Vec<Attachment>, Problem> {
    let parent_name = set.map_or_else(|| format!("Gateway {gateway}"), |set| format!("ListenerSet {set}"));
    let is_named = |listener: &ListenerDecision| {
        listener.set.as_ref() == set
            && parent.section_name.as_ref().is_none_or(|name| *name == listener.name)
            && parent.port.is_none_or(|port| port == i32::from(listener.number))
    };
    let named: Vec<_> = decision.listeners.iter().enumerate().filter(|(_, one)| is_named(one)).collect();
    if named.is_empty() {
        return Err(Problem::new("NoMatchingParent", format!("{parent_name} has no listener of this name and port")));
    }
    let is_allowed = |listener: &ListenerDecision| {
        let namespaces = (&*route.place.namespace, &*set.unwrap_or(gateway).namespace);
        listener.kinds.iter().any(|kind| kind.kind == route.kind.as_str())
            && are_let(listener.route_namespaces.as_ref(), "Same", namespaces, world)
    };
    let allowed: Vec<_> = named.into_iter().filter(|(_, listener)| is_allowed(listener)).collect();
    if allowed.is_empty() {
        let message =
            format!("no listener of {parent_name} allows a {} of namespace {}", route.kind.as_str(), route.place.namespace);
        return Err(Problem::new("NotAllowedByListeners", message));
    }
    let at: Vec<_> = allowed
        .into_iter()
        .map(|(listener, decided)| Attachment {
            gateway: gateway.clone(),
            listener,
            hosts: common(&decided.host, route.hostnames),
        })
        .filter(|attachment| !attachment.hosts.is_empty())
        .collect();
    let is_served = |one: &Attachment| decision.is_accepted() && decision.listeners[one.listener].is_accepted();
    if !at.is_empty() && !at.iter().any(is_served) {
        return Err(Problem::new("Pending", format!("the listeners of {parent_name} that it is for cannot be served")));
    }
    if at.is_empty() {
        let message = format!("no listener of {parent_name} is for any of {}", route.hostnames.join(", "));
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
