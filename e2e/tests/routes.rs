//! Routes that do more than pass requests on: the API server takes them, the operator judges them, the gateways do it.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use eddy_e2e::{Cluster, Gateway, wait};
use rcgen::{CertificateParams, KeyPair};
use reqwest::Method;
use tempfile::NamedTempFile;

const ROUTES: &str = "routes.eddy.cloud";
const CORE: &str = "u-routed";
const HOST: &str = "routed.example";

fn container(core: &str) -> String {
    // It tells what it is asked by.
    let command = r#"["sh", "-c", "mkdir -p /tmp/cgi-bin; printf '#!/bin/sh\necho Content-Type: text/plain; echo; echo $REQUEST_METHOD $REQUEST_URI $HTTP_HOST set=$HTTP_X_SET' >/tmp/cgi-bin/who; chmod +x /tmp/cgi-bin/who; httpd -p 8080 -h /tmp; trap 'exit 0' TERM; sleep infinity & wait"]"#;
    format!(
        "apiVersion: eddy.cloud/v1alpha1\nkind: Container\nmetadata: {{name: web, namespace: {core}}}\nspec: {{image: 'busybox:1.35', command: {command}, ports: [{{port: 8080}}], resources: {{cpu: 10m, memory: 16Mi}}}}\n"
    )
}

fn route(name: &str, spec: &str) -> String {
    format!("apiVersion: eddy.cloud/v1alpha1\nkind: Route\nmetadata: {{name: {name}, namespace: {CORE}}}\nspec: {{{spec}}}\n")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn what_a_route_asks_for_is_done_and_what_it_cannot_is_said() {
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    cluster.tenant("routed");
    cluster.kubectl(&["-n", CORE, "delete", ROUTES, "--all"]);
    let backends = "backends: [{container: web, port: 8080}]";
    let asked = |method: Method, path: &str, headers: &[(&str, &str)]| {
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| handle.block_on(gateway.send(method, HOST, path, headers, String::new())))
    };
    let get = |path: &str, headers: &[(&str, &str)]| asked(Method::GET, path, headers);
    cluster.apply(&container(CORE));
    cluster.apply(&route(
        "all",
        &format!(
            "hosts: [{HOST}], {backends}, rewrite: {{host: inner.example, path: {{full: /cgi-bin/who}}}}, \
             requestHeaders: {{set: [{{name: X-Set, value: all}}]}}, responseHeaders: {{add: [{{name: X-Answered, value: 'yes'}}]}}, \
             requestBodyMebibytesMax: 1, cors: {{allowOrigins: ['https://*.example']}}"
        ),
    ));
    let special = format!(
        "hosts: [{HOST}], {backends}, paths: [{{path: '/v[0-9]+/who', type: Regex}}], methods: [GET], \
         headers: [{{name: X-Kind, value: special}}], queries: [{{name: q, value: '1'}}], \
         rewrite: {{path: {{full: /cgi-bin/who}}}}, requestHeaders: {{set: [{{name: X-Set, value: special}}]}}"
    );
    cluster.apply(&route("special", &special));
    cluster.apply(&route(
        "moved",
        &format!("hosts: [{HOST}], paths: [{{path: /old}}], redirect: {{scheme: https, path: {{prefix: /new}}, status: 301}}"),
    ));
    for name in ["all", "special", "moved"] {
        cluster.wait_ready(ROUTES, CORE, name);
    }
    wait("gateways that know all three", || {
        let said = (get("/v2/who?q=1", &[("x-kind", "special")]).2, get("/v2/who?q=1", &[]).2);
        said.0.contains("set=special") && said.1.contains("set=all") && get("/old/x", &[]).0 == 301
    });
    let (status, head, said) = get("/x?y", &[("origin", "https://app.example")]);
    assert_eq!((status, said.trim()), (200, "GET /cgi-bin/who?y inner.example set=all"));
    assert!(head["x-answered"] == "yes" && head["access-control-allow-origin"] == "https://app.example", "{head:?}");
    assert_eq!(get("/old/x?y", &[]).1["location"], format!("https://{HOST}/new/x?y"));

    // What cannot be compiled is said, and serves nothing; the others go on.
    cluster.apply(&route("special", &special.replace("[0-9]+", "(")));
    let said = cluster.wait_reason(ROUTES, CORE, "special", "InvalidRoute");
    assert!(said.contains("spec.paths"), "{said}");
    wait("gateways without it", || get("/v2/who?q=1", &[("x-kind", "special")]).2.contains("set=all"));

    // Who is not let in.
    let closed = |filter: &str| route("all", &format!("hosts: [{HOST}], {backends}, {filter}"));
    cluster.apply(&closed("ipFilter: {deny: [0.0.0.0/0, '::/0']}"));
    wait("gateways that let nobody in", || (0..10).all(|_| get("/", &[]).0 == 403));
    cluster.apply(&closed("rateLimit: {requestsPerSecond: 1, burst: 2}"));
    wait("gateways that let in only so many", || {
        let answers: Vec<_> = (0..10).map(|_| get("/", &[])).collect();
        answers.iter().any(|(status, head, _)| *status == 429 && head.contains_key("retry-after"))
    });
}

