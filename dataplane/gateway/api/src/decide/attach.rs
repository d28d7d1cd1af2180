//! Which Routes are attached to which listeners.

use std::collections::BTreeMap;

use eddy_router::ANY_HOST;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use super::listeners::ListenerDecision;
use super::{GatewayDecision, Problem, World};
use crate::place::Place;
use crate::types::{GROUP, Gateway, HttpRoute, ParentReference, RouteNamespaces};

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
    /// for these hosts and wildcards.
    pub hosts: Vec<String>,
}

/// Of each of a Route's references to a Gateway that is run here.
pub(super) fn decide(route: &HttpRoute, gateways: &BTreeMap<Place, GatewayDecision>, world: &World<'_>) -> Vec<ParentDecision> {
    let namespace = route.namespace().unwrap_or_default();
    let decided = route.spec.parent_refs.iter().filter_map(|parent| {
        let is_gateway =
            parent.group.as_deref().unwrap_or(GROUP) == GROUP && parent.kind.as_deref().unwrap_or("Gateway") == "Gateway";
        let place = Place::new(parent.namespace.as_deref().unwrap_or(&namespace), &parent.name);
        let decision = gateways.get(&place).filter(|_| is_gateway)?;
        let gateway = world
            .gateways
            .iter()
            .find(|gateway| gateway.name_any() == place.name && gateway.namespace().as_deref() == Some(&place.namespace))?;
        let attached = attach(route, &namespace, parent, (&place, gateway, decision), world);
        let (at, problem) = match attached {
            Ok(at) => (at, None),
            Err(problem) => (Vec::new(), Some(problem)),
        };
        Some(ParentDecision { parent: parent.clone(), at, problem })
    });
    decided.collect()
}

fn attach(
    route: &HttpRoute,
    namespace: &str,
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
            decided.kinds.iter().any(|kind| kind.kind == "HTTPRoute") && are_allowed(from, namespace, &place.namespace, world)
        })
        .collect();
    if allowed.is_empty() {
        let message = format!("no listener of Gateway {place} allows an HTTPRoute of namespace {namespace}");
        return Err(Problem::new("NotAllowedByListeners", message));
    }
    let at: Vec<_> = allowed
        .into_iter()
        .map(|(listener, (decided, _))| Attachment {
            gateway: place.clone(),
            listener,
            hosts: common(&decided.host, &route.spec.hostnames),
        })
        .filter(|attachment| !attachment.hosts.is_empty())
        .collect();
    if at.is_empty() {
        let message = format!("no listener of Gateway {place} is for any of {}", route.spec.hostnames.join(", "));
        return Err(Problem::new("NoMatchingListenerHostname", message));
    }
    Ok(at)
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

/// The hosts that both a listener and a Route are for. Of two wildcards, that below the other.
fn common(listener: &str, route: &[String]) -> Vec<String> {
    if route.is_empty() {
        return vec![listener.to_owned()];
    }
    let mut hosts = Vec::new();
    for host in route {
        let host = host.to_ascii_lowercase();
        if covers(listener, &host) {
            hosts.push(host);
        } else if covers(&host, listener) {
            hosts.push(listener.to_owned());
        }
    }
    hosts.sort();
    hosts.dedup();
    hosts
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
    fn the_common_hosts_are_the_more_specific_ones() {
        let of =
            |listener: &str, route: &[&str]| common(listener, &route.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>());
        assert_eq!(of("*", &[]), ["*"]);
        assert_eq!(of("a.b", &[]), ["a.b"]);
        assert_eq!(of("*", &["A.b", "*.c"]), ["*.c", "a.b"]);
        assert_eq!(of("*.b.c", &["x.b.c", "b.c", "*.c", "*.y.b.c", "x.y.b.c", "z.c"]), ["*.b.c", "*.y.b.c", "x.b.c", "x.y.b.c"]);
        assert_eq!(of("x.b.c", &["*.c", "*.b.c", "y.b.c"]), ["x.b.c"]);
        assert!(of("a.b", &["b", "*.a.b", "a.bc"]).is_empty());
    }
}
