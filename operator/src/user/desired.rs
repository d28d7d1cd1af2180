//! What a tenant is made of, computed from its User alone.

use std::collections::{BTreeMap, BTreeSet};

use eddy_crds::{MANAGED_BY, MANAGED_BY_LABEL, TENANT_LABEL, User, core_namespace};
use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec, Namespace, ResourceQuota, ResourceQuotaSpec};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};

use crate::reason::{Reason, Verdict};

/// The policy that walls a tenant off.
pub(super) const POLICY: &str = "eddy-default-deny";
/// The quota, and the defaults of what does not say what it needs.
pub(super) const LIMITS: &str = "eddy";
/// The binding of the tenant's rights; the ClusterRole of that name comes with the chart.
pub(super) const BINDING: &str = "eddy-tenant";

/// Networks that a home or office uses inside: no tenant's program has business there unless a Network says so.
const PRIVATE_IPV4: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"];
const PRIVATE_IPV6: [&str; 2] = ["fc00::/7", "fe80::/10"];

/// What keeps a namespace of the right name from being this User's, if anything does.
pub(super) fn obstacle(user: &User, namespace: &Namespace) -> Option<Verdict> {
    let name = namespace.name_any();
    if namespace.metadata.deletion_timestamp.is_some() {
        return Some(Verdict::new(
            Reason::Progressing,
            format!("waiting until namespace {name}, which is being deleted, is gone"),
        ));
    }
    // A deleted User's namespace must not fall to a new User of the same name: garbage collection takes it first.
    let another = namespace
        .owner_references()
        .iter()
        .any(|owner| owner.kind == User::kind(&()) && Some(&owner.uid) != user.meta().uid.as_ref());
    another.then(|| {
        Verdict::new(Reason::Progressing, format!("waiting until namespace {name} of a deleted User of the same name is gone"))
    })
}

/// Of what a tenant's core namespace has by this name, and its User is the owner of.
pub(crate) fn metadata(user: &User, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(core_namespace(&user.name_any())),
        labels: Some(BTreeMap::from([
            (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
            (TENANT_LABEL.to_owned(), user.name_any()),
        ])),
        owner_references: Some(user.controller_owner_ref(&()).into_iter().collect()),
        ..ObjectMeta::default()
    }
}

pub(super) fn namespace(user: &User) -> Namespace {
    let mut metadata = metadata(user, &core_namespace(&user.name_any()));
    metadata.namespace = None;
    // What pods may ask of the node (Pod Security Standards): nothing that leads out of the container.
    metadata.labels.get_or_insert_default().insert("pod-security.kubernetes.io/enforce".to_owned(), "baseline".to_owned());
    Namespace { metadata, ..Namespace::default() }
}

/// The quota, less the limits in `omitted`.
pub(super) fn resource_quota(user: &User, omitted: &BTreeSet<String>) -> ResourceQuota {
    let quota = &user.spec.quota;
    let hard = [
        ("requests.cpu", quota.cpu.clone()),
        ("requests.memory", quota.memory.clone()),
        ("limits.memory", quota.memory.clone()),
        ("requests.storage", quota.storage.clone()),
        ("pods", quota.pods.to_string()),
        ("count/containers.eddy.cloud", quota.containers.to_string()),
        ("count/vms.eddy.cloud", quota.vms.to_string()),
        ("count/volumes.eddy.cloud", quota.volumes.to_string()),
        ("count/routes.eddy.cloud", quota.routes.to_string()),
        ("count/domains.eddy.cloud", quota.domains.to_string()),
        ("count/serviceaccounts.eddy.cloud", quota.service_accounts.to_string()),
        ("count/tokens.eddy.cloud", quota.tokens.to_string()),
    ];
    let hard = hard.into_iter().map(|(name, value)| (name.to_owned(), Quantity(value)));
    let hard = hard.filter(|(name, _)| !omitted.contains(name)).collect();
    ResourceQuota {
        metadata: metadata(user, LIMITS),
        spec: Some(ResourceQuotaSpec { hard: Some(hard), ..ResourceQuotaSpec::default() }),
        status: None,
    }
}

/// A quota refuses pods that do not say what they need, so what does not say gets a little.
pub(super) fn limit_range(user: &User) -> LimitRange {
    let quantities = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect())
    };
    let item = LimitRangeItem {
        type_: "Container".to_owned(),
        default: quantities(&[("memory", "128Mi")]),
        default_request: quantities(&[("cpu", "50m"), ("memory", "128Mi")]),
        ..LimitRangeItem::default()
    };
    LimitRange { metadata: metadata(user, LIMITS), spec: Some(LimitRangeSpec { limits: vec![item] }) }
}

