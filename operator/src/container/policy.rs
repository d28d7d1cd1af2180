//! Who may reach a Container.

use std::collections::BTreeMap;

use eddy_crds::Container;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::labels::{metadata, selector};

/// Opens the declared ports to the gateway; all else stays shut by the tenant's default.
pub(super) fn network_policy(container: &Container, system_namespace: &str) -> NetworkPolicy {
    let labels = |key: &str, value: &str| {
        Some(LabelSelector {
            match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
            ..LabelSelector::default()
        })
    };
    let gateway = NetworkPolicyPeer {
        namespace_selector: labels("kubernetes.io/metadata.name", system_namespace),
        pod_selector: labels("app.kubernetes.io/name", "eddy-gateway"),
        ip_block: None,
    };
    let port = |port: &eddy_crds::ContainerPort| NetworkPolicyPort {
        port: Some(IntOrString::Int(port.port)),
        protocol: Some(port.protocol().as_str().to_owned()),
        end_port: None,
    };
    NetworkPolicy {
        metadata: metadata(container),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(&container.name_any())),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(vec![gateway]),
                ports: Some(container.spec.ports.iter().map(port).collect()),
            }]),
            egress: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_gateway_and_only_to_declared_ports() {
        let container = Container::new("web", serde_json::from_value(json!({"image": "x", "ports": [{"port": 80}]})).unwrap());
        let policy = serde_json::to_value(network_policy(&container, "eddy-system")).unwrap();
        assert_eq!(
            policy["spec"]["ingress"],
            json!([{
                "from": [{
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "eddy-system"}},
                    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "eddy-gateway"}},
                }],
                "ports": [{"port": 80, "protocol": "TCP"}],
            }])
        );
    }
}
