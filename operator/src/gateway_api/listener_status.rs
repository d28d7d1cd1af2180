//! What is said of listeners, whoever has them.

use std::collections::BTreeSet;

use eddy_gateway_api::types::{GatewayAddress, ListenerStatus};
use eddy_gateway_api::{ListenerDecision, Problem, Protocol};
use eddy_router::Port;
use jiff::Timestamp;

use super::certificates::Named;
use super::conditions::Conditions;

/// What is wrong with something that is named, if anything is.
pub(super) type Wrong<'a> = &'a dyn Fn(&Named) -> Option<String>;

/// What is open for a Gateway.
pub(super) struct Opening {
    pub(super) addresses: Vec<GatewayAddress>,
    /// The ports that cannot be, since there are as many as may be.
    pub(super) missing: BTreeSet<Port>,
}

impl Opening {
    /// Why these listeners are not all served.
    pub(super) fn problem<'a>(&self, mut listeners: impl Iterator<Item = &'a ListenerDecision>) -> Option<Problem> {
        if listeners.any(|listener| self.is_missing(listener)) {
            let message = "no more ports can be opened for this namespace: some of the listeners are not served";
            return Some(Problem { reason: "NoResources", message: message.to_owned() });
        }
        let message = "waiting until its Service is given an address".to_owned();
        self.addresses.is_empty().then_some(Problem { reason: "AddressNotAssigned", message })
    }

    fn is_missing(&self, listener: &ListenerDecision) -> bool {
        listener.is_accepted() && listener.port().is_some_and(|port| self.missing.contains(&port))
    }
}

/// Whether it can be served, to anybody.
pub(super) fn is_accepted(listener: &ListenerDecision, wrong: Wrong<'_>) -> bool {
    listener.is_accepted() && nobody(listener, wrong).is_none()
}

/// Whether some of it is served: it takes Routes, and where TLS ends there is a certificate.
pub(super) fn is_good(listener: &ListenerDecision, wrong: Wrong<'_>) -> bool {
    let ends_tls = matches!(listener.protocol, Some(Protocol::Https | Protocol::TlsEnded));
    let has_certificate = || certificates(listener).any(|secret| wrong(&secret).is_none());
    is_accepted(listener, wrong) && !listener.kinds.is_empty() && (!ends_tls || has_certificate())
}

/// Why some of what a listener names is not there.
pub(super) fn unresolved(listener: &ListenerDecision, wrong: Wrong<'_>) -> Option<Problem> {
    let of_secret = || {
        let message = certificates(listener).find_map(|secret| wrong(&secret))?;
        Some(Problem { reason: "InvalidCertificateRef", message })
    };
    let of_map = || {
        let message = authorities(listener).find_map(|map| wrong(&map))?;
        Some(Problem { reason: "InvalidCACertificateRef", message })
    };
    listener.unresolved.clone().or_else(of_secret).or_else(of_map)
}

fn certificates(listener: &ListenerDecision) -> impl Iterator<Item = Named> {
    listener.certificates.iter().cloned().map(Named::Certificate)
}

fn authorities(listener: &ListenerDecision) -> impl Iterator<Item = Named> {
    let clients = listener.clients.iter();
    clients.flat_map(|clients| &clients.authorities).cloned().map(Named::Authorities)
}

/// Why no client is let in, where they are asked for certificates.
fn nobody(listener: &ListenerDecision, wrong: Wrong<'_>) -> Option<Problem> {
    listener.clients.as_ref()?;
    let message = "spec.tls.frontend: none of the authorities can be used".to_owned();
    let is_nobody = authorities(listener).all(|map| wrong(&map).is_some());
    is_nobody.then_some(Problem { reason: "NoValidCACertificate", message })
}

/// What is said of the listeners of one object.
pub(super) fn statuses<'a>(
    before: &[ListenerStatus],
    decided: impl Iterator<Item = &'a ListenerDecision>,
    generation: Option<i64>,
    (wrong, opening): (Wrong<'_>, &Opening),
    now: Timestamp,
) -> Vec<ListenerStatus> {
    let one = |decided: &ListenerDecision| {
        let before = before.iter().find(|before| before.name == decided.name);
        let before = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
        listener(decided, wrong, opening.is_missing(decided), Conditions::new(before, generation, now))
    };
    decided.map(one).collect()
}

fn listener(decided: &ListenerDecision, wrong: Wrong<'_>, is_missing: bool, mut conditions: Conditions<'_>) -> ListenerStatus {
    let nobody = nobody(decided, wrong);
    let obstacle = decided.conflict.as_ref().or(decided.problem.as_ref()).or(nobody.as_ref());
    let unresolved = unresolved(decided, wrong);
    conditions.unless(obstacle, "Accepted", ("Accepted", "it can be served"));
    match &decided.conflict {
        Some(conflict) => conditions.put("Conflicted", true, conflict.reason, &conflict.message),
        None => conditions.put("Conflicted", false, "NoConflicts", "no other listener has the same"),
    };
    conditions.unless(unresolved.as_ref(), "ResolvedRefs", ("ResolvedRefs", "all that it names is there"));
    // It is served as far as it can be; that is said only of what is whole.
    let is_whole = obstacle.is_none() && unresolved.is_none();
    match (&decided.conflict, is_whole) {
        (_, true) if is_missing => {
            conditions.put("Programmed", false, "PortUnavailable", "no more ports can be opened for this namespace")
        }
        (_, true) => conditions.put("Programmed", true, "Programmed", "its port is open"),
        // What has lost to another is told apart from what is wrong in itself.
        (Some(conflict), _) if decided.set.is_some() => conditions.put("Programmed", false, conflict.reason, &conflict.message),
        _ => conditions.put("Programmed", false, "Invalid", "something in it is wrong, as its other conditions say"),
    };
    ListenerStatus {
        name: decided.name.clone(),
        supported_kinds: decided.kinds.clone(),
        attached_routes: i32::try_from(decided.attached.len()).unwrap_or(i32::MAX),
        conditions: conditions.end(),
    }
}
