//! The workload and the Service of a Container, computed from it alone.

use eddy_crds::Container;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet, StatefulSetSpec,
};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::labels::{metadata, selector};
use super::pod;

/// Earlier versions kept for going back to by hand.
const HISTORY: i32 = 2;

/// For programs without volumes: the new replica is ready before the old one goes.
pub(super) fn deployment(container: &Container) -> Deployment {
    Deployment {
        metadata: metadata(container),
        spec: Some(DeploymentSpec {
            replicas: Some(container.spec.replicas),
            selector: selector(&container.name_any()),
            template: pod::template(container),
            revision_history_limit: Some(HISTORY),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                }),
            }),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// For programs with volumes: never two that write to one volume, not even when a node is out of reach.
pub(super) fn stateful_set(container: &Container) -> StatefulSet {
    StatefulSet {
        metadata: metadata(container),
        spec: Some(StatefulSetSpec {
            replicas: Some(container.spec.replicas),
            selector: selector(&container.name_any()),
            service_name: Some(container.name_any()),
            template: pod::template(container),
            revision_history_limit: Some(HISTORY),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// The name that other programs reach the Container by. Its ports are the program's own, so that a Route's port
/// is an endpoint's.
pub(super) fn service(container: &Container) -> Service {
    let port = |port: &eddy_crds::ContainerPort| ServicePort {
        name: Some(port.name()),
        port: port.port,
        target_port: Some(IntOrString::Int(port.port)),
        protocol: Some(port.protocol().as_str().to_owned()),
        ..ServicePort::default()
    };
    Service {
        metadata: metadata(container),
        spec: Some(ServiceSpec {
            selector: selector(&container.name_any()).match_labels,
            ports: Some(container.spec.ports.iter().map(port).collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_crds::CONTAINER_LABEL;
    use serde_json::json;

    fn container(spec: serde_json::Value) -> Container {
        let mut container = Container::new("web", serde_json::from_value(spec).unwrap());
        container.metadata.namespace = Some("u-ada".into());
        container.metadata.uid = Some("uid-1".into());
        container
    }

    #[test]
    fn every_child_belongs_to_the_container_and_is_found_by_its_labels() {
        let container = container(json!({"image": "x", "ports": [{"port": 80}]}));
        for metadata in [deployment(&container).metadata, stateful_set(&container).metadata, service(&container).metadata] {
            assert_eq!(metadata.owner_references.as_ref().unwrap()[0].uid, "uid-1");
            assert_eq!((metadata.name.as_deref(), metadata.namespace.as_deref()), (Some("web"), Some("u-ada")));
            assert_eq!(metadata.labels.unwrap()[CONTAINER_LABEL], "web");
        }
    }

    #[test]
    fn a_rollout_never_takes_the_last_replica() {
        let deployment = serde_json::to_value(deployment(&container(json!({"image": "x", "replicas": 1})))).unwrap();
        assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"], json!({"maxSurge": "25%", "maxUnavailable": 0}));
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], json!({CONTAINER_LABEL: "web"}));
    }

    #[test]
    fn the_service_s_ports_are_the_program_s_own() {
        let service = serde_json::to_value(service(&container(
            json!({"image": "x", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}),
        )))
        .unwrap();
        assert_eq!(service["spec"]["ports"][0], json!({"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"}));
    }
}
