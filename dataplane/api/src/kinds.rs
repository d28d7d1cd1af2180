//! The kinds that are served: every custom resource, as its definition has it.

use eddy_authz::Kind;
use eddy_crds::{GROUP, core_namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ApiResource;
use kube::core::GroupVersionKind;

/// A kind.
#[derive(Clone, Debug)]
pub(crate) struct ServedKind {
    /// As paths call it.
    pub(crate) plural: String,
    /// What scopes call it.
    pub(crate) scope: Kind,
    /// Whether its objects are in core namespaces.
    pub(crate) is_tenanted: bool,
    pub(crate) resource: ApiResource,
}

/// Every kind, in the order of the documentation.
pub(crate) fn all() -> Vec<ServedKind> {
    eddy_crds::all().iter().filter_map(of_definition).collect()
}

fn of_definition(definition: &CustomResourceDefinition) -> Option<ServedKind> {
    let (names, version) = (&definition.spec.names, definition.spec.versions.first()?);
    let scope = Kind::ALL.iter().copied().find(|kind| kind.as_str() == names.plural)?;
    let kind = GroupVersionKind::gvk(GROUP, &version.name, &names.kind);
    Some(ServedKind {
        plural: names.plural.clone(),
        scope,
        is_tenanted: definition.spec.scope == "Namespaced",
        resource: ApiResource::from_gvk_with_plural(&kind, &names.plural),
    })
}

impl ServedKind {
    /// The path of all of its objects of a tenant, or of one, at the Kubernetes API.
    pub(crate) fn path(&self, tenant: &str, name: Option<&str>) -> String {
        let version = &self.resource.api_version;
        let mut path = match self.is_tenanted {
            true => format!("/apis/{version}/namespaces/{}/{}", core_namespace(tenant), self.plural),
            false => format!("/apis/{version}/{}", self.plural),
        };
        if let Some(name) = name {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_served() {
        assert_eq!(all().len(), eddy_crds::all().len(), "each has a word in scopes");
        let kinds = all();
        let of = |plural: &str| kinds.iter().find(|kind| kind.plural == plural).unwrap();
        assert_eq!(of("users").path("ada", Some("ada")), "/apis/eddy.cloud/v1alpha1/users/ada");
        assert_eq!(of("serviceaccounts").path("ada", None), "/apis/eddy.cloud/v1alpha1/namespaces/u-ada/serviceaccounts");
        assert_eq!((of("namespaces").scope, of("vms").scope), (Kind::Namespaces, Kind::Vms));
    }
}
