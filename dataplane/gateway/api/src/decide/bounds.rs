//! How many objects that Gateways name are read: each is watched by every gateway.

use std::collections::{BTreeMap, BTreeSet};

use eddy_certificates::{SECRETS_A_TENANT_MAX, readable};

use super::{GatewayDecision, Problem};
use crate::place::Place;

/// Leaves out the Secrets and ConfigMaps of a namespace that are more than are read of one, by its oldest Gateways.
pub(super) fn leave_out(oldest: &[Place], gateways: &mut BTreeMap<Place, GatewayDecision>) {
    let oldest = || oldest.iter().filter_map(|place| gateways.get(place));
    let of_one = |gateway: &GatewayDecision| -> Vec<Place> {
        let of_listeners = gateway.listeners.iter().flat_map(|listener| listener.certificates.clone());
        of_listeners.chain(gateway.client_certificate.clone().and_then(Result::ok)).collect()
    };
    let secrets: Vec<Place> = oldest().flat_map(of_one).collect();
    let clients = oldest().flat_map(|gateway| &gateway.listeners).filter_map(|listener| listener.clients.as_ref());
    let maps: Vec<Place> = clients.flat_map(|clients| clients.authorities.clone()).collect();
    let (secrets, maps) = (read(&secrets), read(&maps));
    for gateway in gateways.values_mut() {
        if matches!(&gateway.client_certificate, Some(Ok(secret)) if !secrets.contains(secret)) {
            gateway.client_certificate = Some(Err(Problem::new("InvalidClientCertificateRef", too_many("spec.tls.backend"))));
        }
    }
    for listener in gateways.values_mut().flat_map(|gateway| &mut gateway.listeners) {
        let before = listener.certificates.len();
        listener.certificates.retain(|secret| secrets.contains(secret));
        if listener.certificates.len() < before {
            let problem = || Problem::new("InvalidCertificateRef", too_many("tls.certificateRefs"));
            listener.unresolved.get_or_insert_with(problem);
        }
        let Some(clients) = &mut listener.clients else { continue };
        let before = clients.authorities.len();
        clients.authorities.retain(|map| maps.contains(map));
        if clients.authorities.len() < before {
            let problem = || Problem::new("InvalidCACertificateRef", too_many("spec.tls.frontend"));
            listener.unresolved.get_or_insert_with(problem);
        }
    }
}

/// Those that are read of what is named, the oldest first.
pub(super) fn read(named: &[Place]) -> BTreeSet<Place> {
    let read = readable(named.iter().map(|place| (&*place.namespace, &*place.name)));
    read.into_iter().map(|(namespace, name)| Place::new(namespace, name)).collect()
}

pub(super) fn too_many(field: &str) -> String {
    format!("{field}: of one namespace, {SECRETS_A_TENANT_MAX} objects are read, those that the oldest name")
}
