//! Which backends are reached by TLS, and who they must be.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kube::ResourceExt;

use super::{Problem, World, bounds};
use crate::place::{Place, place_of};
use crate::types::{BackendTlsPolicy, BackendTlsValidation, SubjectAltName};

/// A namespace has so many policies, the oldest: what others are for is not reached at all.
const POLICIES_MAX: usize = 256;

/// How a backend is reached by TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendTls {
    /// Who must vouch for it.
    pub authorities: Authorities,
    /// The name that TLS is begun for. The backend must have it unless there are names below.
    pub hostname: String,
    /// Names of which it must have one.
    pub names: Vec<CertificateName>,
}

/// Who is believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Authorities {
    /// Those that browsers believe.
    WellKnown,
    /// Those whose certificates are in these ConfigMaps, under `ca.crt`.
    ConfigMaps(Vec<Place>),
}

/// A name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// Of a host.
    Host(String),
    /// A URI, as SPIFFE's are.
    Uri(String),
}

/// What becomes of a policy.
#[derive(Clone, Debug)]
pub struct PolicyDecision {
    /// Which.
    pub policy: Place,
    /// What it asks for.
    pub tls: Arc<BackendTls>,
    /// Why it does not count.
    pub problem: Option<Problem>,
    /// Why some of what it names is not there, as far as that is known without ConfigMaps.
    pub unresolved: Option<Problem>,
    /// The Gateways that reach Services by it,
    pub gateways: BTreeSet<Place>,
    /// and those that do by an older one instead.
    pub lost: BTreeMap<Place, Place>,
}

impl PolicyDecision {
    /// Whether anybody is reached by it.
    pub fn counts(&self) -> bool {
        !self.gateways.is_empty()
    }
}

/// All of them, and which ports of Services they are for.
#[derive(Default)]
pub(super) struct Policies {
    all: Vec<PolicyDecision>,
    /// By a Service, and one of its ports or all.
    targets: HashMap<(Place, Option<String>), Target>,
    /// It is not known which there are.
    are_unknown: bool,
}

/// Of those that are for the same, by their place among all.
struct Target {
    /// The oldest; none of those that are too many counts, and nobody is reached instead.
    counts: Option<usize>,
    younger: Vec<usize>,
}

impl Policies {
    pub(super) fn new(world: &World<'_>) -> Self {
        let Some(policies) = world.tls_policies else { return Self { are_unknown: true, ..Self::default() } };
        let mut policies: Vec<(Place, &BackendTlsPolicy)> = policies.iter().map(|policy| (place_of(*policy), *policy)).collect();
        // Of two for the same, the older one counts.
        policies.sort_by_cached_key(|(place, policy)| (policy.creation_timestamp().map(|time| time.0), place.clone()));
        let mut all: Vec<PolicyDecision> = policies.iter().map(|(place, policy)| one(place, policy)).collect();
        bound(&mut all);
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut targets: HashMap<(Place, Option<String>), Target> = HashMap::new();
        for (number, (place, policy)) in policies.iter().enumerate() {
            let of_namespace = counts.entry(place.namespace.clone()).or_default();
            *of_namespace += 1;
            let is_read = *of_namespace <= POLICIES_MAX;
            for target in policy.spec.target_refs.iter().filter(|target| target.group.is_empty() && target.kind == "Service") {
                let key = (Place::new(&place.namespace, &target.name), target.section_name.clone());
                match targets.entry(key) {
                    Entry::Vacant(free) => {
                        free.insert(Target { counts: is_read.then_some(number), younger: Vec::new() });
                    }
                    Entry::Occupied(mut known) if is_read => known.get_mut().younger.push(number),
                    Entry::Occupied(_) => {}
                }
            }
        }
        Self { all, targets, are_unknown: false }
    }

    /// What there is for a port of a Service: for itself, or else for all.
    fn target(&self, service: &Place, port: &str) -> Option<&Target> {
        let of_port = self.targets.get(&(service.clone(), Some(port.to_owned())));
        of_port.or_else(|| self.targets.get(&(service.clone(), None)))
    }

    /// How a port of a Service is reached; without TLS if none.
    pub(super) fn find(&self, service: &Place, port: &str) -> Option<Arc<BackendTls>> {
        if self.are_unknown {
            return Some(Arc::new(BackendTls::nobody()));
        }
        let found = self.target(service, port)?;
        let policy = found.counts.map(|counts| self.all[counts].tls.clone());
        Some(policy.unwrap_or_else(|| Arc::new(BackendTls::nobody())))
    }

