//! The immutable state that requests are answered from, compiled from [`RouteInput`]s.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use eddy_certificates::{Certificate, Certificates};
use eddy_router::{
    Claimant, Claims, Filters, Match, PathRule, RouteError, Rule, Share, Table, check_passing, matches, unsupported,
};

use eddy_authz::ScopeError;
use eddy_crds::RouteProtocol;

use crate::admission::Requirement;
use crate::balance::Backends;
use crate::by_name::ByName;
use crate::endpoints::{Registry, ServicePort};
use crate::inputs::{Place, RouteInput};
use crate::mirror::Mirror;

/// How one route's requests are answered.
#[derive(Debug)]
pub(crate) struct RouteEntry {
    /// Namespace and name, for logs.
    pub(crate) id: Box<str>,
    /// Whoever comes without TLS is sent to the same URL with it.
    pub(crate) is_tls_only: bool,
    /// What its clients speak.
    pub(crate) protocol: RouteProtocol,
    pub(crate) backends: Backends,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) retries: u32,
    /// The prefix of the path that was matched, if one was.
    pub(crate) matched: Option<Box<str>>,
    pub(crate) filters: Filters,
    /// Who sees copies of requests.
    pub(crate) mirrors: Vec<Mirror>,
    /// For a request, all tries together.
    pub(crate) request_timeout: Option<Duration>,
    /// What whoever asks must hold.
    pub(crate) requirement: Requirement,
}

/// All routes.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) table: Table<Arc<RouteEntry>>,
    /// Of hosts that have one of their own.
    pub(crate) certificates: Certificates,
    /// Routes that pass TLS on.
    pub(crate) by_name: ByName,
    /// The Secrets that certificates are in.
    pub(crate) named: HashSet<Place>,
    /// How many Routes are in the table.
    pub(crate) served: usize,
    /// How many are left out, because of a host that is not theirs or a field that is not supported.
    pub(crate) left_out: usize,
}

/// Compiles all routes. What cannot be served is left out and logged; it never takes others with it.
pub(crate) fn compile<'a>(
    routes: impl Iterator<Item = &'a RouteInput>,
    secrets: &HashMap<Place, Certificate>,
    registry: &mut Registry,
) -> Snapshot {
    let mut routes: Vec<&RouteInput> = routes.collect();
    routes.sort_unstable_by(|left, right| (left.created, &left.place).cmp(&(right.created, &right.place)));
    let claims = Claims::decide(routes.iter().map(|route| claimant(route)));

    let mut rules = Vec::with_capacity(routes.len());
    let (mut served, mut left_out) = (0, 0);
    let (mut certificates, mut named, mut by_name) = (Certificates::default(), HashSet::new(), ByName::default());
    for route in routes {
        let hosts: Vec<String> =
            route.spec.hosts.iter().filter(|host| claims.holds(&route.place.namespace, host)).cloned().collect();
        if let Some(field) = unsupported(&route.spec) {
            tracing::debug!(route = %route.place, field, "left out: asks for what is not done yet");
            left_out += 1;
        } else if hosts.is_empty() {
            tracing::debug!(route = %route.place, "left out: its hosts belong to another tenant");
            left_out += 1;
        } else {
            let secret = route.secret();
            let certificate = secret.as_ref().and_then(|secret| secrets.get(secret));
            hosts.iter().for_each(|host| certificates.give(host, &route.place.namespace, certificate));
            named.extend(secret);
            if route.spec.protocol == RouteProtocol::TLS {
                match passing(route, registry) {
                    Ok(entry) => {
                        served += 1;
                        hosts.iter().for_each(|host| by_name.pass(host, &entry));
                    }
                    Err(error) => {
                        tracing::debug!(route = %route.place, %error, "left out: it cannot be served as it is");
                        left_out += 1;
                    }
                }
                continue;
            }
            hosts.iter().for_each(|host| by_name.serve(host));
            match rules_of(route, &hosts, registry) {
                Ok(all) => {
                    served += 1;
                    rules.extend(all);
                }
                Err(error) => {
                    tracing::debug!(route = %route.place, %error, "left out: it cannot be served as it is");
                    left_out += 1;
                }
            }
        }
    }
    let (table, errors) = Table::compile(rules);
    for error in errors {
        tracing::warn!(%error, "a path was left out");
    }
    Snapshot { table, certificates, by_name, named, served, left_out }
}

