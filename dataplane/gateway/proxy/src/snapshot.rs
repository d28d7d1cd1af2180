//! The immutable state that requests are answered from, compiled from [`RouteInput`]s.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use eddy_certificates::{Certificate, Certificates};
use eddy_router::{Claimant, Claims, Ground, Port, Table, Transport};

use crate::by_name::ByName;
use crate::challenges::Challenges;
use crate::compilation::Compilation;
use crate::endpoints::Registry;
use crate::entry::RouteEntry;
use crate::gateway_api::{ApiPort, Compiled};
use crate::inputs::{Place, RouteInput};

/// All routes.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) table: Table<Arc<RouteEntry>>,
    /// Of hosts that have one of their own.
    pub(crate) certificates: Certificates,
    /// Routes that pass TLS on.
    pub(crate) by_name: ByName,
    /// Routes that pass on what comes at a port.
    pub(crate) ports: HashMap<Port, Arc<RouteEntry>>,
    /// What Gateways of the Gateway API are served from, by the port that is opened.
    pub(crate) api: HashMap<Port, Arc<ApiPort>>,
    /// Of the room for clients of those that are for datagrams, each has one part of so many.
    pub(crate) datagram_shares: HashMap<Port, usize>,
    /// What authorities are answered that look whether a host leads here.
    pub(crate) challenges: Challenges,
    /// The Secrets that certificates are in.
    pub(crate) named: HashSet<Place>,
    /// The ConfigMaps that authorities are in.
    pub(crate) config_maps: HashSet<Place>,
    /// How many Routes are in the table.
    pub(crate) served: usize,
    /// How many are not, because of a host that is not theirs or of something that cannot be done.
    pub(crate) left_out: usize,
}

/// Compiles all routes; `stronger` are the claims on hosts that do not rest on Routes. What cannot be served is refused and logged; it never takes others with it.
pub(crate) fn compile<'a>(
    routes: impl Iterator<Item = &'a RouteInput>,
    stronger: &[Claimant],
    secrets: &HashMap<Place, Certificate>,
    registry: &mut Registry,
) -> Snapshot {
    let mut routes: Vec<&RouteInput> = routes.collect();
    routes.sort_unstable_by(|left, right| (left.created, &left.place).cmp(&(right.created, &right.place)));
    let claims = Claims::decide(stronger.iter().cloned().chain(routes.iter().map(|route| claimant(route))));
    let mut compilation = Compilation::new(&routes, secrets, registry);
    for (claimant, host) in stronger.iter().flat_map(|claimant| claimant.hosts.iter().map(move |host| (claimant, host))) {
        // Also without a Route, it is for nobody else's wildcard; but for one's own.
        let is_own_above = claims.holder_above(host) == Some(&*claimant.namespace);
        if claims.holds(&claimant.namespace, host) && !is_own_above {
            compilation.hold(&claimant.namespace, host);
        }
    }
    for route in routes {
        let hosts = route.spec.hosts.iter().filter(|host| claims.holds(&route.place.namespace, host)).cloned().collect();
        compilation.take(route, hosts);
    }
    compilation.end()
}

impl Snapshot {
    /// The same, and what Gateways are served from.
    pub(crate) fn with(mut self, compiled: Compiled) -> Self {
        self.served += compiled.routes;
        self.named.extend(compiled.named);
        self.config_maps = compiled.config_maps;
        self.datagram_shares = shares(&compiled.ports);
        self.api = compiled.ports;
        self
    }

    /// Whether a request for a host may come on a connection that TLS was begun on for a name: both have the same certificate.
    pub(crate) fn is_directed(&self, name: &str, host: &str) -> bool {
        let of = |name: &str| self.certificates.find(name).map(Arc::as_ptr);
        // What is for a host whose TLS is passed on was begun before that was so, or for another.
        self.by_name.find(host).is_none() && (name == host || of(name) == of(host))
    }
}

