//! A cgroup for each node's kubelet, so that nodes on one machine do not take each other's pods for orphans.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup";
/// The version 1 controllers that the kubelet expects its root under.
const CONTROLLERS: [&str; 9] = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"];

/// Whether the machine mounts the unified hierarchy (version 2).
fn unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

fn folders(name: &str) -> Vec<PathBuf> {
    if unified() {
        return vec![Path::new(ROOT).join(name)];
    }
    CONTROLLERS
        .iter()
        .map(|controller| Path::new(ROOT).join(controller))
        .filter(|path| path.is_dir())
        .map(|path| path.join(name))
        .collect()
}

/// Makes the cgroup under every controller.
pub(crate) fn ensure(name: &str) -> Result<()> {
    for folder in folders(name) {
        fs::create_dir_all(&folder).with_context(|| format!("failed to make cgroup {}", folder.display()))?;
    }
    if unified() {
        // A child sees only the controllers that its parent hands down.
        let _ = fs::write(Path::new(ROOT).join("cgroup.subtree_control"), "+cpuset +cpu +io +memory +pids");
        let _ = fs::write(Path::new(ROOT).join(name).join("cgroup.subtree_control"), "+cpuset +cpu +io +memory +pids");
    } else {
        // A new cpuset is empty, and no process may enter an empty one.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let parent = Path::new(ROOT).join("cpuset");
            let value = fs::read_to_string(parent.join(file)).with_context(|| format!("failed to read {file}"))?;
            fs::write(parent.join(name).join(file), value.trim()).with_context(|| format!("failed to set {file}"))?;
        }
    }
    Ok(())
}

/// Removes the cgroup and all under it. Processes in it must have ended.
pub(crate) fn remove(name: &str) {
    for folder in folders(name) {
        remove_tree(&folder);
    }
}

fn remove_tree(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
