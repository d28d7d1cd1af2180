//! Certificates of tenants: each Secret that a Route names is watched by its name, since a gateway may read no others.

use std::collections::{HashMap, HashSet};

use eddy_certificates::Certificate;
use eddy_telemetry::error_chain;
use eddy_watch::watch;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::inputs::{Place, SecretInput};
use crate::watch::Change;

/// What is known of a Secret.
#[derive(Debug)]
pub(crate) enum SecretChange {
    /// It is this now.
    Is(Box<SecretInput>),
    /// It is not there.
    Gone,
    /// That cannot be known now.
    Unknown,
}

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
            self.apply(&place, SecretChange::Is(Box::new(secret)));
        }
    }

    /// Takes in a change; true if another certificate is to be served. One that cannot be used takes the place of none.
    pub(crate) fn apply(&mut self, place: &Place, change: SecretChange) -> bool {
        self.unheard.remove(place);
        match change {
            SecretChange::Is(secret) => {
                if self.read.get(place) == Some(&*secret) {
                    return false;
                }
                match Certificate::read(secret.chain.as_bytes(), secret.key.as_bytes()) {
                    Ok(certificate) => {
                        self.certificates.insert(place.clone(), certificate);
                        self.read.insert(place.clone(), *secret);
                        true
                    }
                    Err(error) => {
                        tracing::warn!(secret = %place, error = error_chain(&error), "a certificate cannot be used");
                        false
                    }
                }
            }
            SecretChange::Gone => {
                self.read.remove(place);
                self.certificates.remove(place).is_some()
            }
            SecretChange::Unknown => false,
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

/// The watches of those that are wanted.
pub(crate) struct Watches {
    client: Client,
    changes: mpsc::Sender<Change>,
    running: HashMap<Place, AbortHandle>,
}

impl Watches {
    pub(crate) fn new(client: Client, changes: mpsc::Sender<Change>) -> Self {
        Self { client, changes, running: HashMap::new() }
    }

    /// Watches these and no others. Returns those that it did not before.
    pub(crate) fn want(&mut self, wanted: &HashSet<Place>) -> Vec<Place> {
        self.running.retain(|place, watch| {
            let is_wanted = wanted.contains(place);
            if !is_wanted {
                watch.abort();
            }
            is_wanted
        });
        let new: Vec<Place> = wanted.iter().filter(|place| !self.running.contains_key(place)).cloned().collect();
        for place in &new {
            let task = tokio::spawn(follow(self.client.clone(), place.clone(), self.changes.clone()));
            self.running.insert(place.clone(), task.abort_handle());
        }
        new
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.running.values().for_each(AbortHandle::abort);
    }
}

/// Passes on what a Secret is, for as long as somebody takes it.
async fn follow(client: Client, place: Place, changes: mpsc::Sender<Change>) {
    let api: Api<Secret> = Api::namespaced(client, &place.namespace);
    let by_name = watcher::Config::default().fields(&format!("metadata.name={}", place.name));
    let mut events = std::pin::pin!(watch(api, by_name));
    let mut is_listed = false;
    while let Some(event) = events.next().await {
        let is = |secret: Secret| SecretChange::Is(Box::new(SecretInput::of(&secret)));
        let change = match event {
            Ok(Event::Init) => {
                is_listed = false;
                None
            }
            Ok(Event::InitApply(secret)) => {
                is_listed = true;
                Some(is(secret))
            }
            Ok(Event::InitDone) if is_listed => None,
            Ok(Event::InitDone | Event::Delete(_)) => Some(SecretChange::Gone),
            Ok(Event::Apply(secret)) => Some(is(secret)),
            Err(error) => {
                // The operator lets gateways read it a moment after the Route that names it is there.
                tracing::debug!(secret = %place, %error, "failed to watch a certificate; it is tried again");
                Some(SecretChange::Unknown)
            }
        };
        if let Some(change) = change
            && changes.send(Change::Secret(place.clone(), change)).await.is_err()
        {
            return;
        }
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

    fn is(secret: &SecretInput) -> SecretChange {
        SecretChange::Is(Box::new(secret.clone()))
    }

    #[test]
    fn a_certificate_stays_until_another_can_be_used_or_it_is_gone() {
        let (mut secrets, [first, second]) = (Secrets::default(), [secret("s"), secret("s")]);
        assert!(secrets.apply(&first.place, is(&first)) && !secrets.apply(&first.place, is(&first)));
        let broken = SecretInput { key: first.key.clone(), ..second.clone() };
        assert!(!secrets.apply(&broken.place, is(&broken)) && !secrets.apply(&first.place, SecretChange::Unknown));
        assert_eq!((secrets.inputs(), secrets.certificates().len()), (vec![first.clone()], 1));
        assert!(secrets.apply(&second.place, is(&second)) && secrets.inputs() == [second.clone()]);
        assert!(secrets.apply(&second.place, SecretChange::Gone) && !secrets.apply(&second.place, SecretChange::Gone));
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
        secrets.apply(&place("new"), SecretChange::Unknown);
        assert!(secrets.are_heard());
    }
}
