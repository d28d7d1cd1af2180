//! Of all certificates, that of the name that a client asks for.

use std::sync::Arc;

use eddy_router::HostMap;
use rustls::sign::CertifiedKey;

use crate::certificate::Certificate;

/// The certificates of all hosts that are served, and whose each host is.
#[derive(Clone, Debug, Default)]
pub struct Certificates(HostMap<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    holder: Box<str>,
    /// None for the platform's own.
    key: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Gives a host, or all names below one, as in `*.example.com`, which this tenant holds, its certificate, unless it has one. Hosts without
    /// are given as well: nobody else's wildcard is for them.
    pub fn give(&mut self, host: &str, holder: &str, certificate: Option<&Certificate>) {
        let entry = self.0.get_or_insert_with(host, || Entry { holder: holder.into(), key: None });
        if entry.key.is_none() && *entry.holder == *holder {
            entry.key = certificate.map(|certificate| certificate.key().clone());
        }
    }

    /// That of a name in lower case: its own, or that of the nearest wildcard above it which whoever holds the name has a certificate for. None
    /// for the platform's own.
    pub fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let mut entries = self.0.all(name);
        let nearest = entries.next()?;
        let of_holder = entries.filter(|entry| entry.holder == nearest.holder);
        std::iter::once(nearest).chain(of_holder).find_map(|entry| entry.key.as_ref())
    }

    /// How many hosts have one of their own.
    pub fn count(&self) -> usize {
        self.0.values().filter(|entry| entry.key.is_some()).count()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::certificate::tests::of;

    fn is(certificates: &Certificates, name: &str, certificate: &Certificate) -> bool {
        certificates.find(name).is_some_and(|found| Arc::ptr_eq(found, certificate.key()))
    }

    #[test]
    fn the_nearest_is_chosen_and_the_first_stays() {
        let [own, near, far, late] = ["a", "b", "c", "d"].map(|name| of(&[name]));
        let mut certificates = Certificates::default();
        for (host, certificate) in [
            ("a.example.com", None),
            ("a.example.com", Some(&own)),
            ("*.b.example.com", Some(&near)),
            ("*.example.com", Some(&far)),
            ("a.example.com", Some(&late)),
            ("plain.example.com", None),
        ] {
            certificates.give(host, "ada", certificate);
        }
        assert!(is(&certificates, "a.example.com", &own));
        assert!(is(&certificates, "x.b.example.com", &near) && is(&certificates, "x.y.b.example.com", &near));
        assert!(is(&certificates, "b.example.com", &far) && is(&certificates, "x.a.example.com", &far));
        assert!(is(&certificates, "plain.example.com", &far), "the wildcard's holder holds it, too");
        for none in ["example.com", "com", ""] {
            assert!(certificates.find(none).is_none(), "{none:?}");
        }
        assert_eq!(certificates.count(), 3);
    }

    #[test]
    fn nobody_has_anothers_certificate() {
        let (wide, mine) = (of(&["w"]), of(&["m"]));
        let mut certificates = Certificates::default();
        certificates.give("cloud.example.com", "eddy-system", None);
        certificates.give("old.example.com", "bob", None);
        certificates.give("*.bob.example.com", "bob", None);
        certificates.give("*.example.com", "ada", Some(&wide));
        certificates.give("*.ada.example.com", "ada", None);
        certificates.give("x.bob.example.com", "eve", Some(&mine));
        for other in ["cloud.example.com", "old.example.com", "y.bob.example.com"] {
            assert!(certificates.find(other).is_none(), "{other}");
        }
        // It is not theirs to give.
        certificates.give("cloud.example.com", "ada", Some(&wide));
        assert!(certificates.find("cloud.example.com").is_none());
        assert!(is(&certificates, "y.ada.example.com", &wide) && is(&certificates, "y.example.com", &wide));
        assert!(is(&certificates, "x.bob.example.com", &mine));
    }
}
