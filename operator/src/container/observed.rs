//! Judging a Container from what runs of it.

use std::sync::Arc;

use eddy_crds::Container;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use crate::reason::{Reason, Verdict};

/// What a Deployment or StatefulSet says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Workload {
    /// Whether what it says is about its present spec.
    pub(super) current: bool,
    pub(super) total: i32,
    /// Replicas of the present spec.
    pub(super) updated: i32,
    pub(super) ready: i32,
    /// Why pods cannot be made.
    pub(super) refusal: Option<String>,
}

impl Workload {
    pub(super) fn of_deployment(deployment: &Deployment) -> Self {
        let status = deployment.status.clone().unwrap_or_default();
        let refusal = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
            .and_then(|condition| condition.message.clone());
        Self {
            current: is_current(status.observed_generation, deployment.metadata.generation),
            total: status.replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            refusal,
        }
    }

    pub(super) fn of_stateful_set(set: &StatefulSet) -> Self {
        let status = set.status.clone().unwrap_or_default();
        Self {
            current: is_current(status.observed_generation, set.metadata.generation),
            total: status.replicas,
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            refusal: None,
        }
    }
}

fn is_current(observed: Option<i64>, generation: Option<i64>) -> bool {
    observed.is_some() && observed >= generation
}

/// Drops from a pod what no judgement needs.
pub(super) fn trim_pod(pod: &mut Pod) {
    pod.spec = Some(PodSpec::default());
    pod.metadata.annotations = None;
    if let Some(status) = &mut pod.status {
        status.init_container_statuses = None;
        status.pod_ips = None;
        status.host_ips = None;
    }
}

/// Whether a Container does what it should, and if not, the first thing in its way.
pub(super) fn judge(container: &Container, workload: &Workload, pods: impl Iterator<Item = Arc<Pod>>) -> Verdict {
    let wanted = container.spec.replicas;
    let Workload { current, total, updated, ready, refusal } = workload;
    if *current && *updated == wanted && *total == wanted && *ready >= wanted {
        return match wanted {
            0 => Verdict::new(Reason::Stopped, "stopped, since spec.replicas is 0"),
            _ => Verdict::new(Reason::Running, format!("{ready} of {wanted} replicas are ready")),
        };
    }
    let obstacle = pods
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter_map(|pod| obstacle(&pod))
        .min_by_key(|(rank, _)| *rank);
    if let Some((_, verdict)) = obstacle {
        return verdict;
    }
    match refusal {
        Some(message) if message.contains("exceeded quota") => {
            let message = format!(
                "the quota of this User is used up: ask for less, remove something, or have spec.quota of the User raised ({message})"
            );
            return Verdict::new(Reason::QuotaExceeded, message);
        }
        Some(message) => return Verdict::new(Reason::PodsRefused, format!("Kubernetes refuses the pods: {message}")),
        None => {}
    }
    let done = if *current { *updated } else { 0 };
    match done == wanted && *total == wanted {
        true => Verdict::new(Reason::NotReady, format!("{ready} of {wanted} replicas are ready")),
        false => {
            Verdict::new(Reason::Progressing, format!("{done} of {wanted} replicas run the present version, {ready} are ready"))
        }
    }
}

/// What is in a pod's way, with a rank: what a user can mend goes first.
fn obstacle(pod: &Pod) -> Option<(u8, Verdict)> {
    let status = pod.status.as_ref()?;
    for program in status.container_statuses.iter().flatten() {
        let Some(state) = &program.state else { continue };
        if let Some(waiting) = &state.waiting {
            let detail = waiting.message.clone().unwrap_or_default();
            let verdict = match waiting.reason.as_deref().unwrap_or_default() {
                "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => (
                    0,
                    Verdict::new(
                        Reason::ImageUnavailable,
                        format!("image {} cannot be had: check its name and tag ({detail})", program.image),
                    ),
                ),
                "CreateContainerConfigError" => (
                    0,
                    Verdict::new(
                        Reason::SecretMissing,
                        format!("what spec.env names is not there: create the Secret or its key ({detail})"),
                    ),
                ),
                "CrashLoopBackOff" => {
                    (1, Verdict::new(Reason::CrashLooping, crash(program.restart_count, program.last_state.as_ref())))
                }
                "CreateContainerError" | "RunContainerError" => {
                    (1, Verdict::new(Reason::PodsRefused, format!("the program cannot be started: {detail}")))
                }
                _ => continue,
            };
            return Some(verdict);
        }
    }
    let unscheduled = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled" && condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    let detail = unscheduled.message.clone().unwrap_or_default();
    Some((2, Verdict::new(Reason::Unschedulable, format!("no node can take a replica: {detail}"))))
}

