//! Persistent volumes, which a bare Kubernetes comes without: folders of the nodes, made beforehand, that the scheduler hands out.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::node::Node;

/// The class of these volumes, which claims get that name none.
const CLASS: &str = "eddy-local";
/// Volumes of a node: enough for all of Eddy's own claims on a single one.
const PER_NODE: u8 = 8;
/// What each says that it holds. The folders share the machine's disk, and nothing keeps a pod to it.
const CAPACITY: &str = "1Ti";

/// Makes the folders, and says what to apply for Kubernetes to know them.
///
/// # Errors
/// Where a folder cannot be made.
pub(crate) fn manifest(cluster: &Cluster) -> Result<Value> {
    let mut items = vec![json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        // The pod is placed first, so that its volume is on its node.
        "volumeBindingMode": "WaitForFirstConsumer",
    })];
    for node in Node::all(cluster) {
        for number in 0..PER_NODE {
            let folder = node.volume(number);
            fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
            items.push(json!({
                "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": format!("{}-{number}", node.name())},
                "spec": {
                    "storageClassName": CLASS,
                    "capacity": {"storage": CAPACITY},
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "local": {"path": folder},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                        {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name()]},
                    ]}]}},
                },
            }));
        }
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}))
}