/// A Secret `web-tls` with a certificate of its own for a host, and a file with that.
fn certificate(core: &str, host: &str) -> (String, NamedTempFile) {
    let key = KeyPair::generate().unwrap();
    let chain = CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(chain.as_bytes()).unwrap();
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "web-tls", "namespace": core},
        "stringData": {"tls.crt": chain, "tls.key": key.serialize_pem()},
    });
    (secret.to_string(), file)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn hosts_are_served_with_the_certificate_of_their_secret_and_nobody_reads_another() {
    const CORE: &str = "u-encrypted";
    const HOST: &str = "encrypted.example";
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    cluster.tenant("encrypted");
    cluster.kubectl(&["-n", CORE, "delete", ROUTES, "--all"]);
    cluster.kubectl(&["-n", CORE, "delete", "secrets", "web-tls", "--ignore-not-found"]);
    cluster.apply(&container(CORE));
    cluster.apply(&format!(
        "apiVersion: eddy.cloud/v1alpha1\nkind: Route\nmetadata: {{name: web, namespace: {CORE}}}\nspec: {{hosts: [{HOST}], \
         backends: [{{container: web, port: 8080}}], rewrite: {{path: {{full: /cgi-bin/who}}}}, tls: {{secret: web-tls, redirectHttp: true}}}}\n"
    ));
    // Requests by TLS, of which curl trusts one certificate only.
    let node = cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"]);
    let port = "jsonpath={.spec.ports[?(@.name=='https')].nodePort}";
    let port = cluster.kubectl(&["-n", "eddy-system", "get", "service", "eddy-gateway", "-o", port]);
    let is_served = |trusted: &NamedTempFile| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "--max-time", "10", "--connect-to", &format!("{HOST}:443:{node}:{port}"), "--cacert"]);
        let said = curl.arg(trusted.path()).arg(format!("https://{HOST}/x?y")).output().unwrap();
        said.status.success() && String::from_utf8(said.stdout).unwrap().contains("GET /cgi-bin/who?y")
    };

    cluster.wait_reason(ROUTES, CORE, "web", "SecretMissing");
    cluster.apply(&certificate(CORE, "another.example").0);
    let said = cluster.wait_reason(ROUTES, CORE, "web", "InvalidCertificate");
    assert!(said.contains("is not for encrypted.example"), "{said}");
    let (secret, first) = certificate(CORE, HOST);
    cluster.apply(&secret);
    cluster.wait_ready(ROUTES, CORE, "web");
    wait("gateways that serve the certificate", || (0..10).all(|_| is_served(&first)));
    let (status, head, _) = gateway.send(Method::GET, HOST, "/x?y", &[], String::new()).await;
    assert_eq!((status, &head["location"]), (308, &format!("https://{HOST}/x?y").parse().unwrap()));

    // Another takes its place.
    let (secret, second) = certificate(CORE, HOST);
    cluster.apply(&secret);
    wait("gateways that serve the new certificate", || (0..10).all(|_| is_served(&second)));
    assert!(!is_served(&first));

    // The gateway reads that Secret, and only as long as a Route names it.
    let reads = |secret: &str| {
        let (gateway, secret) = ("--as=system:serviceaccount:eddy-system:eddy-gateway", format!("secrets/{secret}"));
        let (_, said) = cluster.try_kubectl(&["-n", CORE, "auth", "can-i", "get", &secret, gateway], None);
        said.trim().ends_with("yes")
    };
    assert!(reads("web-tls") && !reads("another") && !reads(""));
    cluster.kubectl(&["-n", CORE, "delete", ROUTES, "web"]);
    wait("a gateway that reads it no more", || !reads("web-tls"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn connections_are_passed_on_from_the_ports_that_the_gateway_has() {
    const CORE: &str = "u-ported";
    let cluster = Cluster::connect().await;
    cluster.tenant("ported");
    cluster.kubectl(&["-n", CORE, "delete", ROUTES, "--all"]);
    cluster.apply(&container(CORE));
    let route = |name: &str, port: u16, more: &str| {
        let spec = format!("protocol: TCP, port: {port}, backends: [{{container: web, port: 8080}}]{more}");
        cluster.apply(&format!(
            "apiVersion: eddy.cloud/v1alpha1\nkind: Route\nmetadata: {{name: {name}, namespace: {CORE}}}\nspec: {{{spec}}}\n"
        ));
    };
    route("first", 5432, "");
    cluster.wait_ready(ROUTES, CORE, "first");
    route("second", 5432, "");
    route("closed", 5433, "");
    route("looks", 5432, ", rateLimit: {requestsPerSecond: 1}");
    cluster.wait_reason(ROUTES, CORE, "second", "PortTaken");
    let said = cluster.wait_reason(ROUTES, CORE, "closed", "PortNotOpen");
    assert!(said.contains("does not listen on tcp/5433"), "{said}");
    cluster.wait_reason(ROUTES, CORE, "looks", "InvalidRoute");
    cluster.kubectl(&["-n", CORE, "delete", ROUTES, "looks"]);
    let node = cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"]);
    let port = "jsonpath={.spec.ports[?(@.name=='tcp-5432')].nodePort}";
    let port = cluster.kubectl(&["-n", "eddy-system", "get", "service", "eddy-gateway", "-o", port]);
    // Whatever is spoken is passed on as it is; here it is HTTP/1.0, without a host.
    let is_passed = || {
        let Ok(mut connection) = TcpStream::connect(format!("{node}:{port}")) else { return false };
        let mut answer = String::new();
        let within = connection.set_read_timeout(Some(Duration::from_secs(5)));
        let asked = within.and_then(|()| connection.write_all(b"GET /cgi-bin/who HTTP/1.0\r\n\r\n"));
        asked.and_then(|()| connection.read_to_string(&mut answer)).is_ok() && answer.contains("GET /cgi-bin/who")
    };
    wait("gateways that pass connections on", || (0..10).all(|_| is_passed()));
    // Who had it first lets go of it.
    cluster.kubectl(&["-n", CORE, "delete", ROUTES, "first"]);
    cluster.wait_ready(ROUTES, CORE, "second");
    wait("gateways that pass them on for the next", || (0..10).all(|_| is_passed()));
}
