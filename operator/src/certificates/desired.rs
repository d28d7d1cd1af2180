//! Who may read which certificates of a namespace.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Of the Role and its binding for what Routes name. The operator's own rights, and what is checked at admission, name it.
pub(super) const NAME: &str = "eddy-gateway-certificates";
/// The gateway watches them, and the operator looks whether they are any good.
const READERS: [&str; 2] = ["eddy-gateway", "eddy-operator"];
const RBAC: &str = "rbac.authorization.k8s.io";

/// To read the objects of these names, of kinds as they are called in addresses. Where a kind has none there is no rule: it would be one for all.
pub(crate) fn role(metadata: ObjectMeta, names: impl IntoIterator<Item = (&'static str, BTreeSet<String>)>) -> Role {
    let rule = |(kind, names): (&str, BTreeSet<String>)| PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![kind.to_owned()]),
        resource_names: Some(names.into_iter().collect()),
        verbs: ["get", "list", "watch"].map(str::to_owned).to_vec(),
        ..PolicyRule::default()
    };
    Role { metadata, rules: Some(names.into_iter().filter(|(_, names)| !names.is_empty()).map(rule).collect()) }
}

/// Lets the gateway and the operator do what the Role of this name says.
pub(crate) fn binding(metadata: ObjectMeta, role: &str, system_namespace: &str) -> RoleBinding {
    let subject = |name: &str| Subject {
        api_group: None,
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: Some(system_namespace.to_owned()),
    };
    RoleBinding {
        metadata,
        role_ref: RoleRef { api_group: RBAC.to_owned(), kind: "Role".to_owned(), name: role.to_owned() },
        subjects: Some(READERS.map(subject).to_vec()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use eddy_crds::{User, UserSpec};
    use kube::ResourceExt;

    use crate::user::metadata;

    #[test]
    fn only_named_secrets_are_read_and_only_by_the_gateway_and_the_operator() {
        let user = User::new("ada", UserSpec::default());
        let names = [("secrets", ["b".to_owned(), "a".to_owned()].into()), ("configmaps", BTreeSet::new())];
        let role = role(metadata(&user, NAME), names);
        assert_eq!((role.namespace().as_deref(), role.name_any().as_str()), (Some("u-ada"), NAME));
        let rules = role.rules.unwrap();
        assert_eq!((rules.len(), rules[0].resource_names.as_deref().unwrap()), (1, &["a".to_owned(), "b".to_owned()][..]));
        let subjects = binding(metadata(&user, NAME), NAME, "eddy-system").subjects.unwrap();
        let readers: Vec<_> = subjects.iter().map(|subject| (subject.name.as_str(), subject.namespace.as_deref())).collect();
        assert_eq!(readers, [("eddy-gateway", Some("eddy-system")), ("eddy-operator", Some("eddy-system"))]);
    }
}
