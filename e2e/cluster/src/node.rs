//! A node: containerd, kubelet and kube-proxy in a network namespace of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::build::Binaries;
use crate::certificates::Certificates;
use crate::cluster::Cluster;
use crate::command::output;
use crate::images::PAUSE;
use crate::process::wait_until;
use crate::{cgroups, network};

const CONTAINERD_DEADLINE: Duration = Duration::from_secs(30);

/// One node of a cluster, counted from 1.
pub(crate) struct Node<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) number: u8,
}

impl<'a> Node<'a> {
    /// Every node of a cluster.
    pub(crate) fn all(cluster: &'a Cluster) -> impl Iterator<Item = Self> {
        (1..=cluster.shape().nodes).map(move |number| Self { cluster, number })
    }

    /// Its name in Kubernetes.
    pub(crate) fn name(&self) -> String {
        format!("node{}", self.number)
    }

    fn folder(&self) -> PathBuf {
        self.cluster.folder().join(self.name())
    }

    /// The folder of one of its persistent volumes.
    pub(crate) fn volume(&self, number: u8) -> PathBuf {
        self.folder().join(format!("volumes/{number}"))
    }

    fn socket(&self) -> PathBuf {
        self.folder().join("containerd.sock")
    }

    /// Its cgroup, a name that no other cluster on the machine uses.
    pub(crate) fn cgroup(&self) -> String {
        self.cluster.addresses().network_namespace(self.number)
    }

    /// Starts its container runtime and waits until it takes images.
    pub(crate) fn ensure_runtime(&self) -> Result<()> {
        let addresses = self.cluster.addresses();
        network::ensure_node(addresses, self.number, self.cluster.shape().nodes)?;
        cgroups::ensure(&self.cgroup())?;
        fs::create_dir_all(self.folder().join("cni"))?;
        self.write("cni/10-eddy.conflist", &self.pod_network().to_string())?;
        self.write("containerd.toml", &self.containerd())?;
        let arguments = ["--config".to_owned(), text(&self.folder().join("containerd.toml"))];
        let namespace = addresses.network_namespace(self.number);
        let processes = self.cluster.processes();
        let name = format!("containerd-{}", self.number);
        processes.ensure(&name, Some(&namespace), Path::new("containerd"), &arguments)?;
        wait_until(&format!("containerd ready (see {})", processes.log(&name).display()), CONTAINERD_DEADLINE, || {
            self.ctr(&["version"]).is_ok()
        })
    }

    /// Starts the kubelet and kube-proxy. The runtime must hold the pause image.
    pub(crate) fn ensure_kubelet(&self, binaries: &Binaries, certificates: &Certificates) -> Result<()> {
        let addresses = self.cluster.addresses();
        let namespace = addresses.network_namespace(self.number);
        let processes = self.cluster.processes();
        self.write("kubelet.json", &self.kubelet(certificates).to_string())?;
        let kubelet = [
            format!("--kubeconfig={}", text(&self.cluster.kubeconfig(&self.name()))),
            format!("--config={}", text(&self.folder().join("kubelet.json"))),
            format!("--hostname-override={}", self.name()),
            format!("--node-ip={}", addresses.node(self.number)),
            format!("--root-dir={}", text(&self.folder().join("kubelet"))),
            format!("--cert-dir={}", text(&self.folder().join("kubelet-certificates"))),
        ];
        let program = self.cluster.component(binaries, "kubelet")?;
        processes.ensure(&format!("kubelet-{}", self.number), Some(&namespace), &program, &kubelet)?;
        let proxy = [
            format!("--kubeconfig={}", text(&self.cluster.kubeconfig("proxy"))),
            format!("--hostname-override={}", self.name()),
            format!("--cluster-cidr={}", addresses.pod_network()),
            "--proxy-mode=nftables".into(),
            // The machine's own limits stay as they are.
            "--conntrack-max-per-core=0".into(),
        ];
        let program = self.cluster.component(binaries, "kube-proxy")?;
        processes.ensure(&format!("proxy-{}", self.number), Some(&namespace), &program, &proxy)?;
        Ok(())
    }

    /// Loads images that it does not have yet.
    pub(crate) fn load(&self, images: &[(String, PathBuf)]) -> Result<()> {
        let present = self.ctr(&["-n", "k8s.io", "images", "ls", "-q"])?;
        for (name, archive) in images {
            if !present.lines().any(|line| line == name) {
                self.ctr(&["-n", "k8s.io", "images", "import", &text(archive)])?;
            }
        }
        Ok(())
    }

    fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let socket = text(&self.socket());
        output("ctr", ["-a", &socket].iter().chain(arguments))
    }

    /// Pods on a bridge of the node's own, with addresses from the node's range.
    fn pod_network(&self) -> serde_json::Value {
        let range = self.cluster.addresses().pods_of_node(self.number);
        json!({"cniVersion": "0.4.0", "name": "eddy", "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {
                "type": "host-local", "dataDir": self.folder().join("ipam"),
                "ranges": [[{"subnet": range}]], "routes": [{"dst": "0.0.0.0/0"}],
            }},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ]})
    }

    fn containerd(&self) -> String {
        let folder = text(&self.folder());
        let socket = text(&self.socket());
        // runc may not lower a process's oom_score_adj without CAP_SYS_RESOURCE, and pause asks for that.
        format!(
            r#"version = 2
root = "{folder}/images"
state = "{folder}/run"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "{PAUSE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#
        )
    }

    fn kubelet(&self, certificates: &Certificates) -> serde_json::Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": false}, "webhook": {"enabled": true},
                "x509": {"clientCAFile": certificates.certificate("ca")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": certificates.certificate(&self.name()),
            "tlsPrivateKeyFile": certificates.key(&self.name()),
            "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{}", self.cgroup()), "failCgroupV1": false,
            "failSwapOn": false,
            "containerRuntimeEndpoint": format!("unix://{}", text(&self.socket())),
            "clusterDNS": [self.cluster.addresses().dns_service()], "clusterDomain": "cluster.local", "resolvConf": "",
            // Nodes share one disk and memory with the machine: only real shortage may evict.
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
            // For the same reason no image may be removed: from then on, there are none to pull them from.
            "imageGCHighThresholdPercent": 100,
            "podCIDR": self.cluster.addresses().pods_of_node(self.number),
            // A kubelet removes the logs of pods that it does not know, those of other nodes among them.
            "podLogsDir": self.folder().join("pod-logs"),
            "registryPullQPS": 0, "serializeImagePulls": false,
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder().join(name);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
