//! Domains: whoever proves a host has it, and a certificate of a real authority, which all gateways serve.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use eddy_e2e::{Authority, CREDENTIALS, Cluster, repository, wait, wait_within};
use serde_json::Value;

const DOMAINS: &str = "domains.eddy.cloud";
const ROUTES: &str = "routes.eddy.cloud";
const DAYS_90_S: u64 = 90 * 24 * 3600;

fn domain(core: &str, name: &str, host: &str, challenge: &str) -> String {
    format!(
        "apiVersion: eddy.cloud/v1alpha1\nkind: Domain\nmetadata: {{name: {name}, namespace: {core}}}\nspec: {{host: '{host}', challenge: {challenge}}}\n"
    )
}

/// It sends everybody elsewhere, so that no Container is needed.
fn route(core: &str, name: &str, host: &str, more: &str) -> String {
    format!(
        "apiVersion: eddy.cloud/v1alpha1\nkind: Route\nmetadata: {{name: {name}, namespace: {core}}}\nspec: {{hosts: ['{host}'], redirect: {{host: {core}.example}}{more}}}\n"
    )
}

/// The gateways' TLS, as a client outside the cluster sees it.
struct Tls {
    node: String,
    port: String,
}

impl Tls {
    fn of(cluster: &Cluster) -> Self {
        let node =
            cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"]);
        let port =
            cluster.kubectl(&["-n", "eddy-system", "get", "service", "eddy-gateway", "-o", "jsonpath={.spec.ports[1].nodePort}"]);
        Self { node, port }
    }

