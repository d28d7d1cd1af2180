//! Removing a cluster, whatever state it is in.

use std::fs;

use crate::cluster::Cluster;
use crate::command::attempt;
use crate::node::Node;
use crate::process::{children, find, signal, terminate};
use crate::{cgroups, network};

use anyhow::Result;
use nix::sys::signal::Signal;

/// Ends every process of a cluster and removes its mounts, networks, cgroups and files.
///
/// # Errors
/// Where its folder cannot be removed.
pub fn down(cluster: &Cluster) -> Result<()> {
    let folder = cluster.folder();
    let processes = cluster.processes();
    // Kubelets first: they would start again what ends. etcd last: the others write to it as they end.
    let mut names = processes.names();
    names.sort_by_key(|name| match name.split('-').next() {
        Some("kubelet") => 0,
        Some("etcd") => 2,
        _ => 1,
    });
    // Pods outlive containerd: their shims, and they themselves, are ended one by one.
    let ours = format!("-address {}/", folder.display());
    for name in names.iter().filter(|name| name.starts_with("kubelet")) {
        processes.stop(name);
    }
    for shim in find(|line| line.contains("containerd-shim") && line.contains(&ours)) {
        for process in children(shim) {
            signal(process, Signal::SIGKILL);
        }
        terminate(shim);
    }
    // All are asked before any is waited for: some take seconds to end.
    for name in &names {
        processes.ask(name);
    }
    for name in &names {
        processes.stop(name);
    }
    // What a killed run left behind has no file: it is known by its arguments.
    let ours = format!("{}/", folder.display());
    for process in find(|line| line.contains(&ours) && is_ours(line)) {
        terminate(process);
    }

    let addresses = cluster.addresses();
    for mount in mounts_below(&ours) {
        attempt("umount", ["-l", &mount]);
    }
    network::remove_pods(addresses);
    for node in Node::all(cluster) {
        network::remove_node(addresses, node.number);
        cgroups::remove(&node.cgroup());
    }
    network::remove_bridge(addresses);
    fs::remove_dir_all(&folder).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    Ok(())
}

/// Whether a command line is that of a program that clusters start, not of one that only looks at their files.
fn is_ours(line: &str) -> bool {
    const PROGRAMS: [&str; 8] =
        ["etcd", "containerd", "haproxy", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];
    let program = line.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    PROGRAMS.contains(&program)
}

/// Mount points below a folder, the deepest first.
fn mounts_below(folder: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut below: Vec<String> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|point| point.starts_with(folder))
        .map(str::to_owned)
        .collect();
    below.sort_by_key(|point| std::cmp::Reverse(point.len()));
    below
}
