//! Which backends are reached by TLS, and who they must be.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use eddy_certificates::{SECRETS_A_TENANT_MAX, readable};
use kube::ResourceExt;

use super::{Problem, World};
use crate::place::{Place, place_of};
use crate::types::{BackendTlsPolicy, BackendTlsValidation, SubjectAltName};

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
    /// The Gateways that reach Services by it, or would.
    pub gateways: BTreeSet<Place>,
}

/// All of them, and which ports of Services they are for.
pub(super) struct Policies {
    all: Vec<PolicyDecision>,
    /// By a Service: for which of its ports, or for all, which counts or would.
    targets: HashMap<Place, Vec<Target>>,
}

struct Target {
    port: Option<String>,
    policy: usize,
    /// No older one is for the same.
    counts: bool,
}

impl Policies {
    pub(super) fn new(world: &World<'_>) -> Self {
        let mut policies: Vec<(Place, &BackendTlsPolicy)> =
            world.tls_policies.iter().map(|policy| (place_of(*policy), *policy)).collect();
        // Of two for the same, the older one counts.
        policies.sort_by_cached_key(|(place, policy)| (policy.creation_timestamp().map(|time| time.0), place.clone()));
        let mut all: Vec<PolicyDecision> = policies.iter().map(|(place, policy)| one(place, policy)).collect();
        bound(&mut all);
        let mut targets: HashMap<Place, Vec<Target>> = HashMap::new();
        for (number, (place, policy)) in policies.iter().enumerate() {
            let (mut counts_somewhere, mut older) = (false, None);
            for target in policy.spec.target_refs.iter().filter(|target| target.group.is_empty() && target.kind == "Service") {
                let of_service = targets.entry(Place::new(&place.namespace, &target.name)).or_default();
                let same = of_service.iter().find(|other| other.counts && other.port == target.section_name);
                older = older.or(same.map(|same| same.policy));
                let counts = same.is_none();
                counts_somewhere |= counts;
                of_service.push(Target { port: target.section_name.clone(), policy: number, counts });
            }
            if let Some(older) = older.filter(|_| !counts_somewhere) {
                let message = format!("BackendTLSPolicy {} is older and for the same", policies[older].0);
                all[number].problem = Some(Problem::new("Conflicted", message));
            }
        }
        Self { all, targets }
    }

    /// How a port of a Service is reached; without TLS if none. One that is for the port comes before one that is for all.
    pub(super) fn find(&self, service: &Place, port: &str) -> Option<Arc<BackendTls>> {
        let counting = || self.targets.get(service).into_iter().flatten().filter(|target| target.counts);
        let of_port = counting().find(|target| target.port.as_deref() == Some(port));
        let found = of_port.or_else(|| counting().find(|target| target.port.is_none()))?;
        Some(self.all[found.policy].tls.clone())
    }

    /// Takes note that a Gateway reaches a port of a Service.
    pub(super) fn reached(&mut self, gateway: &Place, service: &Place, port: &str) {
        for target in self.targets.get(service).into_iter().flatten() {
            if target.port.as_deref().is_none_or(|of| of == port) {
                self.all[target.policy].gateways.insert(gateway.clone());
            }
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
    PolicyDecision { policy: place.clone(), tls, problem, unresolved, gateways: BTreeSet::new() }
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
    let readable = readable(named.iter().map(|place| (&*place.namespace, &*place.name)));
    let is_read = |place: &Place| readable.contains(&(&*place.namespace, &*place.name));
    for policy in all {
        if policy.tls.config_maps().iter().all(is_read) {
            continue;
        }
        let mut tls = BackendTls::clone(&policy.tls);
        if let Authorities::ConfigMaps(places) = &mut tls.authorities {
            places.retain(is_read);
        }
        policy.tls = Arc::new(tls);
        let message = format!(
            "validation.caCertificateRefs: of one namespace, {SECRETS_A_TENANT_MAX} ConfigMaps are read, those of the oldest policies"
        );
        policy.unresolved.get_or_insert_with(|| Problem::new("InvalidCACertificateRef", message));
    }
}

impl BackendTls {
    /// The ConfigMaps with authorities.
    pub fn config_maps(&self) -> &[Place] {
        match &self.authorities {
            Authorities::WellKnown => &[],
            Authorities::ConfigMaps(places) => places,
        }
    }
}
