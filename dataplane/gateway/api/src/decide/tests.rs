//! Decisions about whole worlds.

use serde_json::{Value, json};

use super::*;
use crate::types::GROUP;

/// Objects as they are written.
#[derive(Default)]
struct Written {
    gateways: Vec<Gateway>,
    routes: Vec<HttpRoute>,
    calls: Vec<GrpcRoute>,
    tls: Vec<TlsRoute>,
    tcp: Vec<TcpRoute>,
    udp: Vec<UdpRoute>,
    sets: Vec<ListenerSet>,
    policies: Vec<BackendTlsPolicy>,
    grants: Vec<ReferenceGrant>,
}

fn object<T: serde::de::DeserializeOwned>(kind: &str, namespace: &str, name: &str, created: u32, spec: Value) -> T {
    let metadata = json!({"namespace": namespace, "name": name, "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z")});
    serde_json::from_value(json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata, "spec": spec}))
        .unwrap()
}

impl Written {
    fn gateway(mut self, name: &str, listeners: Value) -> Self {
        let spec = json!({"gatewayClassName": "eddy", "listeners": listeners});
        self.gateways.push(object("Gateway", "infra", name, 0, spec));
        self
    }
    fn route(mut self, namespace: &str, name: &str, created: u32, spec: Value) -> Self {
        self.routes.push(object("HTTPRoute", namespace, name, created, spec));
        self
    }
    fn grant(mut self, namespace: &str, from: (&str, &str), to: &str) -> Self {
        let spec = json!({"from": [{"group": GROUP, "kind": from.0, "namespace": from.1}], "to": [{"group": "", "kind": to}]});
        self.grants.push(object("ReferenceGrant", namespace, "g", 0, spec));
        self
    }
    fn decide(&self) -> Decision {
        let port = ServicePortInput { port: 8080, name: "http".into(), is_udp: false, is_http2: false };
        let service = |namespace: &str| (Place::new(namespace, "web"), ServiceInput { ports: vec![port.clone()] });
        decide(&World {
            gateways: &self.gateways.iter().collect::<Vec<_>>(),
            http_routes: &self.routes.iter().collect::<Vec<_>>(),
            grpc_routes: &self.calls.iter().collect::<Vec<_>>(),
            tls_routes: &self.tls.iter().collect::<Vec<_>>(),
            tcp_routes: &self.tcp.iter().collect::<Vec<_>>(),
            udp_routes: &self.udp.iter().collect::<Vec<_>>(),
            listener_sets: &self.sets.iter().collect::<Vec<_>>(),
            tls_policies: Some(&self.policies.iter().collect::<Vec<_>>()),
            grants: &self.grants.iter().collect::<Vec<_>>(),
            namespaces: &[("blue".to_owned(), [("team".to_owned(), "blue".to_owned())].into())].into(),
            services: &[service("infra"), service("blue")].into(),
        })
    }
}

