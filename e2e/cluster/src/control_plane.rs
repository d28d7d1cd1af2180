//! etcd, the API servers and their controllers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::addresses::Addresses;
use crate::build::Binaries;
use crate::certificates::Certificates;
use crate::cluster::Cluster;
use crate::command::output;
use crate::kubeconfig;
use crate::process::{Processes, wait_until};
use crate::{audit, token_review};

const READY_DEADLINE: Duration = Duration::from_secs(120);
/// The port that every API server, and the address that stands for all, listens on.
pub(crate) const API_PORT: u16 = 6443;
/// Requests a second of each controller; the default of 20 makes thousands of objects wait for minutes.
const API_QPS: &str = "--kube-api-qps=200";
const API_BURST: &str = "--kube-api-burst=400";

/// Starts what is missing of etcd and the API servers, and waits until each answers.
pub(crate) fn ensure_api(cluster: &Cluster, binaries: &Binaries, certificates: &Certificates) -> Result<()> {
    let addresses = cluster.addresses();
    let count = cluster.shape().control_planes;
    let processes = cluster.processes();
    for number in 1..=count {
        ensure_etcd(cluster, &processes, certificates, number)?;
    }
    let mut started = false;
    for number in 1..=count {
        started |= ensure_api_server(cluster, &processes, binaries, certificates, number)?;
    }
    if started && count == 1 {
        // While there was no API, their watches waited longer and longer, in the end for minutes. Where they elect a
        // leader, they end themselves and are started anew; alone, they would sit it out.
        processes.stop("controller-manager-1");
        processes.stop("scheduler-1");
    }
    if count > 1 {
        ensure_balancer(cluster, &processes, count)?;
    }
    let server = format!("https://{}:{API_PORT}", front_address(addresses, count));
    for user in ["admin", "controller-manager", "scheduler", "proxy"] {
        kubeconfig::write(&cluster.kubeconfig(user), certificates, user, cluster.name(), &server)?;
    }
    for number in 1..=cluster.shape().nodes {
        let user = format!("node{number}");
        kubeconfig::write(&cluster.kubeconfig(&user), certificates, &user, cluster.name(), &server)?;
    }
    for number in 1..=count {
        wait_until(
            &format!("API server {number} ready (see {})", processes.log(&format!("apiserver-{number}")).display()),
            READY_DEADLINE,
            || {
                let server = format!("https://{}:{API_PORT}", addresses.control_plane(number));
                output(
                    binaries.kubectl(),
                    [
                        "--kubeconfig",
                        &cluster.kubeconfig("admin").display().to_string(),
                        "--server",
                        &server,
                        "get",
                        "--raw",
                        "/readyz",
                    ],
                )
                .is_ok()
            },
        )?;
    }
    Ok(())
}

/// Starts what is missing of the controllers and schedulers.
pub(crate) fn ensure_controllers(cluster: &Cluster, binaries: &Binaries, certificates: &Certificates) -> Result<()> {
    let processes = cluster.processes();
    (1..=cluster.shape().control_planes)
        .try_for_each(|number| ensure_controllers_of(cluster, &processes, binaries, certificates, number))
}

/// Where clients find the API: the one server itself, or the balancer before several.
fn front_address(addresses: Addresses, control_planes: u8) -> String {
    if control_planes > 1 { addresses.api() } else { addresses.control_plane(1) }
}

fn ensure_etcd(cluster: &Cluster, processes: &Processes, certificates: &Certificates, number: u8) -> Result<()> {
    let addresses = cluster.addresses();
    let at = addresses.control_plane(number);
    let members: Vec<String> = (1..=cluster.shape().control_planes)
        .map(|member| format!("etcd-{member}=https://{}:2380", addresses.control_plane(member)))
        .collect();
    let name = format!("etcd-{number}");
    let (certificate, key, authority) =
        (path(&certificates.certificate(&name)), path(&certificates.key(&name)), path(&certificates.certificate("etcd-ca")));
    let arguments = vec![
        format!("--name={name}"),
        format!("--data-dir={}", path(&cluster.folder().join(&name))),
        format!("--listen-client-urls=https://{at}:2379"),
        format!("--advertise-client-urls=https://{at}:2379"),
        format!("--listen-peer-urls=https://{at}:2380"),
        format!("--initial-advertise-peer-urls=https://{at}:2380"),
        format!("--initial-cluster={}", members.join(",")),
        format!("--initial-cluster-token={}", cluster.name()),
        // Pods can reach these addresses, so nothing is answered without a certificate.
        "--client-cert-auth".into(),
        "--peer-client-cert-auth".into(),
        format!("--cert-file={certificate}"),
        format!("--key-file={key}"),
        format!("--trusted-ca-file={authority}"),
        format!("--peer-cert-file={certificate}"),
        format!("--peer-key-file={key}"),
        format!("--peer-trusted-ca-file={authority}"),
        "--log-level=warn".into(),
        "--auto-compaction-mode=periodic".into(),
        "--auto-compaction-retention=30m".into(),
    ];
    processes.ensure(&name, None, Path::new("etcd"), &arguments)?;
    Ok(())
}