/// Nothing comes in; out go questions to the cluster's DNS, requests to storage's doors, and traffic to the public internet.
pub(super) fn network_policy(user: &User, system_namespace: &str) -> NetworkPolicy {
    let labels = |key: &str, value: &str| {
        Some(LabelSelector {
            match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
            ..LabelSelector::default()
        })
    };
    let to = |peers: Vec<NetworkPolicyPeer>| NetworkPolicyEgressRule { to: Some(peers), ports: None };
    let network = |cidr: &str, except: &[&str]| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_owned(), except: Some(except.iter().map(|cidr| (*cidr).to_owned()).collect()) }),
        ..NetworkPolicyPeer::default()
    };
    let dns = NetworkPolicyPeer {
        namespace_selector: labels("kubernetes.io/metadata.name", "kube-system"),
        pod_selector: labels("k8s-app", "kube-dns"),
        ..NetworkPolicyPeer::default()
    };
    let doors = NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            namespace_selector: labels("kubernetes.io/metadata.name", system_namespace),
            pod_selector: labels("app.kubernetes.io/name", "eddy-storage-door"),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::String("http".to_owned())),
            ..NetworkPolicyPort::default()
        }]),
    };
    NetworkPolicy {
        metadata: metadata(user, POLICY),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: None,
            egress: Some(vec![
                to(vec![dns]),
                doors,
                to(vec![network("0.0.0.0/0", &PRIVATE_IPV4), network("::/0", &PRIVATE_IPV6)]),
            ]),
        }),
    }
}

pub(super) fn role_binding(user: &User) -> RoleBinding {
    RoleBinding {
        metadata: metadata(user, BINDING),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: BINDING.to_owned(),
        },
        subjects: Some(vec![Subject {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "User".to_owned(),
            name: format!("eddy:{}", user.name_any()),
            namespace: None,
        }]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_crds::UserSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};

    fn user() -> User {
        let mut user = User::new("ada", UserSpec::default());
        user.metadata.uid = Some("uid-1".into());
        user
    }

    #[test]
    fn all_of_a_tenant_belongs_to_its_user_so_that_deleting_the_user_deletes_it() {
        let user = user();
        for metadata in [
            namespace(&user).metadata,
            resource_quota(&user, &BTreeSet::new()).metadata,
            limit_range(&user).metadata,
            network_policy(&user, "eddy-system").metadata,
            role_binding(&user).metadata,
        ] {
            let owner = &metadata.owner_references.as_ref().unwrap()[0];
            assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("User", "uid-1", Some(true)));
            assert_eq!(metadata.labels.unwrap()[TENANT_LABEL], "ada");
        }
    }

    #[test]
    fn nothing_comes_in_by_default() {
        let spec = network_policy(&user(), "eddy-system").spec.unwrap();
        assert_eq!(spec.ingress, None);
        assert_eq!(spec.pod_selector, Some(LabelSelector::default()));
        assert_eq!(spec.policy_types.unwrap(), ["Ingress", "Egress"]);
    }

    #[test]
    fn of_all_that_is_the_cluster_s_a_tenant_reaches_names_and_storage_s_doors_at_their_port() {
        let egress = serde_json::to_value(network_policy(&user(), "eddy-system").spec.unwrap().egress).unwrap();
        let inside: Vec<_> = egress.as_array().unwrap().iter().filter(|rule| rule["to"][0]["podSelector"].is_object()).collect();
        assert_eq!(inside.len(), 2, "{inside:?}");
        assert_eq!(inside[1]["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"], "eddy-storage-door");
        assert_eq!(inside[1]["ports"], serde_json::json!([{"port": "http"}]));
    }

    #[test]
    fn the_quota_is_the_user_s() {
        let mut user = user();
        user.spec.quota.containers = 7;
        let hard = resource_quota(&user, &BTreeSet::new()).spec.unwrap().hard.unwrap();
        assert_eq!(hard["count/containers.eddy.cloud"].0, "7");
        assert_eq!(hard["limits.memory"].0, "8Gi");
        let omitted = BTreeSet::from(["count/containers.eddy.cloud".to_owned()]);
        let hard = resource_quota(&user, &omitted).spec.unwrap().hard.unwrap();
        assert!(!hard.contains_key("count/containers.eddy.cloud") && hard.contains_key("pods"));
    }

    #[test]
    fn a_namespace_of_a_deleted_user_of_the_same_name_is_not_taken_over() {
        let mut left_over = namespace(&user());
        assert_eq!(obstacle(&user(), &left_over), None);
        left_over.metadata.owner_references =
            Some(vec![OwnerReference { kind: "User".into(), uid: "uid-0".into(), ..OwnerReference::default() }]);
        assert!(obstacle(&user(), &left_over).is_some());
        let mut ending = namespace(&user());
        ending.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert!(obstacle(&user(), &ending).is_some());
    }

    #[test]
    fn a_namespace_made_beforehand_is_taken_in() {
        let plain =
            Namespace { metadata: ObjectMeta { name: Some("u-ada".into()), ..ObjectMeta::default() }, ..Namespace::default() };
        assert_eq!(obstacle(&user(), &plain), None);
    }
}
