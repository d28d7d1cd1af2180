//! Eddy on a cluster: the Helm charts, the example, and a first request through the gateway.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::build::Binaries;
use crate::cluster::Cluster;
use crate::command::{output, run};
use crate::images::Images;
use crate::process::wait_until;
use crate::progress::Progress;
use crate::{token_review, volumes};

/// The core namespace of Eddy's own parts.
const SYSTEM: &str = "eddy-system";
/// The platform's own host, on clusters of our own.
const PLATFORM_HOST: &str = "cloud.eddy.example";
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// What is installed, from where, to where.
pub struct Installation<'a> {
    /// The checkout that holds charts and examples.
    pub repository: &'a Path,
    /// kubectl and Helm.
    pub binaries: &'a Binaries,
    /// The images by name.
    pub images: &'a Images,
    /// The file that lets an administrator into the cluster.
    pub kubeconfig: PathBuf,
    /// Settings of the chart, as Helm's `--set` takes them.
    pub values: &'a [String],
    /// The registry that images are pushed to, as in `registry.example.com/eddy`; none where the nodes hold them.
    pub registry: Option<String>,
}

/// Installs Eddy and, on a cluster of its own, a DNS server, and waits until all of it is ready.
///
/// # Errors
/// Where Helm or kubectl refuses, or something is not ready in time.
pub fn install(installation: &Installation<'_>, own: Option<&Cluster>, progress: &Progress) -> Result<()> {
    if let Some(cluster) = own {
        installation.dns(cluster)?;
        installation.apply(&volumes::manifest(cluster)?.to_string())?;
        installation.apply(&token_review::manifest(cluster, SYSTEM)?)?;
    }
    if let Some(registry) = &installation.registry {
        installation.push(registry)?;
        progress.done(format!("images pushed to {registry}"));
    }
    let chart = installation.repository.join("charts/eddy");
    let (operator, dataplane) =
        (installation.image(&installation.images.operator), installation.image(&installation.images.dataplane));
    let values: Vec<&str> = installation.values.iter().flat_map(|value| ["--set", value]).collect();
    let nats = installation.images.nats.as_ref().map(|image| installation.image(image));
    let nats = nats.map(|(name, tag)| format!("nats.image.repository={name},nats.image.tag={tag}"));
    let nats: Vec<&str> = nats.iter().flat_map(|nats| ["--set", nats.as_str()]).collect();
    let arguments = [
        "upgrade",
        "--install",
        "eddy",
        &text(&chart),
        "--set",
        &format!("operator.image.repository={},operator.image.tag={}", operator.0, operator.1),
        "--set",
        &format!("storage.image.repository={},storage.image.tag={}", dataplane.0, dataplane.1),
        "--set",
        &format!("gateway.image.repository={},gateway.image.tag={}", dataplane.0, dataplane.1),
        "--set",
        &format!("identity.image.repository={},identity.image.tag={}", dataplane.0, dataplane.1),
        "--set",
        &format!("api.image.repository={},api.image.tag={}", dataplane.0, dataplane.1),
        "--wait",
        "--timeout",
        "180s",
    ];
    let of_own = own.map(|_| [token_review::values(), format!("platform.host={PLATFORM_HOST}")]);
    let of_own: Vec<&str> = of_own.iter().flatten().flat_map(|value| ["--set", value.as_str()]).collect();
    installation.helm(&[&arguments[..], &nats, &of_own, &values].concat())?;
    progress.done("chart eddy installed: operator, gateway and storage ready");
    Ok(())
}

/// Removes what [`install`] put on a cluster that is not Eddy's own. Definitions, and users' objects, stay.
///
/// # Errors
/// Where Helm refuses.
pub fn undo_install(binaries: &Binaries, kubeconfig: &Path) -> Result<()> {
    output(binaries.helm(), ["--kubeconfig", &text(kubeconfig), "-n", SYSTEM, "uninstall", "--ignore-not-found", "eddy"])
        .map(drop)
}