fn crash(restarts: i32, last: Option<&k8s_openapi::api::core::v1::ContainerState>) -> String {
    let ended = last.and_then(|state| state.terminated.as_ref());
    let how = ended.map_or_else(String::new, |ended| match ended.reason.as_deref() {
        Some("OOMKilled") => " for want of memory: raise spec.resources.memory".to_owned(),
        _ => format!(" with exit code {}: see its logs", ended.exit_code),
    });
    format!("the program keeps ending ({restarts} restarts), last{how}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn judged(replicas: i32, workload: &Workload, pods: &[Value]) -> Verdict {
        let container = Container::new("web", serde_json::from_value(json!({"image": "x", "replicas": replicas})).unwrap());
        judge(&container, workload, pods.iter().map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap())))
    }
    fn workload(total: i32, updated: i32, ready: i32) -> Workload {
        Workload { current: true, total, updated, ready, refusal: None }
    }
    fn waiting(reason: &str, message: &str) -> Value {
        json!({"status": {"containerStatuses": [{
            "name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 4,
            "state": {"waiting": {"reason": reason, "message": message}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }]}})
    }

    #[test]
    fn running_means_all_of_the_present_version_are_ready() {
        assert_eq!(judged(2, &workload(2, 2, 2), &[]).reason, Reason::Running);
        assert_eq!(judged(2, &workload(3, 2, 2), &[]).reason, Reason::Progressing, "an old replica is still there");
        assert_eq!(judged(2, &workload(2, 2, 1), &[]).reason, Reason::NotReady);
        assert_eq!(judged(2, &workload(2, 1, 2), &[]).reason, Reason::Progressing);
        assert_eq!(
            judged(2, &Workload { current: false, ..workload(2, 2, 2) }, &[]).reason,
            Reason::Progressing,
            "about an older spec"
        );
        assert_eq!(judged(0, &workload(0, 0, 0), &[]).reason, Reason::Stopped);
    }

    #[test]
    fn what_is_in_a_pod_s_way_is_said() {
        for (reason, expected) in [
            ("ErrImagePull", Reason::ImageUnavailable),
            ("ImagePullBackOff", Reason::ImageUnavailable),
            ("InvalidImageName", Reason::ImageUnavailable),
            ("CreateContainerConfigError", Reason::SecretMissing),
            ("CrashLoopBackOff", Reason::CrashLooping),
            ("ContainerCreating", Reason::NotReady),
        ] {
            assert_eq!(judged(1, &workload(1, 1, 0), &[waiting(reason, "detail")]).reason, expected, "{reason}");
        }
        let verdict = judged(1, &workload(1, 1, 0), &[waiting("CrashLoopBackOff", "")]);
        assert!(verdict.message.contains("memory"), "{}", verdict.message);
    }

    #[test]
    fn what_a_user_can_mend_goes_before_the_rest() {
        let pods = [waiting("CrashLoopBackOff", ""), waiting("CreateContainerConfigError", "secret \"s\" not found")];
        let verdict = judged(2, &workload(2, 2, 0), &pods);
        assert_eq!(verdict.reason, Reason::SecretMissing);
        assert!(verdict.message.contains("secret \"s\" not found"));
    }

    #[test]
    fn a_pod_on_its_way_out_is_in_nobody_s_way() {
        let mut leaving = waiting("CrashLoopBackOff", "");
        leaving["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(judged(1, &workload(1, 1, 0), &[leaving]).reason, Reason::NotReady);
    }

    #[test]
    fn a_full_quota_is_told_apart_from_other_refusals() {
        let full = Workload { refusal: Some("pods \"x\" is forbidden: exceeded quota: eddy".into()), ..workload(0, 0, 0) };
        assert_eq!(judged(1, &full, &[]).reason, Reason::QuotaExceeded);
        let other = Workload { refusal: Some("violates PodSecurity".into()), ..workload(0, 0, 0) };
        assert_eq!(judged(1, &other, &[]).reason, Reason::PodsRefused);
    }

    #[test]
    fn a_pod_that_fits_nowhere_is_said() {
        let pod = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}});
        let verdict = judged(1, &workload(1, 1, 0), &[pod]);
        assert_eq!(verdict.reason, Reason::Unschedulable);
        assert!(verdict.message.contains("0/1 nodes"));
    }
}
