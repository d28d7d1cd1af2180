//! The immutable state that requests are answered from, compiled from [`RouteInput`]s.

use std::sync::Arc;
use std::time::Duration;

use eddy_crds::{PathMatchType, RouteSpec};
use eddy_router::{Claimant, Claims, PathRule, Rule, Table, unsupported};

use crate::admission::Requirement;
use crate::balance::Backends;
use crate::endpoints::{Registry, ServicePort};
use crate::inputs::{Place, RouteInput};

/// How one route's requests are answered.
#[derive(Debug)]
pub(crate) struct RouteEntry {
    /// Namespace and name, for logs.
    pub(crate) id: Box<str>,
    pub(crate) backends: Backends,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) retries: u32,
    /// The prefixes that are removed from the path, the longest first; none to leave it as it is.
    pub(crate) strip: Vec<Box<str>>,
    /// What whoever asks must hold.
    pub(crate) requirement: Requirement,
}

/// All routes.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) table: Table<Arc<RouteEntry>>,
    /// How many Routes are in the table.
    pub(crate) served: usize,
    /// How many are left out, because of a host that is not theirs or a field that is not supported.
    pub(crate) left_out: usize,
}

/// Compiles all routes. What cannot be served is left out and logged; it never takes others with it.
pub(crate) fn compile<'a>(routes: impl Iterator<Item = &'a RouteInput>, registry: &mut Registry) -> Snapshot {
    let mut routes: Vec<&RouteInput> = routes.collect();
    routes.sort_unstable_by(|left, right| (left.created, &left.place).cmp(&(right.created, &right.place)));
    let claims = Claims::decide(routes.iter().map(|route| claimant(route)));

    let mut rules = Vec::with_capacity(routes.len());
    let mut left_out = 0;
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
            match Requirement::of(&route.spec) {
                Ok(requirement) => {
                    let value = Arc::new(entry(route, requirement, registry));
                    rules.push(Rule { hosts, paths: paths(&route.spec), value });
                }
                Err(error) => {
                    tracing::debug!(route = %route.place, %error, "left out: a scope that it requires is none");
                    left_out += 1;
                }
            }
        }
    }
    let served = rules.len();
    let (table, errors) = Table::compile(rules);
    for error in errors {
        tracing::warn!(%error, "a path was left out");
    }
    Snapshot { table, served, left_out }
}

fn claimant(route: &RouteInput) -> Claimant {
    Claimant {
        created: route.created,
        namespace: route.place.namespace.clone(),
        name: route.place.name.clone(),
        hosts: route.spec.hosts.clone(),
    }
}

fn paths(spec: &RouteSpec) -> Vec<PathRule> {
    let rule = |path: &eddy_crds::PathMatch| match path.kind() {
        PathMatchType::Exact => PathRule::Exact(path.path.clone()),
        PathMatchType::Prefix => PathRule::Prefix(path.path.clone()),
    };
    spec.paths.iter().map(rule).collect()
}

fn entry(route: &RouteInput, requirement: Requirement, registry: &mut Registry) -> RouteEntry {
    let spec = &route.spec;
    let backends = spec.backends.iter().filter_map(|backend| {
        let service = Place { namespace: route.place.namespace.clone(), name: backend.container.clone()? };
        let port = u16::try_from(backend.port).ok()?;
        Some((backend.weight(), registry.endpoints(&ServicePort { service, port })))
    });
    RouteEntry {
        id: route.place.to_string().into(),
        backends: Backends::new(backends.collect()),
        connect_timeout: seconds(spec.timeouts.connect_seconds),
        idle_timeout: seconds(spec.timeouts.idle_seconds),
        retries: u32::try_from(spec.retries.attempts).unwrap_or(0),
        strip: if spec.strip_prefix { prefixes(spec) } else { Vec::new() },
        requirement,
    }
}