fn ensure_api_server(
    cluster: &Cluster,
    processes: &Processes,
    binaries: &Binaries,
    certificates: &Certificates,
    number: u8,
) -> Result<bool> {
    let addresses = cluster.addresses();
    let at = addresses.control_plane(number);
    let name = format!("apiserver-{number}");
    let etcd: Vec<String> =
        (1..=cluster.shape().control_planes).map(|member| format!("https://{}:2379", addresses.control_plane(member))).collect();
    let mut arguments = vec![
        format!("--bind-address={at}"),
        format!("--advertise-address={at}"),
        format!("--secure-port={API_PORT}"),
        format!("--etcd-servers={}", etcd.join(",")),
        format!("--etcd-cafile={}", path(&certificates.certificate("etcd-ca"))),
        format!("--etcd-certfile={}", path(&certificates.certificate("etcd-client"))),
        format!("--etcd-keyfile={}", path(&certificates.key("etcd-client"))),
        format!("--tls-cert-file={}", path(&certificates.certificate(&name))),
        format!("--tls-private-key-file={}", path(&certificates.key(&name))),
        format!("--client-ca-file={}", path(&certificates.certificate("ca"))),
        format!("--service-account-key-file={}", path(&cluster.folder().join("certificates/service-accounts.pub"))),
        format!("--service-account-signing-key-file={}", path(&certificates.key("service-accounts"))),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-cluster-ip-range={}", addresses.service_network()),
        "--authorization-mode=Node,RBAC".into(),
        format!("--authentication-token-webhook-config-file={}", path(&token_review::configuration(cluster, certificates)?)),
        "--authentication-token-webhook-version=v1".into(),
        // A token that is taken back is refused at once.
        "--authentication-token-webhook-cache-ttl=0s".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        format!("--kubelet-certificate-authority={}", path(&certificates.certificate("ca"))),
        format!("--kubelet-client-certificate={}", path(&certificates.certificate("kubelet-client"))),
        format!("--kubelet-client-key={}", path(&certificates.key("kubelet-client"))),
        // Node names are in no DNS: exec and logs would not find them.
        "--kubelet-preferred-address-types=InternalIP".into(),
        "--anonymous-auth=false".into(),
        "--profiling=false".into(),
    ];
    arguments.extend(audit::arguments(cluster, certificates)?);
    processes.ensure(&name, None, &cluster.component(binaries, "kube-apiserver")?, &arguments)
}

fn ensure_controllers_of(
    cluster: &Cluster,
    processes: &Processes,
    binaries: &Binaries,
    certificates: &Certificates,
    number: u8,
) -> Result<()> {
    let addresses = cluster.addresses();
    let elect = cluster.shape().control_planes > 1;
    // Several run on one machine: none may take the components' default ports.
    let controller_manager = vec![
        format!("--kubeconfig={}", path(&cluster.kubeconfig("controller-manager"))),
        format!("--bind-address={}", addresses.control_plane(number)),
        format!("--service-account-private-key-file={}", path(&certificates.key("service-accounts"))),
        format!("--root-ca-file={}", path(&certificates.certificate("ca"))),
        format!("--cluster-signing-cert-file={}", path(&certificates.certificate("ca"))),
        format!("--cluster-signing-key-file={}", path(&certificates.key("ca"))),
        "--use-service-account-credentials".into(),
        "--allocate-node-cidrs=false".into(),
        format!("--leader-elect={elect}"),
        API_QPS.into(),
        API_BURST.into(),
    ];
    processes.ensure(
        &format!("controller-manager-{number}"),
        None,
        &cluster.component(binaries, "kube-controller-manager")?,
        &controller_manager,
    )?;
    let scheduler = vec![
        format!("--kubeconfig={}", path(&cluster.kubeconfig("scheduler"))),
        format!("--bind-address={}", addresses.control_plane(number)),
        format!("--leader-elect={elect}"),
        API_QPS.into(),
        API_BURST.into(),
    ];
    processes.ensure(&format!("scheduler-{number}"), None, &cluster.component(binaries, "kube-scheduler")?, &scheduler)?;
    Ok(())
}

/// One address before several API servers: connections go to those that accept them.
fn ensure_balancer(cluster: &Cluster, processes: &Processes, count: u8) -> Result<()> {
    let addresses = cluster.addresses();
    let servers: String = (1..=count)
        .map(|number| {
            format!(
                "  server api{number} {}:{API_PORT} check inter 300ms fall 1 rise 1 on-marked-down shutdown-sessions\n",
                addresses.control_plane(number)
            )
        })
        .collect();
    let configuration = format!(
        "global\n  maxconn 4096\ndefaults\n  mode tcp\n  timeout connect 1s\n  timeout client 1h\n  timeout server 1h\n  option redispatch 1\n  retries 3\nlisten api\n  bind {}:{API_PORT}\n  balance roundrobin\n{servers}",
        addresses.api(),
    );
    let file = cluster.folder().join("balancer.cfg");
    std::fs::write(&file, configuration).with_context(|| format!("failed to write {}", file.display()))?;
    processes.ensure("balancer", None, Path::new("/usr/sbin/haproxy"), &["-db".into(), "-f".into(), path(&file)])?;
    Ok(())
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