/// Namespaces have as much as one another, and so have the ports of one.
fn shares(ports: &HashMap<Port, Arc<ApiPort>>) -> HashMap<Port, usize> {
    let datagrams = || ports.iter().filter(|(port, _)| port.transport == Transport::Udp);
    let mut counts: HashMap<&str, usize> = HashMap::new();
    datagrams().for_each(|(_, port)| *counts.entry(&port.namespace).or_default() += 1);
    let namespaces = counts.len().max(2);
    datagrams().map(|(port, of)| (*port, namespaces * counts.get(&*of.namespace).copied().unwrap_or(1))).collect()
}

fn claimant(route: &RouteInput) -> Claimant {
    Claimant {
        ground: Ground::Route,
        created: route.created,
        namespace: route.place.namespace.clone(),
        name: route.place.name.clone(),
        // One for a port is for no host.
        hosts: if Port::of(&route.spec).is_some() { Vec::new() } else { route.spec.hosts.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_certificates::SECRETS_A_TENANT_MAX;
    use eddy_router::Asked;
    use http::{HeaderMap, Method};
    use serde_json::json;

    fn route(namespace: &str, name: &str, created: i64, spec: serde_json::Value) -> RouteInput {
        let place = Place { namespace: namespace.into(), name: name.into() };
        RouteInput { place, created, spec: serde_json::from_value(spec).unwrap() }
    }

    fn get<'a>(path: &'a str, headers: &'a HeaderMap) -> Asked<'a> {
        Asked { path, query: None, method: &Method::GET, headers }
    }

    fn found<'a>(snapshot: &'a Snapshot, host: &str, path: &str) -> Option<&'a str> {
        snapshot.table.find(host, &get(path, &HeaderMap::new())).map(|entry| &*entry.id)
    }

    #[test]
    fn a_host_that_is_another_tenant_s_is_left_out_and_the_rest_served() {
        let backends = json!([{"container": "web", "port": 80}]);
        let routes = [
            route("u-bob", "b", 2, json!({"hosts": ["a.example.com", "b.example.com"], "backends": backends})),
            route("u-ada", "a", 1, json!({"hosts": ["a.example.com"], "backends": backends})),
            route("u-eve", "e", 3, json!({"hosts": ["a.example.com"], "backends": backends})),
        ];
        let snapshot = compile(routes.iter(), &[], &HashMap::new(), &mut Registry::default());
        assert_eq!(found(&snapshot, "a.example.com", "/"), Some("u-ada/a"));
        assert_eq!(found(&snapshot, "b.example.com", "/"), Some("u-bob/b"));
        assert_eq!((snapshot.served, snapshot.left_out), (2, 1));
    }

    #[test]
    fn what_is_proven_is_for_nobody_else_also_without_a_route() {
        let backends = json!([{"container": "web", "port": 80}]);
        let spec = |host: &str, protocol: &str| json!({"hosts": [host], "protocol": protocol, "backends": backends});
        let routes = [
            route("u-eve", "wide", 1, spec("*.example.com", "HTTP")),
            route("u-eve", "passes", 2, spec("*.example.com", "TLS")),
            route("u-eve", "names", 3, spec("web.example.com", "HTTP")),
            route("u-ada", "web", 4, spec("web.example.com", "HTTP")),
            route("eddy-system", "eddy-api", 0, spec("cloud.home.example", "HTTP")),
        ];
        let stronger = [
            Claimant::proven("u-ada", "web", "web.example.com", 7),
            Claimant::proven("u-ada", "bare", "bare.example.com", 8),
            Claimant::proven("u-ada", "home", "*.home.example", 9),
            Claimant::platform("eddy-system", vec!["cloud.home.example".into()]),
        ];
        let snapshot = compile(routes.iter(), &stronger, &HashMap::new(), &mut Registry::default());
        assert_eq!(found(&snapshot, "web.example.com", "/"), Some("u-ada/web"));
        assert!(found(&snapshot, "bare.example.com", "/").is_none_or(|id| !id.starts_with("u-eve")));
        assert!(snapshot.by_name.find("bare.example.com").is_none() && snapshot.by_name.find("web.example.com").is_none());
        assert_eq!(found(&snapshot, "cloud.home.example", "/"), Some("eddy-system/eddy-api"), "whoever has the names above");
        // One's own wildcard goes on to serve it.
        let stronger = [Claimant::proven("u-eve", "bare", "bare.example.com", 7)];
        let snapshot = compile(routes.iter(), &stronger, &HashMap::new(), &mut Registry::default());
        assert_eq!(found(&snapshot, "bare.example.com", "/"), Some("u-eve/wide"));
        assert_eq!(snapshot.by_name.find("bare.example.com").map(|entry| &*entry.id), Some("u-eve/passes"));
    }

    #[test]
    fn a_route_that_asks_for_a_protection_that_is_not_enforced_is_not_served() {
        let spec = json!({"hosts": ["a"], "backends": [{"vm": "v", "port": 80}]});
        let snapshot = compile([route("u-ada", "a", 1, spec)].iter(), &[], &HashMap::new(), &mut Registry::default());
        let headers = HeaderMap::new();
        assert!(snapshot.table.find("a", &get("/", &headers)).is_some_and(|entry| entry.is_broken));
    }

    #[test]
    fn tls_is_passed_on_for_the_hosts_of_a_route_that_no_other_serves() {
        let backends = json!([{"container": "web", "port": 80}]);
        let tls = |hosts: &[&str]| json!({"hosts": hosts, "protocol": "TLS", "backends": backends});
        let routes = [
            route("u-ada", "all", 1, tls(&["*.a.example"])),
            route("u-ada", "web", 2, json!({"hosts": ["web.a.example", "both.a.example"], "backends": backends})),
            route("u-ada", "both", 3, tls(&["both.a.example"])),
            route(
                "u-ada",
                "sees",
                4,
                json!({"hosts": ["sees.a.example"], "protocol": "TLS", "backends": backends, "stripPrefix": true}),
            ),
        ];
        let snapshot = compile(routes.iter(), &[], &HashMap::new(), &mut Registry::default());
        let passed = |name: &str| snapshot.by_name.find(name).map(|entry| &*entry.id);
        assert_eq!((passed("x.a.example"), passed("x.y.a.example")), (Some("u-ada/all"), Some("u-ada/all")));
        assert_eq!((passed("web.a.example"), passed("both.a.example")), (None, Some("u-ada/both")));
        assert_eq!((passed("a.example"), passed("example")), (None, None));
        assert!(snapshot.by_name.find("sees.a.example").is_some_and(|entry| entry.is_broken), "nor by the wildcard's");
        assert!(
            !snapshot.is_directed("web.a.example", "both.a.example") && !snapshot.is_directed("both.a.example", "both.a.example")
        );
        assert_eq!((snapshot.served, snapshot.left_out), (3, 1), "what it asks for cannot be done");
        // Without TLS, there is what serves without.
        assert_eq!((found(&snapshot, "both.a.example", "/"), found(&snapshot, "x.a.example", "/")), (Some("u-ada/web"), None));
    }

    #[test]
    fn what_cannot_be_served_falls_to_nobody_elses_wildcard() {
        let backends = json!([{"container": "web", "port": 80}]);
        for (name, fields) in [
            ("tls", json!({"protocol": "TLS", "backends": backends})),
            ("path", json!({"paths": [{"path": "(", "type": "Regex"}], "backends": backends})),
            ("shell", json!({"protocol": "SSH", "backends": backends})),
            ("vm", json!({"backends": [{"vm": "v", "port": 80}]})),
        ] {
            let mut own = json!({"hosts": ["login.example.com"]});
            own.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let wide = json!({"hosts": ["*.example.com"], "tls": {"secret": "wide"}, "backends": backends});
            let passes = json!({"hosts": ["*.example.com"], "protocol": "TLS", "backends": backends});
            let routes = [route("u-bob", name, 1, own), route("u-ada", "wide", 2, wide), route("u-ada", "passes", 3, passes)];
            let snapshot = compile(routes.iter(), &[], &HashMap::new(), &mut Registry::default());
            let plain = found(&snapshot, "login.example.com", "/");
            assert!(plain.is_none_or(|id| id.starts_with("u-bob/")), "{name}: {plain:?}");
            let passed = snapshot.by_name.find("login.example.com").map(|entry| &*entry.id);
            assert!(passed.is_none_or(|id| id.starts_with("u-bob/")), "{name}: {passed:?}");
            assert_eq!(found(&snapshot, "other.example.com", "/"), Some("u-ada/wide"));
        }
    }

    #[test]
    fn a_port_is_the_oldest_routes_and_a_route_for_one_holds_no_host() {
        let with = |more: serde_json::Value| {
            let mut spec = json!({"protocol": "TCP", "port": 5432, "backends": [{"container": "web", "port": 80}]});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        let routes = [
            route("u-ada", "first", 1, with(json!({}))),
            route("u-bob", "second", 2, with(json!({}))),
            route("u-bob", "datagrams", 3, with(json!({"protocol": "UDP"}))),
            route("u-eve", "grabs", 4, with(json!({"port": 1, "hosts": ["a"]}))),
            route("u-ada", "web", 5, json!({"hosts": ["a"], "backends": [{"container": "web", "port": 80}]})),
            route("u-ada", "sees", 6, with(json!({"port": 2, "rateLimit": {"requestsPerSecond": 1}}))),
            route("u-ada", "later", 7, with(json!({"port": 2}))),
        ];
        let snapshot = compile(routes.iter(), &[], &HashMap::new(), &mut Registry::default());
        let of = |port: &str| snapshot.ports.get(&port.parse().unwrap()).map(|entry| (&*entry.id, entry.is_broken));
        assert_eq!((of("tcp/5432"), of("udp/5432")), (Some(("u-ada/first", false)), Some(("u-bob/datagrams", false))));
        assert_eq!(
            (of("tcp/1"), of("tcp/2")),
            (Some(("u-eve/grabs", true)), Some(("u-ada/sees", true))),
            "refused, not another's"
        );
        assert_eq!((found(&snapshot, "a", "/"), snapshot.served, snapshot.left_out), (Some("u-ada/web"), 3, 4));
    }

    #[test]
    fn a_route_for_a_port_is_the_same_until_it_says_something_else() {
        let of = |port: u16, idle: u32| {
            let spec = json!({"protocol": "UDP", "port": port, "backends": [], "timeouts": {"idleSeconds": idle}});
            let snapshot = compile([route("u-ada", "a", 1, spec)].iter(), &[], &HashMap::new(), &mut Registry::default());
            snapshot.ports[&format!("udp/{port}").parse().unwrap()].clone()
        };
        assert!(of(53, 60).is_same(&of(53, 60)) && !of(53, 60).is_same(&of(53, 30)));
    }

    #[test]
    fn a_tenant_has_so_many_certificates_and_no_more() {
        let routes: Vec<_> = (0..SECRETS_A_TENANT_MAX + 5)
            .map(|number| {
                let tls = json!({"secret": format!("s{number:03}")});
                let number = i64::try_from(number).unwrap();
                route(
                    "u-ada",
                    &format!("r{number}"),
                    number,
                    json!({"hosts": [format!("h{number}")], "tls": tls, "backends": []}),
                )
            })
            .collect();
        let snapshot = compile(routes.iter(), &[], &HashMap::new(), &mut Registry::default());
        assert_eq!(snapshot.named.len(), SECRETS_A_TENANT_MAX);
        assert!(snapshot.named.iter().all(|secret| *secret.name < *format!("s{SECRETS_A_TENANT_MAX:03}")), "the oldest");
        // As the operator counts them: also those of Routes that are not served.
        let others = (0..).map(|number| route("u-bob", "all", -1, json!({"hosts": [format!("h{number}")], "backends": []})));
        let routes: Vec<_> = others.take(10).chain(routes).collect();
        assert_eq!(compile(routes.iter(), &[], &HashMap::new(), &mut Registry::default()).named.len(), SECRETS_A_TENANT_MAX - 10);
    }

    #[test]
    fn secrets_count_for_the_hosts_that_a_tenant_holds_and_no_others() {
        let with = |hosts: &[&str], secret: &str| json!({"hosts": hosts, "backends": [{"container": "web", "port": 80}], "tls": {"secret": secret}});
        let routes = [
            route("u-ada", "a", 1, with(&["a.example.com"], "own")),
            route("u-bob", "b", 2, with(&["a.example.com"], "grabs")),
            route("u-bob", "c", 3, with(&["*.example.com"], "../x")),
        ];
        let snapshot = compile(routes.iter(), &[], &HashMap::new(), &mut Registry::default());
        let named: Vec<_> = snapshot.named.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["u-ada/own"]);
    }

    #[test]
    fn within_a_tenant_the_older_of_two_equal_rules_wins() {
        let spec = json!({"hosts": ["a"], "backends": [{"container": "web", "port": 80}]});
        let routes = [route("u-ada", "young", 2, spec.clone()), route("u-ada", "old", 1, spec)];
        assert_eq!(found(&compile(routes.iter(), &[], &HashMap::new(), &mut Registry::default()), "a", "/"), Some("u-ada/old"));
    }

    #[test]
    fn what_cannot_be_compiled_is_left_out_alone() {
        let backends = json!([{"container": "web", "port": 80}]);
        let routes = [
            route("u-ada", "bad", 1, json!({"hosts": ["a"], "paths": [{"path": "(", "type": "Regex"}], "backends": backends})),
            route("u-ada", "good", 2, json!({"hosts": ["a"], "backends": backends})),
        ];
        let snapshot = compile(routes.iter(), &[], &HashMap::new(), &mut Registry::default());
        assert_eq!((found(&snapshot, "a", "/"), snapshot.served, snapshot.left_out), (Some("u-ada/good"), 1, 1));
    }

    #[test]
    fn what_cannot_be_done_is_refused_rather_than_served_by_another() {
        let backends = json!([{"container": "web", "port": 80}]);
        let with = |more: serde_json::Value| {
            let mut spec = json!({"hosts": ["a"], "paths": [{"path": "/admin"}], "backends": backends});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        for more in [
            json!({"backends": [{"vm": "v", "port": 80}]}),
            json!({"requestHeaders": {"remove": ["Content-Length"]}}),
            json!({"requiredScopes": [{"scope": "networking.ada.roads", "actions": ["open"]}]}),
            json!({"headers": [{"name": "x", "value": "(", "type": "Regex"}]}),
        ] {
            let routes =
                [route("u-ada", "admin", 1, with(more)), route("u-ada", "all", 2, json!({"hosts": ["a"], "backends": backends}))];
            let snapshot = compile(routes.iter(), &[], &HashMap::new(), &mut Registry::default());
            let headers = HeaderMap::new();
            let is_broken = |path: &str| snapshot.table.find("a", &get(path, &headers)).map(|entry| entry.is_broken);
            assert_eq!((is_broken("/admin/x"), is_broken("/x")), (Some(true), Some(false)));
            assert_eq!((snapshot.served, snapshot.left_out), (1, 1));
        }
    }

    #[test]
    fn what_was_matched_is_what_is_replaced() {
        let paths = json!([{"path": "/api"}, {"path": "/api/v1/"}, {"path": "/exact", "type": "Exact"}]);
        let spec = json!({"hosts": ["a"], "paths": paths, "stripPrefix": true, "backends": []});
        let snapshot = compile([route("u-ada", "a", 1, spec)].iter(), &[], &HashMap::new(), &mut Registry::default());
        for (path, seen) in [("/api", "/"), ("/api/x", "/x"), ("/api/v1/y", "/y"), ("/api/v10", "/v10"), ("/exact", "/exact")] {
            let headers = HeaderMap::new();
            let entry = snapshot.table.find("a", &get(path, &headers)).unwrap();
            assert_eq!(entry.filters.path.as_ref().unwrap().apply(entry.matched.as_deref(), path), seen, "{path}");
        }
    }
}
