//! Certificates of tenants, of the Secrets that are there.

use std::collections::{HashMap, HashSet};

use eddy_certificates::Certificate;
use eddy_telemetry::error_chain;

use crate::inputs::{Place, SecretInput};
use crate::named::Seen;

/// The certificates of the Secrets that are there.
#[derive(Default)]
pub(crate) struct Secrets {
    read: HashMap<Place, SecretInput>,
    certificates: HashMap<Place, Certificate>,
    /// Of which nothing is known yet.
    unheard: HashSet<Place>,
}

impl Secrets {
    /// Starts from what was there before.
    pub(crate) fn restore(&mut self, secrets: Vec<SecretInput>) {
        for secret in secrets {
            let place = secret.place.clone();
            self.apply(&place, Seen::Is(secret));
        }
    }

    /// Takes in a change; true if another certificate is to be served. One that cannot be used takes the place of none.
    pub(crate) fn apply(&mut self, place: &Place, change: Seen<SecretInput>) -> bool {
        self.unheard.remove(place);
        match change {
            Seen::Is(secret) => {
                if self.read.get(place) == Some(&secret) {
                    return false;
                }
                match Certificate::read(secret.chain.as_bytes(), secret.key.as_bytes()) {
                    Ok(certificate) => {
                        self.certificates.insert(place.clone(), certificate);
                        self.read.insert(place.clone(), secret);
                        true
                    }
                    Err(error) => {
                        tracing::warn!(secret = %place, error = error_chain(&error), "a certificate cannot be used");
                        false
                    }
                }
            }
            Seen::Gone => {
                self.read.remove(place);
                self.certificates.remove(place).is_some()
            }
            Seen::Unknown => false,
        }
    }

    /// Keeps those that are wanted. Nothing is known yet of those that are new.
    pub(crate) fn want(&mut self, wanted: &HashSet<Place>, new: impl IntoIterator<Item = Place>) {
        self.read.retain(|place, _| wanted.contains(place));
        self.certificates.retain(|place, _| wanted.contains(place));
        self.unheard.retain(|place| wanted.contains(place));
        self.unheard.extend(new);
    }

    /// Whether something is known of each.
    pub(crate) fn are_heard(&self) -> bool {
        self.unheard.is_empty()
    }

    pub(crate) fn certificates(&self) -> &HashMap<Place, Certificate> {
        &self.certificates
    }

    pub(crate) fn inputs(&self) -> Vec<SecretInput> {
        self.read.values().cloned().collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn place(name: &str) -> Place {
        Place { namespace: "u-ada".into(), name: name.into() }
    }

    fn secret(name: &str) -> SecretInput {
        let key = KeyPair::generate().unwrap();
        let chain = CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        SecretInput { place: place(name), chain, key: key.serialize_pem() }
    }

    fn is(secret: &SecretInput) -> Seen<SecretInput> {
        Seen::Is(secret.clone())
    }

    #[test]
    fn a_certificate_stays_until_another_can_be_used_or_it_is_gone() {
        let (mut secrets, [first, second]) = (Secrets::default(), [secret("s"), secret("s")]);
        assert!(secrets.apply(&first.place, is(&first)) && !secrets.apply(&first.place, is(&first)));
        let broken = SecretInput { key: first.key.clone(), ..second.clone() };
        assert!(!secrets.apply(&broken.place, is(&broken)) && !secrets.apply(&first.place, Seen::Unknown));
        assert_eq!((secrets.inputs(), secrets.certificates().len()), (vec![first.clone()], 1));
        assert!(secrets.apply(&second.place, is(&second)) && secrets.inputs() == [second.clone()]);
        assert!(secrets.apply(&second.place, Seen::Gone) && !secrets.apply(&second.place, Seen::Gone));
        assert!(secrets.inputs().is_empty() && secrets.certificates().is_empty());
        assert!(!format!("{first:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_nobody_wants_is_forgotten_and_what_is_new_is_waited_for() {
        let (mut secrets, kept, gone) = (Secrets::default(), secret("kept"), secret("gone"));
        secrets.restore(vec![kept.clone(), gone]);
        let wanted = [kept.place.clone(), place("new")].into_iter().collect();
        secrets.want(&wanted, [place("new")]);
        assert!(secrets.inputs() == [kept] && !secrets.are_heard());
        secrets.apply(&place("new"), Seen::Unknown);
        assert!(secrets.are_heard());
    }
}
