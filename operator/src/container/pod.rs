//! The pod that runs a Container's program.

use std::collections::BTreeMap;

use eddy_crds::{Container, ContainerSpec, EnvVar, Probe, Probes};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::labels::{labels, selector};

/// The container's name within the pod, the same for every Container so that logs and exec need not ask.
const NAME: &str = "main";
/// Seconds that a pod that is to end goes on serving, until every gateway has heard that it does. Without this,
/// each rollout would lose the requests of that moment.
const LEAVE_SECONDS: i64 = 3;
/// Seconds from the request to end to being killed, the pause above among them.
const GRACE_SECONDS: i64 = 30;
/// Seconds between readiness checks: the sooner a replica is known to be ready, the sooner it serves.
const READINESS_PERIOD_SECONDS: i32 = 2;
/// What images commonly need to drop from root to a user of their own. All of it is within the baseline standard.
const CAPABILITIES: [&str; 7] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];

pub(super) fn template(container: &Container) -> core::PodTemplateSpec {
    let spec = &container.spec;
    let volumes = spec.volumes.iter().enumerate().map(|(position, mount)| core::Volume {
        name: volume_name(position),
        persistent_volume_claim: Some(core::PersistentVolumeClaimVolumeSource {
            claim_name: mount.volume.clone(),
            read_only: mount.read_only,
        }),
        ..core::Volume::default()
    });
    core::PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels(container)), ..ObjectMeta::default() }),
        spec: Some(core::PodSpec {
            containers: vec![program(spec)],
            volumes: (!spec.volumes.is_empty()).then(|| volumes.collect()),
            node_selector: spec.arch.map(|arch| BTreeMap::from([("kubernetes.io/arch".to_owned(), arch.label().to_owned())])),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            // A tenant's program gets no key to the cluster, and no list of what else runs.
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(core::PodSecurityContext {
                seccomp_profile: Some(core::SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    ..core::SeccompProfile::default()
                }),
                ..core::PodSecurityContext::default()
            }),
            topology_spread_constraints: (spec.replicas > 1).then(|| vec![spread(container)]),
            ..core::PodSpec::default()
        }),
    }
}

/// Replicas on distinct nodes where there are enough.
fn spread(container: &Container) -> core::TopologySpreadConstraint {
    core::TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(&container.name_any())),
        ..core::TopologySpreadConstraint::default()
    }
}

fn program(spec: &ContainerSpec) -> core::Container {
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let probes = spec.probes.clone().unwrap_or_default();
    let Probes { startup, readiness, liveness } = &probes;
    let first = spec.ports.first().map(|port| port.port);
    core::Container {
        name: NAME.to_owned(),
        image: Some(spec.image.clone()),
        command: some(&spec.command),
        args: some(&spec.args),
        working_dir: spec.working_dir.clone(),
        env: (!spec.env.is_empty()).then(|| spec.env.iter().map(variable).collect()),
        ports: (!spec.ports.is_empty()).then(|| {
            let port = |port: &eddy_crds::ContainerPort| core::ContainerPort {
                name: Some(port.name()),
                container_port: port.port,
                protocol: Some(port.protocol().as_str().to_owned()),
                ..core::ContainerPort::default()
            };
            spec.ports.iter().map(port).collect()
        }),
        resources: Some(resources(spec)),
        startup_probe: startup.as_ref().map(|asked| probe(asked, first, Some(READINESS_PERIOD_SECONDS))),
        readiness_probe: readiness.as_ref().map(|asked| probe(asked, first, Some(READINESS_PERIOD_SECONDS))),
        liveness_probe: liveness.as_ref().map(|asked| probe(asked, first, None)),
        lifecycle: (!spec.ports.is_empty()).then(|| core::Lifecycle {
            pre_stop: Some(core::LifecycleHandler {
                sleep: Some(core::SleepAction { seconds: LEAVE_SECONDS }),
                ..core::LifecycleHandler::default()
            }),
            ..core::Lifecycle::default()
        }),
        security_context: Some(core::SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(core::Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
            }),
            ..core::SecurityContext::default()
        }),
        volume_mounts: (!spec.volumes.is_empty()).then(|| {
            let mount = |(position, mount): (usize, &eddy_crds::VolumeMount)| core::VolumeMount {
                name: volume_name(position),
                mount_path: mount.path.clone(),
                read_only: mount.read_only,
                ..core::VolumeMount::default()
            };
            spec.volumes.iter().enumerate().map(mount).collect()
        }),
        ..core::Container::default()
    }
}

fn variable(variable: &EnvVar) -> core::EnvVar {
    core::EnvVar {
        name: variable.name.clone(),
        value: variable.value.clone(),
        value_from: variable.secret.as_ref().map(|secret| core::EnvVarSource {
            secret_key_ref: Some(core::SecretKeySelector {
                name: secret.name.clone(),
                key: secret.key.clone(),
                optional: Some(false),
            }),
            ..core::EnvVarSource::default()
        }),
    }
}

