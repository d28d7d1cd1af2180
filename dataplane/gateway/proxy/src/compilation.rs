//! A snapshot in the making: what becomes of each Route, the oldest first.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use eddy_authz::ScopeError;
use eddy_certificates::{Certificate, Certificates, readable};
use eddy_crds::{RouteProtocol, RouteSpec};
use eddy_router::{Filters, Match, PathRule, Port, RouteError, Rule, Table, check_passing, matches, unsupported};

use crate::admission::Requirement;
use crate::by_name::ByName;
use crate::endpoints::Registry;
use crate::entry::{RouteEntry, entry, nobodys};
use crate::inputs::{Place, RouteInput};
use crate::snapshot::Snapshot;

/// What has been compiled so far.
pub(crate) struct Compilation<'a> {
    secrets: &'a HashMap<Place, Certificate>,
    registry: &'a mut Registry,
    rules: Vec<Rule<Arc<RouteEntry>>>,
    certificates: Certificates,
    by_name: ByName,
    ports: HashMap<Port, Arc<RouteEntry>>,
    named: HashSet<Place>,
    /// The Secrets that the operator lets be read.
    readable: BTreeSet<Place>,
    /// Hosts that somebody holds.
    held: Vec<String>,
    served: usize,
    left_out: usize,
}

impl<'a> Compilation<'a> {
    /// Nothing yet, of these Routes, the oldest first.
    pub(crate) fn new(routes: &[&'a RouteInput], secrets: &'a HashMap<Place, Certificate>, registry: &'a mut Registry) -> Self {
        let named = routes.iter().filter_map(|route| Some((&*route.place.namespace, route.spec.certificate_secret()?)));
        let readable = readable(named).into_iter().map(|(namespace, name)| Place::new(namespace, &name)).collect();
        Self {
            secrets,
            registry,
            rules: Vec::new(),
            certificates: Certificates::default(),
            by_name: ByName::default(),
            ports: HashMap::new(),
            named: HashSet::new(),
            readable,
            held: Vec::new(),
            served: 0,
            left_out: 0,
        }
    }

    /// Takes a Route, and the hosts among its own that its tenant holds.
    pub(crate) fn take(&mut self, route: &RouteInput, hosts: Vec<String>) {
        if let Some(port) = Port::of(&route.spec) {
            return self.take_port(route, port);
        }
        if hosts.is_empty() {
            tracing::debug!(route = %route.place, "left out: its hosts belong to another tenant");
            self.left_out += 1;
            return;
        }
        hosts.iter().for_each(|host| self.hold(&route.place.namespace, host));
        match self.serve(route, &hosts) {
            Ok(()) => self.served += 1,
            Err(error) => {
                tracing::debug!(route = %route.place, %error, "refused: it cannot be served as it is");
                self.left_out += 1;
                self.refuse(route, &hosts);
            }
        }
    }

    /// Takes a Route for a port, unless another has it.
    fn take_port(&mut self, route: &RouteInput, port: Port) {
        let Entry::Vacant(place) = self.ports.entry(port) else {
            tracing::debug!(route = %route.place, %port, "left out: another Route has its port");
            self.left_out += 1;
            return;
        };
        let passing = match unsupported(&route.spec) {
            Some(field) => Err(LeftOut::NotDone(field)),
            None => passing(route, self.registry).map_err(LeftOut::from),
        };
        match passing {
            Ok(entry) => {
                let fingerprint = fingerprint(route);
                place.insert(Arc::new(RouteEntry { fingerprint, ..entry }));
                self.served += 1;
            }
            Err(error) => {
                tracing::debug!(route = %route.place, %error, "refused: it cannot be served as it is");
                place.insert(Arc::new(broken(route, self.registry)));
                self.left_out += 1;
            }
        }
    }

    /// Whatever becomes of a Route: a host of its tenant is not for another's wildcard above it.
    pub(crate) fn hold(&mut self, namespace: &str, host: &str) {
        self.by_name.serve(host);
        self.certificates.give(host, namespace, None);
        self.held.push(host.to_owned());
    }

    fn serve(&mut self, route: &RouteInput, hosts: &[String]) -> Result<(), LeftOut> {
        if let Some(field) = unsupported(&route.spec) {
            return Err(LeftOut::NotDone(field));
        }
        if let Some(secret) = route.secret() {
            self.certify(route, hosts, secret);
        }
        if route.spec.protocol == RouteProtocol::TLS {
            let entry = Arc::new(passing(route, self.registry)?);
            hosts.iter().for_each(|host| self.by_name.pass(host, &entry));
        } else {
            self.rules.extend(rules_of(route, hosts, self.registry)?);
        }
        Ok(())
    }

    /// Gives hosts the certificate of a Secret, if it is there, and has it watched.
    fn certify(&mut self, route: &RouteInput, hosts: &[String], secret: Place) {
        if let Some(certificate) = self.secrets.get(&secret) {
            hosts.iter().for_each(|host| self.certificates.give(host, &route.place.namespace, Some(certificate)));
        }
        if self.readable.contains(&secret) {
            self.named.insert(secret);
        }
    }

    /// Refuses the requests of a Route that cannot be served as it is, as far as it is known which those are.
    fn refuse(&mut self, route: &RouteInput, hosts: &[String]) {
        let value = Arc::new(broken(route, self.registry));
        match route.spec.protocol {
            RouteProtocol::TLS => hosts.iter().for_each(|host| self.by_name.pass(host, &value)),
            RouteProtocol::HTTP | RouteProtocol::GRPC | RouteProtocol::WebSocket => {
                // Where a condition is none, by all others; where a path is, nothing is known.
                let paths = || RouteSpec { headers: Vec::new(), queries: Vec::new(), ..route.spec.clone() };
                if let Ok(matches) = matches(&route.spec).or_else(|_| matches(&paths())) {
                    self.rules.push(Rule { hosts: hosts.to_vec(), matches, value });
                }
            }
            RouteProtocol::TCP | RouteProtocol::UDP | RouteProtocol::SSH => {}
        }
    }

    /// What has been compiled.
    pub(crate) fn end(mut self) -> Snapshot {
        self.rules.push(Rule { hosts: self.held, matches: Vec::new(), value: Arc::new(nobodys(self.registry)) });
        let (table, errors) = Table::compile(self.rules);
        for error in errors {
            tracing::warn!(%error, "a path was left out");
        }
        let Self { certificates, by_name, ports, named, served, left_out, .. } = self;
        Snapshot { table, certificates, by_name, ports, named, served, left_out, ..Snapshot::default() }
    }
}

/// A Route that refuses whatever comes.
fn broken(route: &RouteInput, registry: &mut Registry) -> RouteEntry {
    let entry = entry(route, None, Filters::default(), Requirement::default(), registry);
    RouteEntry { is_broken: true, mirrors: Vec::new(), is_tls_only: false, ..entry }
}

/// Why a Route cannot be served as it is.
#[derive(Debug, thiserror::Error)]
enum LeftOut {
    #[error("{0} asks for what is not done yet")]
    NotDone(&'static str),
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("a scope that it requires is none")]
    Scope(#[from] ScopeError),
}

/// The rules of a Route for some of its hosts: one for each way in which a request matches.
fn rules_of(route: &RouteInput, hosts: &[String], registry: &mut Registry) -> Result<Vec<Rule<Arc<RouteEntry>>>, LeftOut> {
    let (filters, requirement) = (Filters::of(&route.spec)?, Requirement::of(&route.spec)?);
    let rule = |(matched, matches)| {
        let value = Arc::new(entry(route, matched, filters.clone(), requirement.clone(), registry));
        Rule { hosts: hosts.to_vec(), matches, value }
    };
    Ok(by_prefix(matches(&route.spec)?).into_iter().map(rule).collect())
}

/// Ways to match, by the prefix of the path that is matched, if one is.
pub(crate) fn by_prefix(matches: Vec<Match>) -> Vec<(Option<Box<str>>, Vec<Match>)> {
    let mut by_path: Vec<(Option<Box<str>>, Vec<Match>)> = Vec::new();
    for one in matches {
        let matched = match &one.path {
            PathRule::Prefix(prefix) => Some(Box::from(prefix.as_str())),
            PathRule::Exact(_) | PathRule::Regex(_) => None,
        };
        match by_path.iter_mut().find(|(path, _)| *path == matched) {
            Some((_, all)) => all.push(one),
            None => by_path.push((matched, vec![one])),
        }
    }
    by_path
}

/// A Route that passes on what comes.
fn passing(route: &RouteInput, registry: &mut Registry) -> Result<RouteEntry, RouteError> {
    check_passing(&route.spec)?;
    Ok(entry(route, None, Filters::of(&route.spec)?, Requirement::default(), registry))
}

/// A number that is another where a Route says something else. Only compared within one process.
fn fingerprint(route: &RouteInput) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(route).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