impl Snapshot {
    /// Whether a request for a host may come on a connection that TLS was begun on for a name: both have the same certificate.
    pub(crate) fn is_directed(&self, name: &str, host: &str) -> bool {
        let of = |name: &str| self.certificates.find(name).map(Arc::as_ptr);
        name == host || of(name) == of(host)
    }
}

fn claimant(route: &RouteInput) -> Claimant {
    Claimant {
        created: route.created,
        namespace: route.place.namespace.clone(),
        name: route.place.name.clone(),
        hosts: route.spec.hosts.clone(),
    }
}

/// Why a Route cannot be served as it is.
#[derive(Debug, thiserror::Error)]
enum LeftOut {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("a scope that it requires is none")]
    Scope(#[from] ScopeError),
}

/// The rules of a Route for some of its hosts: one for each way in which a request matches.
fn rules_of(route: &RouteInput, hosts: &[String], registry: &mut Registry) -> Result<Vec<Rule<Arc<RouteEntry>>>, LeftOut> {
    let (filters, requirement) = (Filters::of(&route.spec)?, Requirement::of(&route.spec)?);
    let mut by_path: Vec<(Option<Box<str>>, Vec<Match>)> = Vec::new();
    for one in matches(&route.spec)? {
        let matched = match &one.path {
            PathRule::Prefix(prefix) => Some(Box::from(prefix.as_str())),
            PathRule::Exact(_) | PathRule::Regex(_) => None,
        };
        match by_path.iter_mut().find(|(path, _)| *path == matched) {
            Some((_, all)) => all.push(one),
            None => by_path.push((matched, vec![one])),
        }
    }
    let rule = |(matched, matches)| {
        let value = Arc::new(entry(route, matched, filters.clone(), requirement.clone(), registry));
        Rule { hosts: hosts.to_vec(), matches, value }
    };
    Ok(by_path.into_iter().map(rule).collect())
}

/// A Route that passes TLS on.
fn passing(route: &RouteInput, registry: &mut Registry) -> Result<Arc<RouteEntry>, RouteError> {
    check_passing(&route.spec)?;
    Ok(Arc::new(entry(route, None, Filters::of(&route.spec)?, Requirement::default(), registry)))
}

fn entry(
    route: &RouteInput,
    matched: Option<Box<str>>,
    filters: Filters,
    requirement: Requirement,
    registry: &mut Registry,
) -> RouteEntry {
    let spec = &route.spec;
    let backends: Vec<_> = spec
        .backends
        .iter()
        .filter_map(|backend| {
            let service = Place { namespace: route.place.namespace.clone(), name: backend.container.clone()? };
            let port = u16::try_from(backend.port).ok()?;
            Some((backend.weight(), registry.endpoints(&ServicePort { service, port })))
        })
        .collect();
    let mirrors = spec.mirrors.iter().filter_map(|mirror| {
        let service = Place { namespace: route.place.namespace.clone(), name: mirror.container.clone() };
        let port = u16::try_from(mirror.port).ok()?;
        let share = Share::new(u32::try_from(mirror.percent).ok()?, 100);
        Some(Mirror { backends: Backends::new(vec![(1, registry.endpoints(&ServicePort { service, port }))]), share })
    });
    RouteEntry {
        id: route.place.to_string().into(),
        is_tls_only: spec.tls.as_ref().is_some_and(|tls| tls.redirect_http),
        protocol: spec.protocol,
        backends: Backends::new(backends),
        connect_timeout: seconds(spec.timeouts.connect_seconds),
        idle_timeout: seconds(spec.timeouts.idle_seconds),
        retries: u32::try_from(spec.retries.attempts).unwrap_or(0),
        matched,
        filters,
        mirrors: mirrors.collect(),
        request_timeout: spec.timeouts.request_seconds.map(seconds),
        requirement,
    }
}

