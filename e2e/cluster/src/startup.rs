//! Starting a cluster, or what is missing of it, in order.

use std::time::Duration;

use anyhow::Result;

use crate::build::Binaries;
use crate::certificates::Certificates;
use crate::cluster::{Cluster, Shape};
use crate::command::output;
use crate::images::Images;
use crate::node::Node;
use crate::process::wait_until;
use crate::progress::Progress;
use crate::{control_plane, network};

const NODE_DEADLINE: Duration = Duration::from_secs(120);

/// Starts a cluster, or what is missing of it, and waits until every node is ready.
///
/// `before_controllers` runs once the API answers. Definitions installed then are known to the controllers from
/// their start; of later ones some learn only half a minute on, and refuse objects of theirs until then.
///
/// # Errors
/// Where a part cannot be started or is not ready in time; the error names the log to read.
pub fn up(
    cluster: &Cluster,
    binaries: &Binaries,
    images: &Images,
    progress: &Progress,
    before_controllers: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let Shape { nodes, control_planes } = cluster.shape();
    let certificates = Certificates::ensure(&cluster.folder().join("certificates"), cluster.addresses(), control_planes, nodes)?;
    network::ensure_bridge(cluster.addresses(), control_planes)?;
    control_plane::ensure_api(cluster, binaries, &certificates)?;
    before_controllers()?;
    control_plane::ensure_controllers(cluster, binaries, &certificates)?;
    progress.done(format!("control plane ready ({control_planes})"));

    for node in Node::all(cluster) {
        node.ensure_runtime()?;
        node.load(&images.all())?;
        node.ensure_kubelet(binaries, &certificates)?;
    }
    let kubeconfig = cluster.kubeconfig("admin").display().to_string();
    for node in Node::all(cluster) {
        let name = node.name();
        let log = cluster.processes().log(&format!("kubelet-{}", node.number));
        wait_until(&format!("node {name} ready (see {})", log.display()), NODE_DEADLINE, || {
            output(
                binaries.kubectl(),
                [
                    "--kubeconfig",
                    &kubeconfig,
                    "get",
                    "node",
                    &name,
                    "-o",
                    "jsonpath={.status.conditions[?(@.type=='Ready')].status}",
                ],
            )
            .is_ok_and(|status| status == "True")
        })?;
    }
    if nodes > 0 {
        progress.done(format!("nodes ready ({nodes})"));
    }
    Ok(())
}
