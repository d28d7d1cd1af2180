//! Certificates of clients, and those that gateways show backends.

use super::Problem;
use super::grants::Grants;
use crate::place::Place;
use crate::types::{ClientValidation, Gateway, ObjectReference};

/// What is asked of clients that begin TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// The ConfigMaps with the authorities of which one must vouch for them, under `ca.crt`.
    pub authorities: Vec<Place>,
    /// Whoever nobody vouches for may come all the same.
    pub is_lax: bool,
}

/// What a Gateway of a namespace asks of clients, and what is wrong with what it names.
pub(super) fn asked(validation: &ClientValidation, namespace: &str, grants: &Grants<'_>) -> (Clients, Option<Problem>) {
    let (mut authorities, mut problem) = (Vec::with_capacity(validation.ca_certificate_refs.len()), None);
    for reference in &validation.ca_certificate_refs {
        let place = place(reference, namespace);
        if !reference.is_core("ConfigMap", "") {
            let message = "spec.tls.frontend: authorities are in ConfigMaps, and in nothing else";
            problem.get_or_insert_with(|| Problem::new("InvalidCACertificateKind", message));
        } else if !grants.permit(("Gateway", namespace), ("ConfigMap", &place)) {
            problem.get_or_insert_with(|| not_permitted("spec.tls.frontend", "ConfigMap", &place));
        } else {
            authorities.push(place);
        }
    }
    (Clients { authorities, is_lax: validation.mode.as_deref() == Some("AllowInsecureFallback") }, problem)
}

/// The Secret with the certificate that backends are shown, and what is wrong with what is named.
pub(super) fn shown(gateway: &Gateway, namespace: &str, grants: &Grants<'_>) -> Option<Result<Place, Problem>> {
    let backend = gateway.spec.tls.as_ref()?.backend.as_ref()?;
    let reference = backend.client_certificate_ref.as_ref()?;
    let place = place(reference, namespace);
    if !reference.is_core("Secret", "Secret") {
        let message = "spec.tls.backend: a certificate is in a Secret, and in nothing else";
        return Some(Err(Problem::new("InvalidClientCertificateRef", message)));
    }
    if !grants.permit(("Gateway", namespace), ("Secret", &place)) {
        return Some(Err(not_permitted("spec.tls.backend", "Secret", &place)));
    }
    Some(Ok(place))
}

fn place(reference: &ObjectReference, namespace: &str) -> Place {
    Place::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name)
}

fn not_permitted(field: &str, kind: &str, place: &Place) -> Problem {
    let message = format!("{field}: no ReferenceGrant of namespace {} lets {kind} {place} be named", place.namespace);
    Problem::new("RefNotPermitted", message)
}