fn resources(spec: &ContainerSpec) -> core::ResourceRequirements {
    let asked = &spec.resources;
    let quantity = |name: &str, value: &str| (name.to_owned(), Quantity(value.to_owned()));
    let mut limits = BTreeMap::from([quantity("memory", &asked.memory)]);
    limits.extend(asked.cpu_limit.as_ref().map(|limit| quantity("cpu", limit)));
    core::ResourceRequirements {
        requests: Some(BTreeMap::from([quantity("cpu", &asked.cpu), quantity("memory", &asked.memory)])),
        limits: Some(limits),
        ..core::ResourceRequirements::default()
    }
}

fn probe(asked: &Probe, first_port: Option<i32>, period_seconds: Option<i32>) -> core::Probe {
    // The schema refuses a probe that has no port of its own where there is no first.
    let port = |port: Option<i32>| IntOrString::Int(port.or(first_port).unwrap_or_default());
    core::Probe {
        http_get: asked.http.as_ref().map(|http| core::HTTPGetAction {
            path: Some(http.path.clone()),
            port: port(http.port),
            ..core::HTTPGetAction::default()
        }),
        tcp_socket: asked.tcp.as_ref().map(|tcp| core::TCPSocketAction { port: port(tcp.port), host: None }),
        exec: asked.exec.as_ref().map(|exec| core::ExecAction { command: Some(exec.command.clone()) }),
        initial_delay_seconds: asked.initial_delay_seconds,
        period_seconds: asked.period_seconds.or(period_seconds),
        timeout_seconds: asked.timeout_seconds,
        failure_threshold: asked.failure_threshold,
        ..core::Probe::default()
    }
}

fn volume_name(position: usize) -> String {
    format!("volume-{position}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_crds::CONTAINER_LABEL;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Value {
        let container = Container::new("web", serde_json::from_value(spec).unwrap());
        serde_json::to_value(template(&container)).unwrap()
    }

    #[test]
    fn a_tenant_s_program_gets_no_key_to_the_cluster_and_few_capabilities() {
        let pod = pod(json!({"image": "nginx:1"}));
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        assert_eq!(pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(pod["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(pod["metadata"]["labels"][CONTAINER_LABEL], "web");
    }

    #[test]
    fn variables_come_from_literals_and_secrets() {
        let pod =
            pod(json!({"image": "x", "env": [{"name": "A", "value": "1"}, {"name": "B", "secret": {"name": "s", "key": "k"}}]}));
        assert_eq!(pod["spec"]["containers"][0]["env"][0], json!({"name": "A", "value": "1"}));
        assert_eq!(
            pod["spec"]["containers"][0]["env"][1]["valueFrom"]["secretKeyRef"],
            json!({"name": "s", "key": "k", "optional": false})
        );
    }

    #[test]
    fn memory_is_reserved_and_limited_alike_and_cpu_only_where_asked() {
        let pod = pod(json!({"image": "x", "resources": {"cpu": "1", "cpuLimit": "2", "memory": "64Mi"}}));
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "64Mi"}})
        );
    }

    #[test]
    fn a_probe_without_a_port_uses_the_first() {
        let pod = pod(json!({"image": "x", "ports": [{"port": 8080}], "probes": {
            "readiness": {"http": {"path": "/ready"}}, "liveness": {"tcp": {"port": 9}, "periodSeconds": 7},
        }}));
        let program = &pod["spec"]["containers"][0];
        assert_eq!(program["readinessProbe"], json!({"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 2}));
        assert_eq!(program["livenessProbe"], json!({"tcpSocket": {"port": 9}, "periodSeconds": 7}));
    }

    #[test]
    fn what_serves_goes_on_while_gateways_hear_that_it_ends() {
        assert_eq!(
            pod(json!({"image": "x", "ports": [{"port": 80}]}))["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"],
            3
        );
        assert!(pod(json!({"image": "x"}))["spec"]["containers"][0]["lifecycle"].is_null());
    }

    #[test]
    fn volumes_are_mounted_where_asked() {
        let pod = pod(json!({"image": "x", "arch": "arm64", "volumes": [{"volume": "data", "path": "/data", "readOnly": true}]}));
        assert_eq!(pod["spec"]["volumes"][0]["persistentVolumeClaim"], json!({"claimName": "data", "readOnly": true}));
        assert_eq!(
            pod["spec"]["containers"][0]["volumeMounts"][0],
            json!({"name": "volume-0", "mountPath": "/data", "readOnly": true})
        );
        assert_eq!(pod["spec"]["nodeSelector"], json!({"kubernetes.io/arch": "arm64"}));
    }
}
