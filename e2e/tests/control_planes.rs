//! Three control planes behind one address: whichever is killed, kubectl goes on.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;

use eddy_e2e::{cluster_tool, repository, wait};

const NAME: &str = "eddy-test-ha";

#[test]
#[ignore = "needs root on a Debian machine: run ./test"]
fn any_control_plane_may_be_killed() {
    let up = ["up", "--name", NAME, "--nodes", "0", "--control-planes", "3", "--kubernetes-only"];
    cluster_tool(&up);
    let kubeconfig: PathBuf = repository().join(".eddy").join(format!("{NAME}.kubeconfig"));
    let kubectl = |arguments: &[&str]| {
        Command::new("kubectl").arg("--kubeconfig").arg(&kubeconfig).args(arguments).output().unwrap().status.success()
    };
    for number in 1..=3 {
        for part in ["apiserver", "etcd"] {
            cluster_tool(&["kill", "--name", NAME, &format!("{part}-{number}")]);
        }
        let namespace = format!("made-without-{number}");
        wait(&format!("a write without control plane {number}"), || kubectl(&["create", "namespace", &namespace]));
        wait("a read", || kubectl(&["get", "namespace", &namespace]));
        cluster_tool(&up);
    }
    cluster_tool(&["down", "--name", NAME]);
    assert!(!std::path::Path::new("/var/lib/eddy").join(NAME).exists());
}