fn prefixes(spec: &RouteSpec) -> Vec<Box<str>> {
    let prefixes = spec.paths.iter().filter(|path| path.kind() == PathMatchType::Prefix);
    let mut prefixes: Vec<Box<str>> =
        prefixes.map(|path| path.path.trim_end_matches('/')).filter(|prefix| !prefix.is_empty()).map(Into::into).collect();
    prefixes.sort_unstable_by_key(|prefix| std::cmp::Reverse(prefix.len()));
    prefixes
}

fn seconds(number: i32) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

impl RouteEntry {
    /// The path and query that the backend sees, where it is another than the client sent.
    pub(crate) fn rewrite(&self, path_and_query: &str) -> Option<String> {
        let end = path_and_query.find('?').unwrap_or(path_and_query.len());
        let path = &path_and_query[..end];
        let stripped = self.strip.iter().find_map(|prefix| {
            path.strip_prefix(&**prefix).filter(|rest| rest.is_empty() || rest.starts_with('/')).map(|rest| (prefix.len(), rest))
        });
        let (length, rest) = stripped?;
        let slash = if rest.is_empty() { "/" } else { "" };
        Some(format!("{slash}{}", &path_and_query[length..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn route(namespace: &str, name: &str, created: i64, spec: serde_json::Value) -> RouteInput {
        let place = Place { namespace: namespace.into(), name: name.into() };
        RouteInput { place, created, spec: serde_json::from_value(spec).unwrap() }
    }

    fn found<'a>(snapshot: &'a Snapshot, host: &str, path: &str) -> Option<&'a str> {
        snapshot.table.find(host, path).map(|entry| &*entry.id)
    }

    #[test]
    fn a_host_that_is_another_tenant_s_is_left_out_and_the_rest_served() {
        let backends = json!([{"container": "web", "port": 80}]);
        let routes = [
            route("u-bob", "b", 2, json!({"hosts": ["a.example.com", "b.example.com"], "backends": backends})),
            route("u-ada", "a", 1, json!({"hosts": ["a.example.com"], "backends": backends})),
            route("u-eve", "e", 3, json!({"hosts": ["a.example.com"], "backends": backends})),
        ];
        let snapshot = compile(routes.iter(), &mut Registry::default());
        assert_eq!(found(&snapshot, "a.example.com", "/"), Some("u-ada/a"));
        assert_eq!(found(&snapshot, "b.example.com", "/"), Some("u-bob/b"));
        assert_eq!((snapshot.served, snapshot.left_out), (2, 1));
    }

    #[test]
    fn a_route_that_asks_for_a_protection_that_is_not_enforced_is_not_served() {
        let spec = json!({"hosts": ["a"], "backends": [{"container": "web", "port": 80}], "ipFilter": {"deny": ["10.0.0.0/8"]}});
        let snapshot = compile([route("u-ada", "a", 1, spec)].iter(), &mut Registry::default());
        assert_eq!(found(&snapshot, "a", "/"), None);
    }

    #[test]
    fn within_a_tenant_the_older_of_two_equal_rules_wins() {
        let spec = json!({"hosts": ["a"], "backends": [{"container": "web", "port": 80}]});
        let routes = [route("u-ada", "young", 2, spec.clone()), route("u-ada", "old", 1, spec)];
        assert_eq!(found(&compile(routes.iter(), &mut Registry::default()), "a", "/"), Some("u-ada/old"));
    }

    #[test]
    fn a_prefix_is_stripped_by_whole_elements() {
        let spec =
            json!({"hosts": ["a"], "paths": [{"path": "/api"}, {"path": "/api/v1/"}], "stripPrefix": true, "backends": []});
        let entry = entry(&route("u-ada", "a", 1, spec), Requirement::default(), &mut Registry::default());
        for (path, seen) in [("/api", "/"), ("/api/x?q=/api", "/x?q=/api"), ("/api/v1/y", "/y"), ("/api?q", "/?q")] {
            assert_eq!(entry.rewrite(path).as_deref(), Some(seen), "{path}");
        }
        assert_eq!(entry.rewrite("/apis"), None);
    }
}