fn seconds(number: i32) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let snapshot = compile(routes.iter(), &HashMap::new(), &mut Registry::default());
        assert_eq!(found(&snapshot, "a.example.com", "/"), Some("u-ada/a"));
        assert_eq!(found(&snapshot, "b.example.com", "/"), Some("u-bob/b"));
        assert_eq!((snapshot.served, snapshot.left_out), (2, 1));
    }

    #[test]
    fn a_route_that_asks_for_a_protection_that_is_not_enforced_is_not_served() {
        let spec = json!({"hosts": ["a"], "backends": [{"container": "web", "port": 80}], "domain": "d"});
        let snapshot = compile([route("u-ada", "a", 1, spec)].iter(), &HashMap::new(), &mut Registry::default());
        assert_eq!(found(&snapshot, "a", "/"), None);
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
        let snapshot = compile(routes.iter(), &HashMap::new(), &mut Registry::default());
        let passed = |name: &str| snapshot.by_name.find(name).map(|entry| &*entry.id);
        assert_eq!((passed("x.a.example"), passed("x.y.a.example")), (Some("u-ada/all"), Some("u-ada/all")));
        assert_eq!((passed("web.a.example"), passed("both.a.example")), (None, Some("u-ada/both")));
        assert_eq!((passed("a.example"), passed("example")), (None, None));
        assert_eq!((snapshot.served, snapshot.left_out), (3, 1), "what it asks for cannot be done");
        // Without TLS, there is what serves without.
        assert_eq!((found(&snapshot, "both.a.example", "/"), found(&snapshot, "x.a.example", "/")), (Some("u-ada/web"), None));
    }

    #[test]
    fn secrets_count_for_the_hosts_that_a_tenant_holds_and_no_others() {
        let with = |hosts: &[&str], secret: &str| json!({"hosts": hosts, "backends": [{"container": "web", "port": 80}], "tls": {"secret": secret}});
        let routes = [
            route("u-ada", "a", 1, with(&["a.example.com"], "own")),
            route("u-bob", "b", 2, with(&["a.example.com"], "grabs")),
            route("u-bob", "c", 3, with(&["*.example.com"], "../x")),
        ];
        let snapshot = compile(routes.iter(), &HashMap::new(), &mut Registry::default());
        let named: Vec<_> = snapshot.named.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["u-ada/own"]);
    }

    #[test]
    fn within_a_tenant_the_older_of_two_equal_rules_wins() {
        let spec = json!({"hosts": ["a"], "backends": [{"container": "web", "port": 80}]});
        let routes = [route("u-ada", "young", 2, spec.clone()), route("u-ada", "old", 1, spec)];
        assert_eq!(found(&compile(routes.iter(), &HashMap::new(), &mut Registry::default()), "a", "/"), Some("u-ada/old"));
    }

    #[test]
    fn what_cannot_be_compiled_is_left_out_alone() {
        let backends = json!([{"container": "web", "port": 80}]);
        let routes = [
            route("u-ada", "bad", 1, json!({"hosts": ["a"], "paths": [{"path": "(", "type": "Regex"}], "backends": backends})),
            route("u-ada", "good", 2, json!({"hosts": ["a"], "backends": backends})),
        ];
        let snapshot = compile(routes.iter(), &HashMap::new(), &mut Registry::default());
        assert_eq!((found(&snapshot, "a", "/"), snapshot.served, snapshot.left_out), (Some("u-ada/good"), 1, 1));
    }

    #[test]
    fn what_was_matched_is_what_is_replaced() {
        let paths = json!([{"path": "/api"}, {"path": "/api/v1/"}, {"path": "/exact", "type": "Exact"}]);
        let spec = json!({"hosts": ["a"], "paths": paths, "stripPrefix": true, "backends": []});
        let snapshot = compile([route("u-ada", "a", 1, spec)].iter(), &HashMap::new(), &mut Registry::default());
        for (path, seen) in [("/api", "/"), ("/api/x", "/x"), ("/api/v1/y", "/y"), ("/api/v10", "/v10"), ("/exact", "/exact")] {
            let headers = HeaderMap::new();
            let entry = snapshot.table.find("a", &get(path, &headers)).unwrap();
            assert_eq!(entry.filters.path.as_ref().unwrap().apply(entry.matched.as_deref(), path), seen, "{path}");
        }
    }
}