fn http(from: Value) -> Value {
    json!([{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": from}}])
}
fn to_web(parent: Value) -> Value {
    json!({"parentRefs": [parent], "rules": [{"backendRefs": [{"name": "web", "port": 8080}]}]})
}
/// Why a Route is attached nowhere.
fn refused(decision: &Decision) -> Option<&'static str> {
    decision.routes[0].parents[0].problem.as_ref().map(|problem| problem.reason)
}
fn unresolved(decision: &Decision) -> Option<&'static str> {
    decision.routes[0].unresolved.as_ref().map(|problem| problem.reason)
}

#[test]
fn listeners_say_which_namespaces_may_attach_routes() {
    let of = |from: Value, namespace: &str| {
        let parent = json!({"name": "g", "namespace": "infra"});
        let decision = Written::default().gateway("g", http(from)).route(namespace, "r", 0, to_web(parent)).decide();
        (refused(&decision), decision.gateways[&Place::new("infra", "g")].listeners[0].attached.len())
    };
    let no = (Some("NotAllowedByListeners"), 0);
    assert_eq!((of(json!({}), "infra"), of(json!({}), "blue")), ((None, 1), no));
    assert_eq!(of(json!({"from": "All"}), "blue"), (None, 1));
    let selector = json!({"from": "Selector", "selector": {"matchLabels": {"team": "blue"}}});
    assert_eq!((of(selector.clone(), "blue"), of(selector, "infra")), ((None, 1), no));
    assert_eq!(of(json!({"from": "None"}), "infra"), no);
}

#[test]
fn a_parent_is_a_listener_by_name_and_port() {
    let of = |parent: Value| {
        refused(&Written::default().gateway("g", http(json!({}))).route("infra", "r", 0, to_web(parent)).decide())
    };
    assert_eq!(of(json!({"name": "g", "sectionName": "http", "port": 80})), None);
    assert_eq!(of(json!({"name": "g", "sectionName": "https"})), Some("NoMatchingParent"));
    assert_eq!(of(json!({"name": "g", "port": 81})), Some("NoMatchingParent"));
    let other =
        Written::default().gateway("g", http(json!({}))).route("infra", "r", 0, to_web(json!({"name": "other"}))).decide();
    assert!(other.routes.is_empty(), "it is nobody's here");
    let service = json!({"name": "g", "kind": "Service", "group": ""});
    assert!(Written::default().gateway("g", http(json!({}))).route("infra", "r", 0, to_web(service)).decide().routes.is_empty());
}

#[test]
fn hosts_meet_those_of_the_listener() {
    let listeners = json!([{"name": "a", "port": 80, "protocol": "HTTP", "hostname": "*.a.example"}]);
    let of = |hosts: Value| {
        let mut spec = to_web(json!({"name": "g"}));
        spec["hostnames"] = hosts;
        Written::default().gateway("g", listeners.clone()).route("infra", "r", 0, spec).decide()
    };
    assert_eq!(of(json!(["x.a.example", "b.example"])).routes[0].parents[0].at[0].hosts, ["x.a.example"]);
    assert_eq!(refused(&of(json!(["b.example"]))), Some("NoMatchingListenerHostname"));
}

#[test]
fn backends_are_services_that_may_be_named() {
    let of = |backend: Value| {
        let spec = json!({"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [backend]}]});
        Written::default().gateway("g", http(json!({}))).route("infra", "r", 0, spec)
    };
    let there = of(json!({"name": "web", "port": 8080})).decide();
    let backend = there.routes[0].rules[0].backends[0].port.clone().unwrap();
    assert_eq!((backend.service, backend.port.as_str(), unresolved(&there)), (Place::new("infra", "web"), "http", None));
    for (backend, reason) in [
        (json!({"name": "web", "port": 81}), "BackendNotFound"),
        (json!({"name": "none", "port": 8080}), "BackendNotFound"),
        (json!({"name": "web", "port": 8080, "kind": "Pod"}), "InvalidKind"),
        (json!({"name": "web", "port": 8080, "namespace": "blue"}), "RefNotPermitted"),
        (json!({"name": "web"}), "UnsupportedValue"),
    ] {
        let decision = of(backend.clone()).decide();
        assert_eq!(unresolved(&decision), Some(reason), "{backend}");
        let backends = &decision.routes[0].rules[0].backends;
        assert!(matches!(&backends[..], [Backend { weight: 1, port: None, .. }]), "it keeps its share");
        assert_eq!(refused(&decision), None);
    }
    let elsewhere = || of(json!({"name": "web", "port": 8080, "namespace": "blue"}));
    assert_eq!(unresolved(&elsewhere().grant("blue", ("HTTPRoute", "infra"), "Service").decide()), None);
    assert_eq!(unresolved(&elsewhere().grant("blue", ("Gateway", "infra"), "Service").decide()), Some("RefNotPermitted"));
    assert_eq!(unresolved(&elsewhere().grant("infra", ("HTTPRoute", "infra"), "Service").decide()), Some("RefNotPermitted"));
}

#[test]
fn a_rule_that_cannot_be_done_refuses_what_it_is_for() {
    let good = json!({"backendRefs": [{"name": "web", "port": 8080}]});
    let of = |rules: Value| {
        let spec = json!({"parentRefs": [{"name": "g"}], "rules": rules});
        Written::default().gateway("g", http(json!({}))).route("infra", "r", 0, spec).decide().routes.remove(0)
    };
    for (wrong, reason) in [
        (json!({"filters": [{"type": "ExtensionRef"}]}), "UnsupportedValue"),
        (
            json!({"filters": [{"type": "RequestRedirect", "requestRedirect": {}}, {"type": "URLRewrite", "urlRewrite": {}}]}),
            "IncompatibleFilters",
        ),
        (
            json!({"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["content-length"]}}]}),
            "UnsupportedValue",
        ),
        (json!({"timeouts": {"request": "soon"}}), "UnsupportedValue"),
        (json!({"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}), "UnsupportedValue"),
    ] {
        let alone = of(json!([wrong.clone()]));
        assert_eq!((alone.problem.unwrap().reason, alone.partly), (reason, None), "{wrong}");
        let beside = of(json!([wrong, good]));
        if wrong["matches"].is_array() {
            // It is not known what it would have been for, which is not for the other to answer.
            assert!(beside.problem.unwrap().reason == reason && beside.rules.iter().all(|rule| rule.filters.is_err()));
            assert_eq!(beside.rules.len(), 2);
            continue;
        }
        assert!(beside.problem.is_none() && beside.partly.unwrap().reason == reason);
        assert!(beside.rules.last().unwrap().filters.is_ok());
    }
}

#[test]
fn the_oldest_come_first() {
    let parent = || to_web(json!({"name": "g"}));
    let written = Written::default().gateway("g", http(json!({})));
    let written = written.route("infra", "b", 2, parent()).route("infra", "c", 1, parent()).route("infra", "a", 2, parent());
    let order: Vec<_> = written.decide().routes.into_iter().map(|route| route.route.name).collect();
    assert_eq!(order, ["c", "a", "b"]);
}

#[test]
fn a_host_of_a_listener_is_of_one_kind_only() {
    let of = |hosts: Value| {
        let http_route = json!({"parentRefs": [{"name": "g"}], "hostnames": ["a.example"], "rules": []});
        let mut written = Written::default().gateway("g", http(json!({}))).route("infra", "r", 1, http_route);
        let rules = json!([{"matches": [{"method": {"service": "a.B"}}], "backendRefs": [{"name": "web", "port": 8080}]}]);
        let spec = json!({"parentRefs": [{"name": "g"}], "hostnames": hosts, "rules": rules});
        written.calls.push(object("GRPCRoute", "infra", "c", 2, spec));
        let decision = written.decide();
        assert_eq!(decision.routes[1].kind, RouteKind::Grpc);
        decision.routes[1].parents[0].problem.as_ref().map(|problem| problem.reason)
    };
    assert_eq!(of(json!(["b.example"])), None);
    assert_eq!(of(json!(["a.example"])), Some("HostnameConflict"));
    assert_eq!(of(json!(["*.example"])), Some("HostnameConflict"));
    assert_eq!(of(json!([])), Some("HostnameConflict"));
}

#[test]
fn what_would_take_too_much_is_refused() {
    let of = |matches: Vec<Value>| {
        let spec = json!({"parentRefs": [{"name": "g"}], "rules": [{"matches": matches}]});
        Written::default().gateway("g", http(json!({}))).route("infra", "r", 0, spec).decide().routes.remove(0).problem.is_some()
    };
    let expression = json!({"headers": [{"name": "a", "value": "a+", "type": "RegularExpression"}]});
    assert!(!of(vec![expression.clone(); 64]) && of(vec![expression; 65]));
}

#[test]
fn so_many_secrets_of_a_namespace_are_read() {
    let reference = |number: usize| json!({"name": format!("s{number:02}")});
    let listener = json!([{"name": "a", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": (0..55).map(reference).collect::<Vec<_>>()}}]);
    let decision = Written::default().gateway("g", listener).decide();
    let listener = &decision.gateways[&Place::new("infra", "g")].listeners[0];
    assert_eq!((listener.certificates.len(), listener.unresolved.as_ref().unwrap().reason), (50, "InvalidCertificateRef"));
}

#[test]
fn certificates_of_clients_are_asked_for_where_tls_ends() {
    let tls = json!({"certificateRefs": [{"name": "s"}]});
    let listeners = json!([
        {"name": "a", "port": 443, "protocol": "HTTPS", "tls": tls},
        {"name": "b", "port": 8443, "protocol": "TLS", "tls": tls},
        {"name": "c", "port": 80, "protocol": "HTTP"},
        {"name": "d", "port": 9443, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
        {"name": "e", "port": 10443, "protocol": "HTTPS", "tls": tls},
    ]);
    let map = |name: &str, more: Value| {
        let mut reference = json!({"group": "", "kind": "ConfigMap", "name": name});
        reference.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        reference
    };
    let mut written = Written::default().gateway("g", listeners);
    let validation = |references: Value, mode: &str| json!({"validation": {"caCertificateRefs": references, "mode": mode}});
    let per_port = json!([
        {"port": 8443, "tls": validation(json!([map("b", json!({"namespace": "other"})), map("c", json!({}))]), "AllowInsecureFallback")},
        {"port": 10443, "tls": {}},
    ]);
    let frontend =
        json!({"default": validation(json!([map("a", json!({"kind": "Secret"}))]), "AllowValidOnly"), "perPort": per_port});
    let backend = json!({"clientCertificateRef": {"name": "shown", "namespace": "other"}});
    written.gateways[0].spec.tls = serde_json::from_value(json!({"frontend": frontend, "backend": backend})).unwrap();
    let decision = written.decide();
    let gateway = &decision.gateways[&Place::new("infra", "g")];
    let asked: Vec<_> = gateway
        .listeners
        .iter()
        .map(|one| one.clients.as_ref().map(|clients| (clients.authorities.len(), clients.is_lax)))
        .collect();
    assert_eq!(asked, [Some((0, false)), Some((1, true)), None, None, None]);
    let wrong: Vec<_> = gateway.listeners.iter().map(|one| one.unresolved.as_ref().map(|problem| problem.reason)).collect();
    assert_eq!(wrong, [Some("InvalidCACertificateKind"), Some("RefNotPermitted"), None, None, None]);
    assert_eq!(gateway.client_certificate.as_ref().unwrap().as_ref().unwrap_err().reason, "RefNotPermitted");
    let written = written.grant("other", ("Gateway", "infra"), "Secret");
    let shown = written.decide().gateways[&Place::new("infra", "g")].client_certificate.clone();
    assert_eq!(shown, Some(Ok(Place::new("other", "shown"))));
}

#[test]
fn connections_are_passed_on_by_routes_of_their_own_kinds() {
    let listeners = json!([
        {"name": "tls", "port": 443, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
        {"name": "ends", "port": 443, "protocol": "TLS", "hostname": "b.example", "tls": {"certificateRefs": [{"name": "s"}]}},
        {"name": "tcp", "port": 5432, "protocol": "TCP"},
        {"name": "udp", "port": 5432, "protocol": "UDP"},
    ]);
    let to = |section: &str| json!({"parentRefs": [{"name": "g", "sectionName": section}], "hostnames": ["a.example"], "rules": [{"backendRefs": [{"name": "web", "port": 8080}]}]});
    let mut written = Written::default().gateway("g", listeners).route("infra", "h", 0, to("tls"));
    written.tls.push(object("TLSRoute", "infra", "t", 1, to("tls")));
    written.tcp.extend([object("TCPRoute", "infra", "c", 2, to("tcp")), object("TCPRoute", "infra", "d", 3, to("tcp"))]);
    written.tls.push(object("TLSRoute", "infra", "u", 4, to("ends")));
    written.udp.push(object("UDPRoute", "infra", "v", 5, to("udp")));
    written.udp.push(object("UDPRoute", "infra", "w", 6, to("tcp")));
    let decision = written.decide();
    let listeners = &decision.gateways[&Place::new("infra", "g")].listeners;
    assert_eq!(listeners.iter().map(|listener| listener.attached.len()).collect::<Vec<_>>(), [1, 0, 2, 1]);
    assert!(listeners.iter().all(ListenerDecision::is_accepted));
    assert_eq!((listeners[0].certificates.len(), listeners[1].certificates.len()), (0, 1));
    let problems: Vec<_> =
        decision.routes.iter().map(|route| route.parents[0].problem.as_ref().map(|problem| problem.reason)).collect();
    let (kind, host) = (Some("NotAllowedByListeners"), Some("NoMatchingListenerHostname"));
    assert_eq!(problems, [kind, None, None, None, host, None, kind]);
    // A Service's port is for connections or for datagrams.
    let unresolved: Vec<_> = decision.routes.iter().map(|route| route.unresolved.is_some()).collect();
    assert_eq!(unresolved[1..6], [false, false, false, false, true]);
}

#[test]
fn what_a_host_may_have_been_for_falls_to_no_wildcard_above_it() {
    let wrong = json!([{"matches": [{"path": {"type": "RegularExpression", "value": "/admin("}}]}]);
    let spec = json!({"parentRefs": [{"name": "g"}], "hostnames": ["a.example"], "rules": wrong});
    let decision = Written::default().gateway("g", http(json!({}))).route("infra", "r", 0, spec).decide();
    let rules = &decision.routes[0].rules;
    assert!(rules.iter().all(|rule| rule.filters.is_err()) && rules.last().is_some_and(|rule| rule.matches.len() == 1));
}

#[test]
fn listeners_are_added_by_whom_the_gateway_lets() {
    let set = |namespace: &str, name: &str, created, listeners: Value| {
        let spec = json!({"parentRef": {"name": "g", "namespace": "infra"}, "listeners": listeners});
        object::<ListenerSet>("ListenerSet", namespace, name, created, spec)
    };
    let http = |name: &str, host: &str| json!({"name": name, "port": 80, "protocol": "HTTP", "hostname": host});
    let mut written = Written::default().gateway("g", json!([http("own", "own.example")]));
    let mine = json!([http("own", "mine.example"), http("taken", "own.example"), {"name": "tcp", "port": 80, "protocol": "TCP"}]);
    written.sets.extend([
        set("infra", "younger", 2, json!([http("a", "mine.example"), http("b", "b.example")])),
        set("infra", "older", 1, mine),
        set("other", "strange", 0, json!([http("a", "mine.example")])),
    ]);
    let decision = written.decide();
    assert!(decision.listener_sets.values().all(|set| set.problem.as_ref().unwrap().reason == "NotAllowed"), "unless it is said");
    assert_eq!(decision.gateways[&Place::new("infra", "g")].listeners.len(), 1);

    written.gateways[0].spec.allowed_listeners = serde_json::from_value(json!({"namespaces": {"from": "Same"}})).unwrap();
    let to = |kind: &str, name: &str, section: Value| json!({"parentRefs": [{"kind": kind, "name": name, "sectionName": section}], "rules": [{"backendRefs": [{"name": "web", "port": 8080}]}]});
    let written = written
        .route("infra", "of-gateway", 0, to("Gateway", "g", json!(null)))
        .route("infra", "of-set", 1, to("ListenerSet", "older", json!("own")))
        .route("infra", "lost", 2, to("ListenerSet", "younger", json!("a")))
        .route("infra", "not-its", 3, to("Gateway", "g", json!("b")));
    let decision = written.decide();
    let of = |name: &str| decision.listener_sets[&Place::new("infra", name)].problem.as_ref().map(|problem| problem.reason);
    assert_eq!((of("older"), of("younger")), (None, None));
    assert!(decision.listener_sets[&Place::new("other", "strange")].problem.is_some());
    let listeners = &decision.gateways[&Place::new("infra", "g")].listeners;
    let names: Vec<_> =
        listeners.iter().map(|one| (one.name.as_str(), one.conflict.as_ref().map(|problem| problem.reason))).collect();
    let (host, protocol) = (Some("HostnameConflict"), Some("ProtocolConflict"));
    assert_eq!(names, [("own", None), ("own", None), ("taken", host), ("tcp", protocol), ("a", host), ("b", None)]);
    assert_eq!(listeners.iter().map(|listener| listener.attached.len()).collect::<Vec<_>>(), [1, 1, 0, 0, 0, 0]);
    let problems: Vec<_> =
        decision.routes.iter().map(|route| route.parents[0].problem.as_ref().map(|problem| problem.reason)).collect();
    assert_eq!(problems, [None, None, Some("Pending"), Some("NoMatchingParent")]);
}

#[test]
fn a_grant_for_a_gateway_is_none_for_those_who_add_listeners_and_the_reverse() {
    let tls = json!([{"name": "x", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "s", "namespace": "secrets"}]}}]);
    for (kind, own, added) in [("Gateway", 1, 0), ("ListenerSet", 0, 1)] {
        let mut written = Written::default().gateway("g", tls.clone());
        written.gateways[0].spec.allowed_listeners = serde_json::from_value(json!({"namespaces": {"from": "Same"}})).unwrap();
        let mut others = tls.clone();
        others[0]["hostname"] = json!("a.example");
        let spec = json!({"parentRef": {"name": "g"}, "listeners": others});
        written.sets.push(object("ListenerSet", "infra", "set", 1, spec));
        let grant =
            json!({"from": [{"group": GROUP, "kind": kind, "namespace": "infra"}], "to": [{"group": "", "kind": "Secret"}]});
        written.grants.push(object("ReferenceGrant", "secrets", "let", 0, grant));
        let decision = written.decide();
        let listeners = &decision.gateways[&Place::new("infra", "g")].listeners;
        assert_eq!((listeners[0].certificates.len(), listeners[1].certificates.len()), (own, added), "{kind}");
    }
}

#[test]
fn a_gateway_that_is_not_run_runs_nobody_elses_listeners() {
    let twice = json!([{"name": "a", "port": 80, "protocol": "HTTP"}, {"name": "b", "port": 80, "protocol": "HTTP"}]);
    let mut written = Written::default().gateway("g", twice);
    written.gateways[0].spec.allowed_listeners = serde_json::from_value(json!({"namespaces": {"from": "Same"}})).unwrap();
    let spec = json!({"parentRef": {"name": "g"}, "listeners": [{"name": "a", "port": 81, "protocol": "HTTP"}]});
    written.sets.push(object("ListenerSet", "infra", "set", 1, spec));
    let decision = written.decide();
    assert!(decision.gateways[&Place::new("infra", "g")].ports().is_empty());
    let problem = decision.listener_sets[&Place::new("infra", "set")].problem.as_ref();
    assert_eq!(problem.unwrap().reason, "ParentNotAccepted");
}

#[test]
fn a_backend_is_reached_by_tls_as_the_oldest_policy_for_its_port_says() {
    let policy = |name: &str, created, section: Value, references: Value| {
        let target = json!({"group": "", "kind": "Service", "name": "web", "sectionName": section});
        let validation = json!({"hostname": format!("{name}.example"), "caCertificateRefs": references});
        let policy = json!({"targetRefs": [target], "validation": validation});
        object::<BackendTlsPolicy>("BackendTLSPolicy", "infra", name, created, policy)
    };
    let map = |name: &str| json!([{"group": "", "kind": "ConfigMap", "name": name}]);
    let spec = json!({"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [{"name": "web", "port": 8080}]}]});
    let of = |policies: Vec<BackendTlsPolicy>| {
        let mut written = Written::default().gateway("g", http(json!({}))).route("infra", "r", 0, spec.clone());
        written.policies = policies;
        let decision = written.decide();
        let tls = decision.routes[0].rules[0].backends[0].port.as_ref().unwrap().tls.clone();
        let said =
            |one: &PolicyDecision| (one.problem.as_ref().map(|problem| problem.reason), one.gateways.len(), one.lost.len());
        (tls.map(|tls| (tls.hostname.clone(), tls.config_maps().len())), decision.policies.iter().map(said).collect::<Vec<_>>())
    };
    assert_eq!(of(Vec::new()), (None, Vec::new()));
    let all = |name: &str, created| policy(name, created, json!(null), map("ca"));
    let of_port = policy("port", 9, json!("http"), map("ca"));
    let (tls, said) = of(vec![all("second", 2), all("first", 1)]);
    assert_eq!((tls, said), (Some(("first.example".into(), 1)), vec![(None, 1, 0), (None, 0, 1)]));
    assert_eq!(of(vec![all("first", 1), of_port]).0, Some(("port.example".into(), 1)), "one for the port comes first");
    let (tls, said) = of(vec![policy("elsewhere", 1, json!("other"), map("ca"))]);
    assert_eq!((tls, said), (None, vec![(None, 0, 0)]), "it is for another port");
    // Rather nobody than anybody.
    for references in [json!([{"group": "", "kind": "Secret", "name": "ca"}]), json!([])] {
        let (tls, said) = of(vec![policy("wrong", 1, json!(null), references)]);
        assert_eq!(tls, Some(("wrong.example".into(), 0)));
        assert!(said[0].0.is_some());
    }
}

#[test]
fn who_is_reached_as_it_is_is_reached_by_no_policy() {
    let target = json!([{"group": "", "kind": "Service", "name": "web"}]);
    let validation = json!({"hostname": "a.example", "wellKnownCACertificates": "System"});
    let policy = || object("BackendTLSPolicy", "infra", "p", 1, json!({"targetRefs": target, "validation": validation}));
    let tls = |mode: Value| json!([{"name": "t", "port": 443, "protocol": "TLS", "tls": mode}]);
    let to = json!({"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [{"name": "web", "port": 8080}]}]});
    for (listeners, reached) in [(tls(json!({"mode": "Passthrough"})), 0), (tls(json!({"certificateRefs": [{"name": "s"}]})), 1)]
    {
        let mut written = Written::default().gateway("g", listeners);
        written.tls.push(object("TLSRoute", "infra", "r", 0, to.clone()));
        written.policies.push(policy());
        assert_eq!(written.decide().policies[0].gateways.len(), reached);
    }
}

#[test]
fn what_younger_policies_than_are_read_are_for_is_not_reached_at_all() {
    let mut written = Written::default().gateway("g", http(json!({}))).route("infra", "r", 0, to_web(json!({"name": "g"})));
    let policy = |number: u32, service: &str| {
        let target = json!([{"group": "", "kind": "Service", "name": service}]);
        let validation = json!({"hostname": "a.example", "wellKnownCACertificates": "System"});
        let name = format!("p{number:04}");
        object::<BackendTlsPolicy>("BackendTLSPolicy", "infra", &name, 1, json!({"targetRefs": target, "validation": validation}))
    };
    let tls = |written: &Written| written.decide().routes[0].rules[0].backends[0].port.as_ref().unwrap().tls.clone().unwrap();
    written.policies.push(policy(9999, "web"));
    assert_eq!(tls(&written).authorities, Authorities::WellKnown);
    written.policies.extend((0..256).map(|number| policy(number, "other")));
    assert_eq!(tls(&written).authorities, Authorities::ConfigMaps(Vec::new()));
}