    /// Where a host sends whoever believes this root; none if its certificate is another's.
    fn sent(&self, host: &str, root: &Path) -> Option<String> {
        let resolve = format!("{host}:{}:{}", self.port, self.node);
        let url = format!("https://{host}:{}/", self.port);
        let mut command = Command::new("curl");
        command.args(["-sf", "--max-time", "5", "-o", "/dev/null", "-w", "%{redirect_url}", "--resolve", &resolve, "--cacert"]);
        let output = command.arg(root).arg(&url).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Says with Helm how Domains are served, as who runs the cluster does.
fn upgrade(settings: &[String]) {
    let cache = std::env::var("EDDY_CACHE").unwrap();
    let mut command = Command::new(Path::new(&cache).join("bin/helm"));
    command.args(["--kubeconfig", &std::env::var("EDDY_E2E_KUBECONFIG").unwrap(), "-n", "eddy-system", "upgrade", "eddy"]);
    command.arg(repository().join("charts/eddy")).args(["--reuse-values", "--wait", "--timeout", "3m"]);
    let output = command.args(settings.iter().flat_map(|setting| ["--set-json", setting])).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What a Domain's DNS is to hold.
fn proof(cluster: &Cluster, core: &str, name: &str) -> (String, String) {
    cluster.wait_reason(DOMAINS, core, name, "NotProven");
    let status = &cluster.get(DOMAINS, core, name).unwrap()["status"];
    let text = |field: &str| status[field].as_str().unwrap().to_owned();
    (text("proofRecord"), text("proofValue"))
}

/// The certificate's serial number, as far as one is told from another: all of it.
fn certificate(cluster: &Cluster, core: &str, name: &str) -> Value {
    cluster.get("secrets", core, &format!("{name}-domain-tls")).unwrap()["data"]["tls.crt"].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn whoever_proves_a_host_has_it_and_a_certificate() {
    let cluster = Cluster::connect().await;
    let (mut authority, tls) = (Authority::start(&cluster, DAYS_90_S), Tls::of(&cluster));
    for core in ["named", "early"] {
        cluster.tenant(core);
        for kind in [DOMAINS, ROUTES] {
            cluster.kubectl(&["-n", &format!("u-{core}"), "delete", kind, "--all"]);
        }
    }
    let system = |arguments: &[&str]| cluster.kubectl(&[&["-n", "eddy-system"], arguments].concat());
    let nothing = || {
        let none = [
            r#"acme={"directory": "", "caSecretName": "", "contacts": []}"#,
            r#"dns01={"endpoint": "", "secretName": ""}"#,
            "dnsServers=[]",
        ];
        upgrade(&none.map(|setting| format!("domains.{setting}")));
    };
    // Of a test that failed.
    nothing();
    system(&["delete", "secret", "--ignore-not-found", "test-ca", "test-dns01", "eddy-acme-account"]);

    // Without an authority, there is no certificate, and that is said.
    cluster.apply(&domain("u-named", "shop", "shop.named.test", "HTTP01"));
    let ca = format!("--from-file=ca.crt={}", authority.known_by().display());
    system(&["create", "secret", "generic", "test-ca", &ca]);
    system(&["create", "secret", "generic", "test-dns01", &format!("--from-literal=credentials={CREDENTIALS}")]);
    upgrade(&[format!("domains.dnsServers=[\"{}\"]", authority.dns_server())]);
    let (record, value) = proof(&cluster, "u-named", "shop");
    assert_eq!(record, "_eddy.shop.named.test");
    let said = cluster.ready(DOMAINS, "u-named", "shop").2;
    assert!(said.contains(&record) && said.contains(&value) && said.contains("none is there"), "{said}");

    // Who only names a host has it until it is proven: of two Routes of one second, that of the namespace which comes first.
    cluster.apply(&route("u-early", "shop", "shop.named.test", ""));
    cluster.wait_reason(ROUTES, "u-early", "shop", "Serving");
    cluster.apply(&route("u-named", "shop", "shop.named.test", ", domain: shop"));
    cluster.wait_reason(ROUTES, "u-named", "shop", "HostTaken");
    authority.put_txt(&record, "v=spf1 -all");
    authority.put_txt(&record, &value);
    cluster.wait_reason(DOMAINS, "u-named", "shop", "NoAuthority");
    cluster.wait_reason(ROUTES, "u-early", "shop", "HostTaken");
    let said = cluster.wait_reason(ROUTES, "u-named", "shop", "Progressing");
    assert!(said.contains("Domain shop"), "{said}");

    // By HTTP, by a handshake, and by DNS with a name for all below it.
    upgrade(&[
        format!(
            r#"domains.acme={{"directory": "{}", "caSecretName": "test-ca", "contacts": ["mailto:admin@named.test"]}}"#,
            authority.directory()
        ),
        format!(r#"domains.dns01={{"endpoint": "{}", "secretName": "test-dns01"}}"#, authority.dns01_endpoint()),
    ]);
    let root = authority.root();
    cluster.wait_reason(DOMAINS, "u-named", "shop", "Issued");
    cluster.wait_reason(ROUTES, "u-named", "shop", "Serving");
    for (name, host, challenge) in [("hand", "hand.named.test", "TLSALPN01"), ("all", "*.all.named.test", "DNS01")] {
        cluster.apply(&domain("u-named", name, host, challenge));
        let (record, value) = proof(&cluster, "u-named", name);
        authority.put_txt(&record, &value);
        cluster.apply(&route("u-named", name, host, &format!(", domain: {name}")));
    }
    for name in ["hand", "all"] {
        cluster.wait_reason(DOMAINS, "u-named", name, "Issued");
        cluster.wait_reason(ROUTES, "u-named", name, "Serving");
    }
    for host in ["shop.named.test", "hand.named.test", "x.all.named.test"] {
        wait("its certificate", || tls.sent(host, &root).is_some_and(|to| to.starts_with("https://u-named.example")));
    }
    let status = cluster.get(DOMAINS, "u-named", "shop").unwrap()["status"].clone();
    assert_eq!(status["secret"], "shop-domain-tls");
    assert!(status.get("order").is_none() && status.get("failure").is_none() && status["notAfter"].is_string(), "{status}");

    // What the authority finds is said in its words, and not asked for again at once.
    authority.put_address("lost.named.test", authority.nobodys_address());
    cluster.apply(&domain("u-named", "lost", "lost.named.test", "HTTP01"));
    let (record, value) = proof(&cluster, "u-named", "lost");
    authority.put_txt(&record, &value);
    let said = cluster.wait_reason(DOMAINS, "u-named", "lost", "IssuanceFailed");
    assert!(said.contains("the certificate authority: ") && said.contains("1 so far"), "{said}");
    let failure = cluster.get(DOMAINS, "u-named", "lost").unwrap()["status"]["failure"].clone();
    assert!(failure["nextAttemptAt"].is_string() && failure["count"] == 1, "{failure}");

    // Another tenant has a host only once the first one's record is gone, as where it is sold.
    cluster.apply(&domain("u-early", "shop", "shop.named.test", "HTTP01"));
    let (record, others) = proof(&cluster, "u-early", "shop");
    assert_ne!(others, value);
    authority.put_txt(&record, &others);
    cluster.wait_reason(DOMAINS, "u-early", "shop", "HostTaken");
    authority.clear_txt(&record);
    authority.put_txt(&record, &others);
    cluster.wait_reason(DOMAINS, "u-early", "shop", "Issued");
    cluster.wait_reason(ROUTES, "u-early", "shop", "Serving");
    cluster.wait_reason(ROUTES, "u-named", "shop", "HostTaken");
    cluster.wait_reason(DOMAINS, "u-named", "shop", "NotProven");
    cluster.apply(&route("u-early", "shop", "shop.named.test", ", domain: shop"));
    wait("its new holder", || tls.sent("shop.named.test", &root).is_some_and(|to| to.starts_with("https://u-early.example")));

    // An authority that has forgotten everybody gets another account; certificates are renewed before they end.
    authority.replace(90);
    cluster.kubectl(&["-n", "u-named", "delete", DOMAINS, "hand"]);
    cluster.wait_gone("secrets", "u-named", "hand-domain-tls");
    cluster.apply(&domain("u-named", "hand", "hand.named.test", "HTTP01"));
    cluster.wait_reason(DOMAINS, "u-named", "hand", "Issued");
    let first = certificate(&cluster, "u-named", "hand");
    wait_within(Duration::from_secs(240), "another certificate", || certificate(&cluster, "u-named", "hand") != first);
    let root = authority.root();
    wait("it is served", || tls.sent("hand.named.test", &root).is_some());

    for kind in [DOMAINS, ROUTES] {
        cluster.kubectl(&["-n", "u-named", "delete", kind, "--all"]);
        cluster.kubectl(&["-n", "u-early", "delete", kind, "--all"]);
    }
    nothing();
    system(&["delete", "secret", "--ignore-not-found", "test-ca", "test-dns01", "eddy-acme-account"]);
}
