//! Kinds, by whatever somebody calls them.

use eddy_crds::core_namespace;

use crate::client::escaped_part;
use crate::error::CliError;

/// A kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) name: String,
    pub(crate) plural: String,
    /// Whether its objects are a tenant's.
    pub(crate) is_tenanted: bool,
}

/// Every kind, as its definition has it, and what else it is called.
fn all() -> Vec<(Kind, Vec<String>)> {
    let kinds = eddy_crds::all().into_iter().map(|definition| {
        let names = definition.spec.names;
        let mut others = names.short_names.unwrap_or_default();
        others.extend(names.singular);
        let is_tenanted = definition.spec.scope == "Namespaced";
        (Kind { name: names.kind, plural: names.plural, is_tenanted }, others)
    });
    kinds.collect()
}

/// The kind that somebody calls so.
pub(crate) fn find(called: &str) -> Result<Kind, CliError> {
    let called = called.to_ascii_lowercase();
    let called = called.strip_suffix(".eddy.cloud").unwrap_or(&called);
    let all = all();
    let found = all.iter().find(|(kind, others)| {
        kind.plural == *called || kind.name.to_ascii_lowercase() == *called || others.iter().any(|other| other == called)
    });
    found.map(|(kind, _)| kind.clone()).ok_or_else(|| {
        let plurals: Vec<&str> = all.iter().map(|(kind, _)| &*kind.plural).collect();
        CliError::Wrong(format!("there is no kind {called:?}: there are {}", plurals.join(", ")))
    })
}

impl Kind {
    /// The path of all of a tenant, or, without one, of all that there are.
    pub(crate) fn path(&self, tenant: Option<&str>) -> String {
        match tenant.filter(|_| self.is_tenanted) {
            Some(tenant) => format!("/api/v1/tenants/{}/{}", escaped_part(tenant), self.plural),
            None => format!("/api/v1/{}", self.plural),
        }
    }

    /// The path of one.
    pub(crate) fn path_of(&self, tenant: &str, name: &str) -> String {
        format!("{}/{}", self.path(Some(tenant)), escaped_part(name))
    }
}

/// That something is a name as Kubernetes has them: nothing in it leads out of a path.
pub(crate) fn named(name: &str) -> Result<&str, CliError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_name = name.bytes().all(|byte| plain(byte) || b"-.".contains(&byte))
        && [name.bytes().next(), name.bytes().next_back()].iter().all(|end| end.is_some_and(plain));
    if is_name {
        Ok(name)
    } else {
        Err(CliError::Wrong(format!("{name:?} is no name: lower-case letters, digits, dashes and dots are")))
    }
}

/// The tenant of a core namespace.
pub(crate) fn tenant_of(namespace: &str) -> Option<&str> {
    eddy_crds::tenant_of(namespace).filter(|tenant| core_namespace(tenant) == namespace)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_many_names() {
        for called in ["containers", "Container", "ctr", "containers.eddy.cloud"] {
            assert_eq!(find(called).unwrap().plural, "containers", "{called}");
        }
        assert_eq!(find("sns").unwrap().name, "Namespace");
        assert!(find("pods").unwrap_err().to_string().contains("there are users, "), "{}", find("pods").unwrap_err());
        let (container, user) = (find("ctr").unwrap(), find("user").unwrap());
        assert_eq!(container.path_of("ada", "a/b"), "/api/v1/tenants/ada/containers/a%2Fb");
        assert!(named("a.b-c").is_ok());
        for wrong in ["", "..", "../a", "a/b", "A", "-a", "a b", "ä"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
        assert_eq!((container.path(None), user.path_of("ada", "ada")), ("/api/v1/containers".into(), "/api/v1/users/ada".into()));
        assert_eq!((tenant_of("u-ada"), tenant_of("default")), (Some("ada"), None));
    }
}
