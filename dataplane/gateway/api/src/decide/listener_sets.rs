//! Which ListenerSets add listeners to which Gateways.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{GatewayDecision, Problem, World, namespaces};
use crate::place::{Place, place_of};
use crate::types::{GROUP, Gateway, ListenerSet};

/// Each is compared with the others.
const ADDED_MAX: usize = 512;

/// What becomes of a ListenerSet.
#[derive(Clone, Debug)]
pub struct ListenerSetDecision {
    /// The Gateway that its listeners are added to.
    pub gateway: Place,
    /// Why they are not.
    pub problem: Option<Problem>,
}

/// What becomes of those that are for Gateways that are run here.
pub(super) fn decide(world: &World<'_>) -> BTreeMap<Place, ListenerSetDecision> {
    let gateways: BTreeMap<Place, &Gateway> = world.gateways.iter().map(|gateway| (place_of(*gateway), *gateway)).collect();
    let one = |set: &&ListenerSet| {
        let (place, parent) = (place_of(*set), &set.spec.parent_ref);
        let is_gateway =
            parent.group.as_deref().unwrap_or(GROUP) == GROUP && parent.kind.as_deref().unwrap_or("Gateway") == "Gateway";
        let of = Place::new(parent.namespace.as_deref().unwrap_or(&place.namespace), &parent.name);
        let gateway = gateways.get(&of).filter(|_| is_gateway)?;
        let allowed = gateway.spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
        let is_let = namespaces::are_let(allowed, "None", (&place.namespace, &of.namespace), world);
        let message = || format!("Gateway {of} allows no ListenerSets of namespace {}", place.namespace);
        let problem = (!is_let).then(|| Problem::new("NotAllowed", message()));
        Some((place, ListenerSetDecision { gateway: of, problem }))
    };
    world.listener_sets.iter().filter_map(one).collect()
}

/// Those whose listeners are added, the oldest first: of two that want the same, the older one has it. What is too much is not.
pub(super) fn added<'a>(
    world: &World<'a>,
    decided: &mut BTreeMap<Place, ListenerSetDecision>,
) -> BTreeMap<Place, Vec<&'a ListenerSet>> {
    let mut counts: BTreeMap<Place, usize> = BTreeMap::new();
    let mut sets: Vec<(Place, &ListenerSet)> = world.listener_sets.iter().map(|set| (place_of(*set), *set)).collect();
    sets.sort_by_cached_key(|(place, set)| (set.creation_timestamp().map(|time| time.0), place.clone()));
    let mut added: BTreeMap<Place, Vec<&ListenerSet>> = BTreeMap::new();
    for (place, set) in sets {
        let Some(decided) = decided.get_mut(&place).filter(|decided| decided.problem.is_none()) else { continue };
        let count = counts.entry(decided.gateway.clone()).or_default();
        if *count + set.spec.listeners.len() > ADDED_MAX {
            let message = format!("ListenerSets add {ADDED_MAX} listeners to a Gateway at most, those of the oldest");
            decided.problem = Some(Problem::new("TooManyListeners", message));
            continue;
        }
        *count += set.spec.listeners.len();
        added.entry(decided.gateway.clone()).or_default().push(set);
    }
    added
}

/// Those of a Gateway that is not run are not, either.
pub(super) fn heed_parents(sets: &mut BTreeMap<Place, ListenerSetDecision>, gateways: &BTreeMap<Place, GatewayDecision>) {
    for set in sets.values_mut() {
        let is_run = gateways.get(&set.gateway).is_some_and(GatewayDecision::is_accepted);
        if !is_run {
            let message = format!("Gateway {} is not accepted", set.gateway);
            set.problem.get_or_insert_with(|| Problem::new("ParentNotAccepted", message));
        }
    }
}
