//! What is said of Gateways, their classes and their Routes.

use eddy_gateway_api::types::{
    Gateway, GatewayClass, GatewayClassStatus, GatewayStatus, ListenerSet, ListenerSetStatus, RouteParentStatus, RouteStatus,
    SupportedFeature,
};
use eddy_gateway_api::{
    CONTROLLER, FEATURES, GatewayDecision, ListenerDecision, ListenerSetDecision, Place, Problem, RouteDecision, place_of,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::certificates::Named;
use super::conditions::Conditions;
use super::listener_status::{self, Opening, Wrong};

/// Whether a class' Gateways are run here.
pub(super) fn is_ours(class: &GatewayClass) -> bool {
    class.spec.controller_name == CONTROLLER
}

/// Whether Gateways of a class of ours are run.
pub(super) fn is_run(class: &GatewayClass) -> bool {
    is_ours(class) && class.spec.parameters_ref.is_none()
}

pub(super) fn class(class: &GatewayClass, now: Timestamp) -> GatewayClassStatus {
    let before = class.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut conditions = Conditions::new(before, class.metadata.generation, now);
    match class.spec.parameters_ref {
        None => conditions.put("Accepted", true, "Accepted", "its Gateways are run by Eddy"),
        Some(_) => conditions.put("Accepted", false, "InvalidParameters", "spec.parametersRef: classes have no parameters here"),
    };
    let mut supported_features: Vec<_> = FEATURES.map(|name| SupportedFeature { name: name.to_owned() }).into();
    supported_features.sort();
    GatewayClassStatus { conditions: conditions.end(), supported_features }
}

/// `sets` is how many ListenerSets add to it, and `wrong` says what is wrong with a Secret.
pub(super) fn gateway(
    gateway: &Gateway,
    decided: &GatewayDecision,
    sets: usize,
    opening: &Opening,
    wrong: Wrong<'_>,
    now: Timestamp,
) -> GatewayStatus {
    let before = gateway.status.clone().unwrap_or_default();
    let generation = gateway.metadata.generation;
    let listeners = listener_status::statuses(&before.listeners, decided.listeners_of(None), generation, (wrong, opening), now);
    let accepted = decided.listeners_of(None).filter(|listener| listener_status::is_accepted(listener, wrong)).count();
    let mut conditions = Conditions::new(&before.conditions, generation, now);
    match &decided.problem {
        Some(problem) => conditions.put("Accepted", false, problem.reason, &problem.message),
        None if accepted == 0 => conditions.put("Accepted", false, "ListenersNotValid", "none of its listeners can be served"),
        None if accepted < listeners.len() => {
            conditions.put("Accepted", true, "ListenersNotValid", "some of its listeners cannot be served")
        }
        None => conditions.put("Accepted", true, "Accepted", "it is run by Eddy"),
    };
    if decided.problem.is_some() || accepted == 0 {
        conditions.put("Programmed", false, "Invalid", "it is not accepted");
    } else {
        let problem = opening.problem(decided.listeners_of(None));
        conditions.unless(problem.as_ref(), "Programmed", ("Programmed", "its ports are open at its addresses"));
    }
    if let Some(shown) = &decided.client_certificate {
        let of_secret = |message| Problem { reason: "InvalidClientCertificateRef", message };
        let secret = |place: &Place| wrong(&Named::Certificate(place.clone())).map(of_secret);
        let problem = shown.as_ref().map_or_else(|problem| Some(problem.clone()), secret);
        conditions.unless(problem.as_ref(), "ResolvedRefs", ("ResolvedRefs", "backends are shown its certificate"));
    }
    if decided.listeners.iter().filter_map(|listener| listener.clients.as_ref()).any(|clients| clients.is_lax) {
        let message = "spec.tls.frontend: clients may come without a certificate that anybody vouches for";
        conditions.put("InsecureFrontendValidationMode", true, "ConfigurationChanged", message);
    }
    GatewayStatus {
        addresses: opening.addresses.clone(),
        conditions: conditions.end(),
        listeners,
        attached_listener_sets: Some(i32::try_from(sets).unwrap_or(i32::MAX)),
    }
}

/// What is said of a ListenerSet for a Gateway that is run here.
pub(super) fn listener_set(
    set: &ListenerSet,
    (decided, gateway): (&ListenerSetDecision, &GatewayDecision),
    opening: &Opening,
    wrong: Wrong<'_>,
    now: Timestamp,
) -> ListenerSetStatus {
    let before = set.status.clone().unwrap_or_default();
    let (generation, place) = (set.metadata.generation, place_of(set));
    let listeners =
        listener_status::statuses(&before.listeners, gateway.listeners_of(Some(&place)), generation, (wrong, opening), now);
    let mut conditions = Conditions::new(&before.conditions, generation, now);
    let none_good = Problem { reason: "ListenersNotValid", message: "none of its listeners can be served".to_owned() };
    let is_good = has_good_listener(gateway, &place, wrong);
    let obstacle = decided.problem.as_ref().or(Some(&none_good).filter(|_| !is_good));
    let is_whole = |listener: &ListenerDecision| listener.is_accepted() && listener_status::unresolved(listener, wrong).is_none();
    let is_whole = gateway.listeners_of(Some(&place)).all(is_whole);
    let accepted = match is_whole {
        true => ("Accepted", "its listeners are added to its Gateway"),
        false => ("ListenersNotValid", "some of its listeners cannot be served"),
    };
    conditions.unless(obstacle, "Accepted", accepted);
    conditions.unless(
        obstacle.cloned().or_else(|| opening.problem(gateway.listeners_of(Some(&place)))).as_ref(),
        "Programmed",
        ("Programmed", "its ports are open at its Gateway's addresses"),
    );
    ListenerSetStatus { conditions: conditions.end(), listeners }
}

/// Whether anything is added by a ListenerSet.
pub(super) fn has_good_listener(gateway: &GatewayDecision, set: &Place, wrong: Wrong<'_>) -> bool {
    gateway.listeners_of(Some(set)).any(|listener| listener_status::is_good(listener, wrong))
}

/// What is said of a ListenerSet whose Gateway is gone; none where nothing has to be.
pub(super) fn parentless(set: &ListenerSet, now: Timestamp) -> Option<ListenerSetStatus> {
    let before = set.status.as_ref()?;
    let is_served = |condition: &Condition| ["Accepted", "Programmed"].contains(&&*condition.type_) && condition.status == "True";
    if !before.conditions.iter().any(is_served) {
        return None;
    }
    let mut conditions = Conditions::new(&before.conditions, set.metadata.generation, now);
    let message = "there is no such Gateway";
    conditions.put("Accepted", false, "ParentNotAccepted", message).put("Programmed", false, "ParentNotProgrammed", message);
    Some(ListenerSetStatus { conditions: conditions.end(), listeners: Vec::new() })
}

/// What is said of a Route at Gateways that are run here. What others say stays.
pub(super) fn route(
    before: &RouteStatus,
    generation: Option<i64>,
    decided: Option<&RouteDecision>,
    now: Timestamp,
) -> RouteStatus {
    let before = &before.parents;
    let ours = decided.into_iter().flat_map(|decided| decided.parents.iter().map(move |parent| (decided, parent))).map(
        |(decided, parent)| {
            let is_it = |before: &&RouteParentStatus| before.controller_name == CONTROLLER && before.parent_ref == parent.parent;
            let known = before.iter().find(is_it).map(|before| before.conditions.as_slice()).unwrap_or_default();
            let mut conditions = Conditions::new(known, generation, now);
            let obstacle = parent.problem.as_ref().or(decided.problem.as_ref());
            conditions.unless(obstacle, "Accepted", ("Accepted", "it is served"));
            conditions.unless(decided.unresolved.as_ref(), "ResolvedRefs", ("ResolvedRefs", "all that it names is there"));
            if let Some(partly) = &decided.partly {
                conditions.put(
                    "PartiallyInvalid",
                    true,
                    partly.reason,
                    &format!("some rules refuse what they are for: {}", partly.message),
                );
            }
            RouteParentStatus {
                parent_ref: parent.parent.clone(),
                controller_name: CONTROLLER.to_owned(),
                conditions: conditions.end(),
            }
        },
    );
    let mut ours: Vec<Option<RouteParentStatus>> = ours.map(Some).collect();
    let mut parents = Vec::with_capacity(before.len() + ours.len());
    // Each stays where it is: other controllers may care for the order as well.
    for parent in before {
        if parent.controller_name != CONTROLLER {
            parents.push(parent.clone());
            continue;
        }
        let is_it =
            |ours: &&mut Option<RouteParentStatus>| ours.as_ref().is_some_and(|ours| ours.parent_ref == parent.parent_ref);
        parents.extend(ours.iter_mut().find(is_it).and_then(Option::take));
    }
    parents.extend(ours.into_iter().flatten());
    RouteStatus { parents }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use eddy_gateway_api::types::GatewayAddress;
    use eddy_gateway_api::types::HttpRoute;
    use eddy_gateway_api::{World, decide};
    use eddy_router::Port;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::collections::BTreeSet;

    fn object<T: serde::de::DeserializeOwned>(kind: &str, spec: Value, status: Value) -> T {
        let metadata = json!({"namespace": "infra", "name": "x", "generation": 3});
        serde_json::from_value(json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}))
            .unwrap()
    }
    fn said(conditions: &[Condition], kind: &str) -> (String, String) {
        let found = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        assert_eq!(found.observed_generation, Some(3));
        (found.status.clone(), found.reason.clone())
    }
    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }
    fn is(status: &str, reason: &str) -> (String, String) {
        (status.to_owned(), reason.to_owned())
    }

    fn gateways(listeners: Value) -> Gateway {
        object("Gateway", json!({"gatewayClassName": "eddy", "listeners": listeners}), json!({"conditions": [], "listeners": []}))
    }
    fn decided(gateway: &Gateway, routes: &[&HttpRoute], listener_sets: &[&ListenerSet]) -> eddy_gateway_api::Decision {
        let (namespaces, services) = (BTreeMap::new(), BTreeMap::new());
        decide(&World {
            gateways: &[gateway],
            listener_sets,
            tls_policies: Some(&[]),
            http_routes: routes,
            grpc_routes: &[],
            tls_routes: &[],
            tcp_routes: &[],
            udp_routes: &[],
            grants: &[],
            namespaces: &namespaces,
            services: &services,
        })
    }

    #[test]
    fn a_gateway_is_programmed_once_it_has_an_address() {
        let it = gateways(json!([{"name": "a", "port": 80, "protocol": "HTTP"}, {"name": "b", "port": 81, "protocol": "SCTP"}]));
        let decision = decided(&it, &[], &[]);
        let opening = |addresses| Opening { addresses, missing: BTreeSet::new() };
        let of =
            |addresses| gateway(&it, &decision.gateways[&Place::new("infra", "x")], 0, &opening(addresses), &|_| None, at(1));
        let before = of(vec![]);
        assert_eq!(said(&before.conditions, "Accepted"), is("True", "ListenersNotValid"));
        assert_eq!(said(&before.conditions, "Programmed"), is("False", "AddressNotAssigned"));
        let after = of(vec![GatewayAddress { kind: None, value: Some("192.0.2.1".into()) }]);
        assert_eq!(said(&after.conditions, "Programmed"), is("True", "Programmed"));
        assert_eq!(said(&after.listeners[0].conditions, "Programmed"), is("True", "Programmed"));
        assert_eq!(said(&after.listeners[1].conditions, "Accepted"), is("False", "UnsupportedProtocol"));
    }

    #[test]
    fn a_gateway_that_lets_no_client_in_is_not_accepted() {
        let mut it =
            gateways(json!([{"name": "a", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "s"}]}}]));
        let reference = json!([{"group": "", "kind": "ConfigMap", "name": "ca"}]);
        let tls = json!({"frontend": {"default": {"validation": {"caCertificateRefs": reference}}}});
        it.spec.tls = serde_json::from_value(tls).unwrap();
        let decision = decided(&it, &[], &[]);
        let wrong = |named: &Named| matches!(named, Named::Authorities(_)).then(|| "there is none".to_owned());
        let opening = Opening { addresses: vec![], missing: BTreeSet::new() };
        let said_of = gateway(&it, &decision.gateways[&Place::new("infra", "x")], 0, &opening, &wrong, at(1));
        assert_eq!(said(&said_of.listeners[0].conditions, "Accepted"), is("False", "NoValidCACertificate"));
        assert_eq!(said(&said_of.conditions, "Accepted"), is("False", "ListenersNotValid"));
    }

    #[test]
    fn a_listener_set_is_accepted_while_some_of_it_is_good() {
        let mut it = gateways(json!([{"name": "a", "port": 80, "protocol": "HTTP"}]));
        it.spec.allowed_listeners = serde_json::from_value(json!({"namespaces": {"from": "Same"}})).unwrap();
        let of = |listeners: Value| {
            let spec = json!({"parentRef": {"name": "x"}, "listeners": listeners});
            let set: ListenerSet = object("ListenerSet", spec, json!({}));
            let decision = decided(&it, &[], &[&set]);
            let (place, opening) = (Place::new("infra", "x"), Opening { addresses: vec![], missing: BTreeSet::new() });
            let decided = (&decision.listener_sets[&place], &decision.gateways[&place]);
            listener_set(&set, decided, &opening, &|_| None, at(1))
        };
        let (good, taken) =
            (json!({"name": "b", "port": 81, "protocol": "HTTP"}), json!({"name": "a", "port": 80, "protocol": "HTTP"}));
        let whole = of(json!([good]));
        assert_eq!(said(&whole.conditions, "Accepted"), is("True", "Accepted"));
        assert_eq!(said(&whole.conditions, "Programmed"), is("False", "AddressNotAssigned"));
        let partly = of(json!([good, taken]));
        assert_eq!(said(&partly.conditions, "Accepted"), is("True", "ListenersNotValid"));
        assert_eq!(said(&partly.listeners[1].conditions, "Programmed"), is("False", "HostnameConflict"));
        let none = of(json!([taken]));
        assert_eq!(said(&none.conditions, "Accepted"), is("False", "ListenersNotValid"));
        assert_eq!(said(&none.conditions, "Programmed"), is("False", "ListenersNotValid"));
    }

    #[test]
    fn a_listener_whose_port_cannot_be_opened_is_not_said_to_be_served() {
        let it = gateways(json!([{"name": "a", "port": 80, "protocol": "HTTP"}, {"name": "b", "port": 81, "protocol": "HTTP"}]));
        let decision = decided(&it, &[], &[]);
        let addresses = vec![GatewayAddress { kind: None, value: Some("192.0.2.1".into()) }];
        let opening = Opening { addresses, missing: [Port::tcp(81)].into() };
        let said_of = gateway(&it, &decision.gateways[&Place::new("infra", "x")], 0, &opening, &|_| None, at(1));
        assert_eq!(said(&said_of.conditions, "Programmed"), is("False", "NoResources"));
        assert_eq!(said(&said_of.listeners[0].conditions, "Programmed"), is("True", "Programmed"));
        assert_eq!(said(&said_of.listeners[1].conditions, "Programmed"), is("False", "PortUnavailable"));
    }

    #[test]
    fn a_listener_set_whose_gateway_is_gone_is_said_to_be_served_no_more() {
        let condition = json!({"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let set = |conditions: Value| -> ListenerSet {
            object("ListenerSet", json!({"parentRef": {"name": "gone"}, "listeners": []}), json!({"conditions": conditions}))
        };
        let after = parentless(&set(json!([condition])), at(1)).unwrap();
        assert_eq!(said(&after.conditions, "Accepted"), is("False", "ParentNotAccepted"));
        assert!(parentless(&set(json!([])), at(1)).is_none(), "what nobody has said anything of is not ours");
    }

    #[test]
    fn a_secret_that_is_no_good_is_said_at_its_listener() {
        let it = gateways(json!([{"name": "a", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "s"}]}}]));
        let decision = decided(&it, &[], &[]);
        let wrong = |named: &Named| Some(format!("there is no {named:?}"));
        let said_of = gateway(
            &it,
            &decision.gateways[&Place::new("infra", "x")],
            0,
            &Opening { addresses: vec![], missing: BTreeSet::new() },
            &wrong,
            at(1),
        );
        assert_eq!(said(&said_of.listeners[0].conditions, "ResolvedRefs"), is("False", "InvalidCertificateRef"));
        assert_eq!(said(&said_of.listeners[0].conditions, "Programmed"), is("False", "Invalid"));
        assert_eq!(said(&said_of.conditions, "Accepted"), is("True", "Accepted"));
    }

    #[test]
    fn what_other_controllers_say_stays_and_times_move_with_the_status_only() {
        let it = gateways(json!([{"name": "a", "port": 80, "protocol": "HTTP"}]));
        let other = json!({"parentRef": {"name": "y"}, "controllerName": "other.example/c", "conditions": []});
        let spec =
            json!({"parentRefs": [{"name": "x"}, {"name": "y"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]});
        let mut it_route: HttpRoute = object("HTTPRoute", spec, json!({"parents": [other]}));
        let decide_at = |it_route: &HttpRoute, second| {
            let decision = decided(&it, &[it_route], &[]);
            let before = it_route.status.clone().unwrap_or_default();
            route(&before, it_route.metadata.generation, decision.routes.first(), at(second))
        };
        let first = decide_at(&it_route, 1);
        assert_eq!((first.parents.len(), first.parents[0].controller_name.as_str()), (2, "other.example/c"));
        assert_eq!(said(&first.parents[1].conditions, "Accepted"), is("True", "Accepted"));
        assert_eq!(said(&first.parents[1].conditions, "ResolvedRefs"), is("False", "BackendNotFound"));
        it_route.status = Some(first.clone());
        assert_eq!(decide_at(&it_route, 2), first);
        it_route.spec.parent_refs.remove(0);
        assert_eq!(decide_at(&it_route, 3).parents.len(), 1);
    }
}
