//! Authorities that policies name: read from ConfigMaps, and who is reached by them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use eddy_certificates::{Certificate, read_authorities};
use eddy_gateway_api::{Authorities, BackendTls, Clients};
use eddy_telemetry::error_chain;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::WebPkiClientVerifier;

use crate::clients::LetIn;
use crate::inputs::{AuthorityInput, Place};
use crate::named::Seen;
use crate::secured::Secured;

/// Authorities of ConfigMaps, and how backends are reached by them.
#[derive(Default)]
pub(crate) struct KnownAuthorities {
    read: HashMap<Place, Known>,
    /// Of which nothing is known yet.
    unheard: HashSet<Place>,
    /// What was made of what is asked for, and of those authorities as they were then. Connections outlive changes of anything else.
    secured: HashMap<Key, Made>,
    /// Authorities of several ConfigMaps, by the revisions of each.
    joined: HashMap<Vec<u64>, Arc<RootCertStore>>,
    last: u64,
}

/// What is asked for, the revisions of the authorities, and where the certificate is that is shown.
type Key = (BackendTls, Vec<u64>, Option<usize>);

/// What is known of a ConfigMap.
struct Known {
    input: AuthorityInput,
    /// Another with each change.
    revision: u64,
    /// None where it cannot be used.
    authorities: Option<Arc<RootCertStore>>,
}

struct Made {
    /// It is kept, so that no other is where it is.
    _shown: Option<Certificate>,
    /// None where nobody can be believed.
    secured: Option<Arc<Secured>>,
    is_used: bool,
}

impl KnownAuthorities {
    /// Starts from what was there before.
    pub(crate) fn restore(&mut self, inputs: Vec<AuthorityInput>) {
        for input in inputs {
            let place = input.place.clone();
            self.apply(&place, Seen::Is(input));
        }
    }

    /// Takes in a change; true if somebody else is to be believed. Who was believed no longer is once it says something that cannot be used.
    pub(crate) fn apply(&mut self, place: &Place, seen: Seen<AuthorityInput>) -> bool {
        self.unheard.remove(place);
        match seen {
            Seen::Is(input) => {
                if self.read.get(place).is_some_and(|known| known.input == input) {
                    return false;
                }
                let authorities = read_authorities(input.certificates.as_bytes());
                let authorities = authorities
                    .inspect_err(
                        |error| tracing::warn!(config_map = %place, error = error_chain(error), "authorities cannot be used"),
                    )
                    .ok()
                    .map(Arc::new);
                self.last += 1;
                self.read.insert(place.clone(), Known { input, revision: self.last, authorities });
                true
            }
            Seen::Gone => self.read.remove(place).is_some(),
            Seen::Unknown => false,
        }
    }

    /// Keeps those that are wanted. Nothing is known yet of those that are new.
    pub(crate) fn want(&mut self, wanted: &HashSet<Place>, new: impl IntoIterator<Item = Place>) {
        self.read.retain(|place, _| wanted.contains(place));
        self.unheard.retain(|place| wanted.contains(place));
        self.unheard.extend(new);
    }

    /// Whether something is known of each.
    pub(crate) fn are_heard(&self) -> bool {
        self.unheard.is_empty()
    }

    pub(crate) fn inputs(&self) -> Vec<AuthorityInput> {
        self.read.values().map(|known| known.input.clone()).collect()
    }

    /// How backends are reached as is asked for, with this certificate; none where nobody can be believed.
    pub(crate) fn secured(&mut self, asked: &BackendTls, shown: Option<&Certificate>) -> Option<Arc<Secured>> {
        let revisions = self.usable(asked.config_maps()).map(|(revision, _)| revision).collect();
        let key = (asked.clone(), revisions, shown.map(|shown| Arc::as_ptr(shown.key()) as usize));
        if let Some(made) = self.secured.get_mut(&key) {
            made.is_used = true;
            return made.secured.clone();
        }
        let believed = match asked.authorities {
            Authorities::WellKnown => well_known(),
            Authorities::ConfigMaps(_) => self.all(asked.config_maps()),
        };
        let secured = if believed.is_empty() {
            None
        } else {
            let made = Secured::new(asked, believed, shown);
            made.inspect_err(|error| tracing::warn!(error = error_chain(error), "backends cannot be reached by TLS")).ok()
        };
        let secured = secured.map(Arc::new);
        self.secured.insert(key, Made { _shown: shown.cloned(), secured: secured.clone(), is_used: true });
        secured
    }

