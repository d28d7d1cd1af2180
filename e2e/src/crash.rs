//! Ends what runs in a pod as a crash would. `kubectl delete --force` does not: the kubelet sends SIGTERM and waits 2 s.

use std::path::Path;
use std::process::Command;

use crate::{Cluster, wait};

/// What each of Eddy's containers runs starts with one of these.
const OURS: [&str; 2] = ["/eddy-dataplane\0", "/eddy-operator\0"];

/// Kills a pod's processes with SIGKILL, and waits until the kubelet has started others: nodes are processes of this machine, and so
/// are pods.
pub fn kill(cluster: &Cluster, namespace: &str, pod: &str) {
    let found = cluster.get("pod", namespace, pod).unwrap();
    let uid = found["metadata"]["uid"].as_str().unwrap();
    let killed = processes_of(uid);
    assert!(!killed.is_empty(), "no process of {pod}");
    assert!(Command::new("kill").arg("-9").args(&killed).status().unwrap().success());
    wait(&format!("another {pod}"), || processes_of(uid).iter().any(|process| !killed.contains(process)));
}

/// The numbers of the processes that a pod's containers run, by its control group.
fn processes_of(uid: &str) -> Vec<String> {
    let is_of = |process: &Path| {
        let read = |name: &str| std::fs::read_to_string(process.join(name)).unwrap_or_default();
        let command = read("cmdline");
        OURS.iter().any(|ours| command.starts_with(ours)) && read("cgroup").contains(uid)
    };
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    let of_it = processes.filter(|process| is_of(process));
    of_it.map(|process| process.file_name().unwrap().to_string_lossy().into_owned()).collect()
}