impl Installation<'_> {
    /// Installs the definitions of Eddy's kinds. Those that someone applied by hand are taken over.
    ///
    /// # Errors
    /// Where Helm refuses.
    pub fn definitions(&self) -> Result<()> {
        let chart = self.repository.join("charts/eddy-crds");
        self.helm(&["upgrade", "--install", "--take-ownership", "eddy-crds", &text(&chart)]).map(drop)
    }

    /// Applies the example and waits until it answers through the gateway. Returns the gateway's URL.
    ///
    /// # Errors
    /// Where it is refused or does not answer in time.
    pub fn example(&self, progress: &Progress) -> Result<String> {
        self.kubectl(&["apply", "-f", &text(&self.repository.join("examples/hello"))])?;
        for object in ["users.eddy.cloud/hello", "containers.eddy.cloud/hello", "routes.eddy.cloud/hello"] {
            self.kubectl(&["-n", "u-hello", "wait", "--for=condition=Ready", "--timeout=120s", object])?;
        }
        let gateway = self.gateway_address()?;
        wait_until("an answer of examples/hello through the gateway", ANSWER_DEADLINE, || {
            get(gateway, "hello.eddy.example").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        })?;
        progress.done("examples/hello answers through the gateway");
        Ok(format!("http://{gateway}"))
    }

    /// A node's address and the port on it that leads to the gateway.
    ///
    /// # Errors
    /// Where there is no node, or no such service.
    pub fn gateway_address(&self) -> Result<SocketAddr> {
        let node =
            self.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"])?;
        let port = self.kubectl(&[
            "-n",
            SYSTEM,
            "get",
            "service",
            "eddy-gateway",
            "-o",
            "jsonpath={.spec.ports[?(@.name=='http')].nodePort}",
        ])?;
        format!("{node}:{port}").parse().with_context(|| format!("the gateway has no address: node {node:?}, port {port:?}"))
    }

    /// A Helm that was killed leaves a revision that is under way for ever, and every later one is refused. On a
    /// cluster of our own nobody else's can be under way, so it is forgotten; what it installed is taken over.
    ///
    /// # Errors
    /// Where kubectl refuses.
    pub fn forget_unfinished(&self) -> Result<()> {
        let unfinished = "owner=helm,status in (pending-install,pending-upgrade,pending-rollback)";
        self.kubectl(&["-n", SYSTEM, "delete", "secrets", "--ignore-not-found", "-l", unfinished]).map(drop)
    }

    /// Cluster DNS, which a bare Kubernetes comes without.
    fn dns(&self, cluster: &Cluster) -> Result<()> {
        let manifest = include_str!("../coredns.yaml")
            .replace("$IMAGE", self.images.coredns.as_deref().context("there is no image of the DNS server")?)
            .replace("$ADDRESS", &cluster.dns_address())
            .replace("$REPLICAS", &cluster.shape().nodes.min(2).to_string())
            .replace("$UPSTREAM", &upstream_dns());
        self.apply(&manifest)
    }

    /// Applies a manifest.
    fn apply(&self, manifest: &str) -> Result<()> {
        let mut apply = std::process::Command::new(self.binaries.kubectl());
        apply.args(["--kubeconfig", &text(&self.kubeconfig), "apply", "--server-side", "--field-manager=cluster", "-f", "-"]);
        run(&mut apply, Some(manifest)).map(drop)
    }

    /// The name that the cluster finds an image by.
    fn image(&self, (name, tag): &(String, String)) -> (String, String) {
        match &self.registry {
            Some(registry) => (format!("{registry}/{}", name.rsplit('/').next().unwrap_or(name)), tag.clone()),
            None => (name.clone(), tag.clone()),
        }
    }

    fn push(&self, registry: &str) -> Result<()> {
        for (name, archive) in
            self.images.all().iter().filter(|(name, _)| name.contains("/eddy/operator") || name.contains("/eddy/dataplane"))
        {
            let short = name.rsplit('/').next().unwrap_or(name);
            output(
                "skopeo",
                ["copy", &format!("docker-archive:{}", archive.display()), &format!("docker://{registry}/{short}")],
            )?;
        }
        Ok(())
    }

    fn helm(&self, arguments: &[&str]) -> Result<String> {
        let kubeconfig = text(&self.kubeconfig);
        output(
            self.binaries.helm(),
            ["--kubeconfig", kubeconfig.as_str(), "-n", SYSTEM].iter().chain(arguments).chain(&["--create-namespace"]),
        )
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let kubeconfig = text(&self.kubeconfig);
        output(self.binaries.kubectl(), ["--kubeconfig", kubeconfig.as_str()].iter().chain(arguments))
    }
}

/// One request, as a browser that was told another address for the host would make it.
fn get(gateway: SocketAddr, host: &str) -> Result<String> {
    let mut connection = TcpStream::connect_timeout(&gateway, Duration::from_secs(1))?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(connection, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    ensure!(!answer.is_empty(), "the gateway closed the connection");
    Ok(answer)
}

/// The machine's own name servers, except those that only it can reach.
fn upstream_dns() -> String {
    let configuration = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<&str> = configuration
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver "))
        .map(str::trim)
        .filter(|server| !server.starts_with("127.") && *server != "::1")
        .collect();
    if servers.is_empty() { "1.1.1.1".into() } else { servers.join(" ") }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