    /// Takes note that a Gateway reaches a port of a Service, by TLS where that is asked for.
    pub(super) fn reached(&mut self, gateway: &Place, service: &Place, port: &str) {
        let Some(target) = self.target(service, port) else { return };
        let (Some(counts), younger) = (target.counts, target.younger.clone()) else { return };
        let older = self.all[counts].policy.clone();
        self.all[counts].gateways.insert(gateway.clone());
        for lost in younger.into_iter().filter(|lost| *lost != counts) {
            self.all[lost].lost.insert(gateway.clone(), older.clone());
        }
    }

    pub(super) fn end(self) -> Vec<PolicyDecision> {
        self.all
    }
}

/// What a policy asks for.
fn one(place: &Place, policy: &BackendTlsPolicy) -> PolicyDecision {
    let validation = &policy.spec.validation;
    let (authorities, unresolved, mut problem) = authorities(place, validation);
    let (mut authorities, mut names) = (authorities, Vec::with_capacity(validation.subject_alt_names.len()));
    for name in &validation.subject_alt_names {
        match read(name) {
            Some(name) => names.push(name),
            None => {
                let message = format!("validation.subjectAltNames: {} is neither Hostname nor URI with its value", name.kind);
                problem.get_or_insert_with(|| Problem::new("Invalid", message));
                // Rather nobody than somebody who has no name that counts.
                authorities = Authorities::ConfigMaps(Vec::new());
            }
        }
    }
    let hostname = validation.hostname.to_ascii_lowercase();
    let tls = Arc::new(BackendTls { authorities, hostname, names });
    PolicyDecision { policy: place.clone(), tls, problem, unresolved, gateways: BTreeSet::new(), lost: BTreeMap::new() }
}

fn read(name: &SubjectAltName) -> Option<CertificateName> {
    match (name.kind.as_str(), &name.hostname, &name.uri) {
        ("Hostname", Some(host), _) => Some(CertificateName::Host(host.to_ascii_lowercase())),
        ("URI", _, Some(uri)) => Some(CertificateName::Uri(uri.clone())),
        _ => None,
    }
}

/// Who is believed, and what is wrong with the others.
fn authorities(place: &Place, validation: &BackendTlsValidation) -> (Authorities, Option<Problem>, Option<Problem>) {
    let none = || Authorities::ConfigMaps(Vec::new());
    if validation.ca_certificate_refs.is_empty() {
        return match validation.well_known_ca_certificates.as_deref() {
            Some("System") => (Authorities::WellKnown, None, None),
            other => {
                let message = format!("validation.wellKnownCACertificates: {:?} is not known here", other.unwrap_or_default());
                (none(), None, Some(Problem::new("Invalid", message)))
            }
        };
    }
    let is_good = |reference: &&crate::types::ObjectReference| reference.is_core("ConfigMap", "");
    let good: Vec<Place> =
        validation.ca_certificate_refs.iter().filter(is_good).map(|one| Place::new(&place.namespace, &one.name)).collect();
    let wrong = validation.ca_certificate_refs.iter().find(|one| !is_good(one)).map(|one| {
        let kind = one.kind.as_deref().unwrap_or_default();
        Problem::new("InvalidKind", format!("validation.caCertificateRefs: {} is a {kind}, not a ConfigMap", one.name))
    });
    let none_good = || Problem::new("NoValidCACertificate", "validation.caCertificateRefs: none can be used");
    let problem = good.is_empty().then(none_good);
    (Authorities::ConfigMaps(good), wrong, problem)
}

/// Leaves out the ConfigMaps of a namespace that are more than are read of one.
fn bound(all: &mut [PolicyDecision]) {
    let named: Vec<Place> = all.iter().flat_map(|policy| policy.tls.config_maps().to_vec()).collect();
    let read = bounds::read(&named);
    for policy in all {
        if policy.tls.config_maps().iter().all(|map| read.contains(map)) {
            continue;
        }
        if let Authorities::ConfigMaps(places) = &mut Arc::make_mut(&mut policy.tls).authorities {
            places.retain(|map| read.contains(map));
        }
        let problem = || Problem::new("InvalidCACertificateRef", bounds::too_many("validation.caCertificateRefs"));
        policy.unresolved.get_or_insert_with(problem);
    }
}

impl BackendTls {
    /// Nobody is believed.
    fn nobody() -> Self {
        Self { authorities: Authorities::ConfigMaps(Vec::new()), hostname: String::new(), names: Vec::new() }
    }

    /// The ConfigMaps with authorities.
    pub fn config_maps(&self) -> &[Place] {
        match &self.authorities {
            Authorities::WellKnown => &[],
            Authorities::ConfigMaps(places) => places,
        }
    }
}