    /// Which clients may come as is asked for.
    pub(crate) fn let_in(&mut self, asked: &Clients) -> LetIn {
        let authorities = self.all(&asked.authorities);
        let provider = Arc::new(ring::default_provider());
        match WebPkiClientVerifier::builder_with_provider(authorities, provider).build() {
            // Without authorities there is none.
            Err(_) => LetIn::Nobody,
            Ok(_) if asked.is_lax => LetIn::All,
            Ok(verifier) => LetIn::Vouched(verifier),
        }
    }

    /// Which authorities that are: others with each change of any.
    pub(crate) fn revisions(&self, asked: &Clients) -> Vec<u64> {
        self.usable(&asked.authorities).map(|(revision, _)| revision).collect()
    }

    /// The authorities of these ConfigMaps, of those that can be used, with their revisions.
    fn usable(&self, places: &[Place]) -> impl Iterator<Item = (u64, &Arc<RootCertStore>)> {
        let known = places.iter().filter_map(|place| self.read.get(place));
        known.filter_map(|known| Some((known.revision, known.authorities.as_ref()?)))
    }

    /// All of them together. Whoever believes the same has them once.
    fn all(&mut self, places: &[Place]) -> Arc<RootCertStore> {
        let usable: Vec<_> = self.usable(places).map(|(revision, authorities)| (revision, authorities.clone())).collect();
        if let [(_, only)] = usable.as_slice() {
            return only.clone();
        }
        let revisions: Vec<u64> = usable.iter().map(|(revision, _)| *revision).collect();
        let join = || Arc::new(RootCertStore { roots: usable.iter().flat_map(|(_, one)| one.roots.clone()).collect() });
        self.joined.entry(revisions).or_insert_with(join).clone()
    }

    /// Forgets what was not asked for since the last time.
    pub(crate) fn prune(&mut self) {
        self.secured.retain(|_, made| std::mem::take(&mut made.is_used));
        self.joined.retain(|_, joined| Arc::strong_count(joined) > 1);
    }
}

/// Those that browsers believe.
fn well_known() -> Arc<RootCertStore> {
    static WELL_KNOWN: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut authorities = RootCertStore::empty();
        authorities.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        Arc::new(authorities)
    };
    WELL_KNOWN.get_or_init(read).clone()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn place(name: &str) -> Place {
        Place { namespace: "infra".into(), name: name.into() }
    }

    fn authority(name: &str) -> AuthorityInput {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificates = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        AuthorityInput { place: place(name), certificates }
    }

    fn asked(names: &[&str]) -> BackendTls {
        let places = names.iter().map(|name| place(name)).collect();
        BackendTls { authorities: Authorities::ConfigMaps(places), hostname: "a.example".into(), names: Vec::new() }
    }

    #[test]
    fn who_is_reached_changes_with_who_vouches_for_them_and_with_nothing_else() {
        let (mut known, first) = (KnownAuthorities::default(), authority("a"));
        assert!(known.secured(&asked(&["a"]), None).is_none(), "nobody is known yet");
        assert!(known.apply(&first.place, Seen::Is(first.clone())) && !known.apply(&first.place, Seen::Is(first.clone())));
        let id = |known: &mut KnownAuthorities| known.secured(&asked(&["a", "missing"]), None).map(|secured| secured.id());
        let before = id(&mut known).unwrap();
        known.prune();
        assert_eq!(id(&mut known), Some(before));
        assert!(!known.apply(&first.place, Seen::Unknown) && known.apply(&first.place, Seen::Is(authority("a"))));
        assert!(id(&mut known).is_some_and(|after| after != before));
        let nothing = AuthorityInput { place: first.place.clone(), certificates: String::new() };
        assert!(known.apply(&first.place, Seen::Is(nothing)) && id(&mut known).is_none(), "nobody is believed any more");
        known.prune();
        known.prune();
        assert!(known.secured.is_empty());
    }

    #[test]
    fn those_that_browsers_believe_are_known() {
        let asked = BackendTls { authorities: Authorities::WellKnown, ..asked(&[]) };
        assert!(KnownAuthorities::default().secured(&asked, None).is_some());
        let nameless = BackendTls { hostname: "not a name".into(), ..asked };
        assert!(KnownAuthorities::default().secured(&nameless, None).is_none());
    }
}
