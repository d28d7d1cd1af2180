//! Names that every component agrees on: labels, the field manager, core namespaces.

/// The API group of every kind.
pub const GROUP: &str = "eddy.cloud";

/// The one field manager of the operator's server-side applies. Renaming it would orphan the
/// ownership of every field it ever set.
pub const FIELD_MANAGER: &str = "eddy-operator";

/// The well-known label that says which tool manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// The value of [`MANAGED_BY_LABEL`] on everything that the operator makes.
pub const MANAGED_BY: &str = "eddy-operator";

/// On every object made for a Container, its name. Kubernetes copies it from a Service to its
/// EndpointSlices, which is how the gateway finds a Container's addresses.
pub const CONTAINER_LABEL: &str = "eddy.cloud/container";

/// On a tenant's core namespace, the name of its User.
pub const TENANT_LABEL: &str = "eddy.cloud/tenant";

/// On a Namespace, until storage has let go of what it stands for.
pub const STORAGE_FINALIZER: &str = "eddy.cloud/storage";

/// What a core namespace's name starts with.
const CORE_NAMESPACE_PREFIX: &str = "u-";

/// The core namespace of a tenant: `u-<user>`.
pub fn core_namespace(user: &str) -> String {
    format!("{CORE_NAMESPACE_PREFIX}{user}")
}

/// The tenant whose core namespace this is, if it is one.
pub fn tenant_of(core_namespace: &str) -> Option<&str> {
    core_namespace.strip_prefix(CORE_NAMESPACE_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_namespace_names_its_tenant() {
        assert_eq!(tenant_of(&core_namespace("ada")), Some("ada"));
        assert_eq!(tenant_of("kube-system"), None);
    }
}
