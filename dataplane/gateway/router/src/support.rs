//! What this gateway does not do yet.
//!
//! A Route that asks for a protection which is not enforced must not be served without it, so such a Route
//! is left out of the table and its status says why.

use eddy_crds::{RouteProtocol, RouteSpec};

/// The first field of a Route that asks for something which is not done yet, by its path.
#[must_use]
pub fn unsupported(spec: &RouteSpec) -> Option<&'static str> {
    let checks = [
        (spec.protocol == RouteProtocol::SSH, "spec.protocol"),
        (spec.backends.iter().any(|backend| backend.vm.is_some()), "spec.backends[].vm"),
    ];
    checks.into_iter().find_map(|(asked, field)| asked.then_some(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protection_that_is_not_enforced_is_named() {
        let plain = RouteSpec::default();
        assert_eq!(unsupported(&plain), None);
        let of_a_domain = RouteSpec { domain: Some("example".to_owned()), ..plain.clone() };
        assert_eq!(unsupported(&of_a_domain), None);
        let shell = RouteSpec { protocol: RouteProtocol::SSH, ..plain };
        assert_eq!(unsupported(&shell), Some("spec.protocol"));
    }
}
