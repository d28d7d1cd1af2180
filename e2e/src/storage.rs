//! Storage as whoever runs it sees it: its parts, its servers, and the master's figures.

use std::time::Duration;

use crate::{Cluster, wait_within};

/// All of storage's parts after a rollout.
const PARTS: [&str; 6] = [
    "statefulset/eddy-kv",
    "statefulset/eddy-chunkserver",
    "deployment/eddy-storage-door",
    "deployment/eddy-storage-master",
    "deployment/eddy-gateway",
    "deployment/eddy-operator",
];

/// The kind of storage namespaces, as kubectl has it.
pub const STORAGE_NAMESPACES: &str = "namespaces.eddy.cloud";

/// A storage namespace in a tenant's core namespace, to be applied.
pub fn storage_namespace(name: &str, core: &str, spec: &str) -> String {
    format!("apiVersion: eddy.cloud/v1alpha1\nkind: Namespace\nmetadata: {{name: {name}, namespace: {core}}}\nspec: {spec}\n")
}

/// Runs kubectl, which must succeed, where Eddy is.
pub fn system(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster.kubectl(&[&["-n", "eddy-system"], arguments].concat())
}

/// Waits until all machines, and all that Eddy consists of, are ready.
pub fn storage_ready(cluster: &Cluster) {
    cluster.kubectl(&["wait", "nodes", "--all", "--for=condition=Ready", "--timeout=120s"]);
    for part in PARTS {
        system(cluster, &["rollout", "status", part, "--timeout=120s"]);
    }
}

/// What the tool of whoever runs storage says, where the master runs, and whether it succeeded.
pub fn storage_server(cluster: &Cluster, arguments: &[&str]) -> (bool, String) {
    let exec = ["-n", "eddy-system", "exec", "deployment/eddy-storage-master", "--", "/eddy-dataplane", "storage-server"];
    cluster.try_kubectl(&[&exec, arguments].concat(), None)
}

/// A chunkserver as that tool lists it.
#[derive(Debug)]
pub struct Chunkserver {
    /// Its number.
    pub number: String,
    /// What fails as one with it.
    pub domain: String,
    /// What it is doing.
    pub state: String,
    /// Chunks of which it has a copy or a shard, by the rows.
    pub chunks: u64,
}

/// The chunkservers at the address of a pod: those of before are listed with the one that is there now.
pub fn chunkservers(cluster: &Cluster, pod: &str) -> Vec<Chunkserver> {
    let (_, list) = storage_server(cluster, &["list"]);
    let lines = list.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let at = lines.filter(|fields| fields.len() > 5 && fields[1].starts_with(&format!("{pod}.")));
    let read = |fields: Vec<&str>| Chunkserver {
        number: fields[0].to_owned(),
        domain: fields[2].to_owned(),
        state: fields[4].to_owned(),
        chunks: fields[5].parse().expect("a number of chunks"),
    };
    at.map(read).collect()
}

/// Waits until a figure of the only master's is as it should be. It is there once the round has ended that gives it.
pub fn wait_figure(cluster: &Cluster, patience: Duration, name: &str, holds: impl Fn(u64) -> bool) {
    let mut last = None;
    wait_within(patience, &format!("the master's {name}"), || {
        last = master_figure(cluster, name);
        last.is_some_and(&holds)
    });
}

fn master_figure(cluster: &Cluster, name: &str) -> Option<u64> {
    let (_, pods) = cluster.try_kubectl(
        &["-n", "eddy-system", "get", "pods", "-l", "app.kubernetes.io/name=eddy-storage-master", "-o", "name"],
        None,
    );
    // While one goes and another comes, neither is asked.
    let [pod] = pods.lines().collect::<Vec<_>>()[..] else { return None };
    let path = format!("/api/v1/namespaces/eddy-system/pods/{}:9090/proxy/metrics", pod.trim_start_matches("pod/"));
    let (_, metrics) = cluster.try_kubectl(&["get", "--raw", &path], None);
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}
