//! A cluster by its name: where its files are, and what it is made of.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::addresses::{Addresses, SLOTS};
use crate::build::Binaries;
use crate::network;
use crate::node::Node;
use crate::process::Processes;

/// Where the clusters of this machine keep their state, a folder each.
const ROOT: &str = "/var/lib/eddy";
/// The most nodes that the address plan has room for beside the control planes.
const NODES_MAX: u8 = 64;

/// How large a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Machines that run pods.
    pub nodes: u8,
    /// Replicas of etcd and the API server.
    pub control_planes: u8,
}

/// What is written down of a cluster.
#[derive(Serialize, Deserialize)]
struct Record {
    slot: u8,
    shape: Shape,
}

/// A cluster on this machine.
pub struct Cluster {
    name: String,
    record: Record,
}

impl Cluster {
    /// Finds the cluster of this name, or sets a place aside for it. It keeps the size that it was made with.
    ///
    /// # Errors
    /// Where the name is not one, the size is not possible, or the cluster exists in another size.
    pub fn open(name: &str, shape: Shape) -> Result<Self> {
        check_name(name)?;
        ensure!(shape.nodes <= NODES_MAX, "a cluster has at most {NODES_MAX} nodes");
        ensure!(matches!(shape.control_planes, 1 | 3 | 5), "a cluster has 1, 3 or 5 control planes: etcd needs a majority");
        if let Some(cluster) = Self::find(name)? {
            if cluster.record.shape.control_planes != shape.control_planes {
                bail!(
                    "cluster {name} has {} control planes: run `./down --name {name}` first to change that",
                    cluster.record.shape.control_planes
                );
            }
            let nodes = shape.nodes.max(cluster.record.shape.nodes);
            let cluster = Self { record: Record { shape: Shape { nodes, ..shape }, ..cluster.record }, ..cluster };
            cluster.save()?;
            return Ok(cluster);
        }
        let taken: Vec<u8> =
            names()?.iter().filter_map(|name| Self::find(name).ok().flatten()).map(|cluster| cluster.record.slot).collect();
        let slot = (0..SLOTS)
            .find(|slot| !taken.contains(slot))
            .context("this machine has no room for another cluster: remove one with ./down")?;
        let cluster = Self { name: name.to_owned(), record: Record { slot, shape } };
        fs::create_dir_all(cluster.folder())?;
        cluster.save()?;
        Ok(cluster)
    }

    /// The cluster of this name, if there is one.
    ///
    /// # Errors
    /// Where its record cannot be read.
    pub fn find(name: &str) -> Result<Option<Self>> {
        check_name(name)?;
        let path = Path::new(ROOT).join(name).join("cluster.json");
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        let record = serde_json::from_str(&text).with_context(|| format!("failed to read {}", path.display()))?;
        Ok(Some(Self { name: name.to_owned(), record }))
    }

    fn save(&self) -> Result<()> {
        let path = self.folder().join("cluster.json");
        fs::write(&path, serde_json::to_string(&self.record)?).with_context(|| format!("failed to write {}", path.display()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Its size.
    pub fn shape(&self) -> Shape {
        self.record.shape
    }
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses::of_slot(self.record.slot)
    }
    /// The folder that holds all its files.
    pub fn folder(&self) -> PathBuf {
        Path::new(ROOT).join(&self.name)
    }
    /// The file that lets a client in, by the name of the client's certificate.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder().join(format!("{user}.kubeconfig"))
    }
    /// The address of node `number`, counted from 1.
    pub fn node_address(&self, number: u8) -> String {
        self.addresses().node(number)
    }
    /// The address of the cluster's DNS service.
    pub fn dns_address(&self) -> String {
        self.addresses().dns_service()
    }
    pub(crate) fn processes(&self) -> Processes {
        Processes::new(&self.folder())
    }

    /// Pulls the cable of a node, or plugs it in again.
    ///
    /// # Errors
    /// Where there is no such node.
    pub fn set_cable(&self, node: u8, plugged: bool) -> Result<()> {
        network::set_cable(self.addresses(), node, plugged)
    }

    /// Gives all its nodes an image that is in no registry they could ask.
    ///
    /// # Errors
    /// Where one does not take it.
    pub fn load(&self, image: (String, PathBuf)) -> Result<()> {
        let images = [image];
        Node::all(self).try_for_each(|node| node.load(&images))
    }

    /// Ends one of its processes without warning, as a power cut would; false if it did not run.
    pub fn kill(&self, process: &str) -> bool {
        self.processes().kill(process)
    }

    /// The program that becomes a component by the name it is called by.
    pub(crate) fn component(&self, binaries: &Binaries, name: &str) -> Result<PathBuf> {
        let folder = self.folder().join("bin");
        fs::create_dir_all(&folder)?;
        let link = folder.join(name);
        let target = binaries.kubernetes();
        if fs::read_link(&link).ok().as_deref() != Some(target.as_path()) {
            let _ = fs::remove_file(&link);
            symlink(&target, &link).with_context(|| format!("failed to link {}", link.display()))?;
        }
        Ok(link)
    }
}

fn check_name(name: &str) -> Result<()> {
    let valid = !name.is_empty()
        && name.len() <= 32
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    ensure!(valid, "a cluster's name is at most 32 lower-case letters, digits and dashes, not {name:?}");
    Ok(())
}

/// The names of all clusters on this machine.
pub(crate) fn names() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(ROOT) else { return Ok(Vec::new()) };
    Ok(entries
        .flatten()
        .filter(|entry| entry.path().join("cluster.json").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}
