//! Gateways of the Gateway API, each at ports of its own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use eddy_e2e::wait;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::support::{GatewayProcess, backend};
use crate::tls::{certificate, secured_backend};

/// A port that is opened for Gateways, free now and given to no other test of this process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() as u16 % 9000;
    let mut ports = std::iter::repeat_with(|| 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

pub(crate) fn object(kind: &str, name: &str, created: u32, spec: Value) -> Value {
    let metadata = json!({"namespace": "infra", "name": name, "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z")});
    let object = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": metadata, "spec": spec});
    json!([{"namespace": "infra", "name": name}, object])
}

/// A Gateway: its name, its listeners, and what is opened for which of its ports.
pub(crate) type Written<'a> = (&'a str, Value, &'a [(u16, u16)]);

/// What is served: Gateways with their listeners and what is opened for each port, Routes, and a Service `web` with this endpoint.
pub(crate) fn inputs(gateways: &[Written<'_>], routes: &[(&str, Value)], backend: SocketAddr) -> Value {
    let gateway = |(name, listeners, _): &Written<'_>| {
        object("Gateway", name, 0, json!({"gatewayClassName": "eddy", "listeners": listeners}))
    };
    let doors = |(name, _, doors): &Written<'_>| {
        let doors: Vec<_> = doors.iter().map(|(port, opened)| json!({"port": port, "opened": opened})).collect();
        json!([{"namespace": "eddy-system", "name": name}, [{"namespace": "infra", "name": name}, doors]])
    };
    let route = |(number, (name, spec)): (usize, &(&str, Value))| object("HTTPRoute", name, number as u32, spec.clone());
    let key = KeyPair::generate().unwrap();
    let names = ["a.example".to_owned(), "*.b.example".to_owned()];
    let chain = CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
    json!({
        "routes": [],
        "slices": [{
            "slice": {"namespace": "infra", "name": "web-1"}, "service": "web",
            "ready": {backend.port().to_string(): [backend]}, "leaving": {}, "names": {"http": backend.port()},
        }],
        "secrets": [{"place": {"namespace": "infra", "name": "tls"}, "chain": chain, "key": key.serialize_pem()}],
        "gateway_api": {
            "classes": {"eddy": true},
            "gateways": gateways.iter().map(gateway).collect::<Vec<_>>(),
            "http_routes": routes.iter().enumerate().map(route).collect::<Vec<_>>(),
            "grants": [],
            "tls_policies": [],
            "namespaces": {"infra": {}},
            "services": [[{"namespace": "infra", "name": "web"}, {"ports": [{"port": 80, "name": "http", "is_udp": false}]}]],
            "doors": gateways.iter().map(doors).collect::<Vec<_>>(),
        },
    })
}

pub(crate) fn rules(parent: &str, rules: Value) -> Value {
    json!({"parentRefs": [{"name": parent}], "rules": rules})
}

/// The status that is answered to a request for a URL, with these arguments of curl, once the port is open.
pub(crate) fn status(port: u16, url: &str, arguments: &[&str]) -> String {
    wait("the port is open", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let mut curl = Command::new("curl");
    curl.args(["-sk", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "--max-time", "20"]);
    let said = curl.args(["--connect-to", &format!("::127.0.0.1:{port}")]).args(arguments).arg(url).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_has_ports_of_its_own_and_knows_its_own_routes_only() {
    let (backend, mut told) = backend().await;
    let (first, second) = (free_port(), free_port());
    let http = |host: Option<&str>| {
        let mut listener = json!({"name": "http", "port": 80, "protocol": "HTTP"});
        host.iter().for_each(|host| listener["hostname"] = json!(host));
        json!([listener])
    };
    let to_web = json!([{"name": "web", "port": 80}]);
    let routes = [
        (
            "one",
            rules(
                "first",
                json!([
                    {"matches": [{"path": {"value": "/a"}}], "backendRefs": to_web, "filters": [
                        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-set", "value": "1"}]}}]},
                    {"matches": [{"path": {"value": "/gone"}}], "filters": [
                        {"type": "RequestRedirect", "requestRedirect": {"hostname": "c.example", "statusCode": 301}}]},
                    {"matches": [{"path": {"value": "/missing"}}], "backendRefs": [{"name": "none", "port": 80}]},
                    {"matches": [{"path": {"value": "/nobody"}}]},
                    {"matches": [{"path": {"value": "/broken"}}], "backendRefs": to_web, "filters": [{"type": "ExtensionRef"}]},
                ]),
            ),
        ),
        ("two", rules("second", json!([{"matches": [{"path": {"value": "/b"}}], "backendRefs": to_web}]))),
    ];
    let inputs = inputs(
        &[("first", http(None), &[(80, first)]), ("second", http(Some("*.b.example")), &[(80, second)])],
        &routes,
        backend,
    );
    let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &["--gateway-api"]));
    tokio::task::block_in_place(|| {
        assert_eq!(status(first, "http://any.example/a/b", &[]), "200");
        assert_eq!(status(first, "http://any.example/b", &[]), "404");
        assert_eq!(status(first, "http://any.example/gone", &[]), "301 http://c.example/gone");
        // The port that is opened is nobody's business.
        assert_eq!(status(first, "http://any.example:8080/gone", &[]), "301 http://c.example/gone");
        assert_eq!(status(first, "http://any.example/missing", &[]), "500", "there is no such Service");
        assert_eq!(status(first, "http://any.example/nobody", &[]), "500");
        assert_eq!(status(first, "http://any.example/broken", &[]), "503");
        assert_eq!(status(second, "http://x.b.example/b", &[]), "200");
        assert_eq!(status(second, "http://x.b.example/a", &[]), "404");
        assert_eq!(status(second, "http://any.example/b", &[]), "404", "the listener is for another host");
        assert_eq!(status(gateway.address.port(), "http://any.example/a", &[]), "404", "that is no Gateway's");
    });
    let seen = told.recv().await.unwrap().to_ascii_lowercase();
    assert!(seen.starts_with("get /a/b http/1.1\r\n") && seen.contains("x-set: 1\r\n"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_of_one_port_are_told_apart_by_host_and_certificates_are_theirs() {
    let (backend, _told) = backend().await;
    let port = free_port();
    let tls = json!({"certificateRefs": [{"name": "tls"}]});
    let listeners = json!([
        {"name": "a", "port": 443, "protocol": "HTTPS", "hostname": "a.example", "tls": tls},
        {"name": "b", "port": 443, "protocol": "HTTPS", "hostname": "*.b.example", "tls": tls},
    ]);
    let at = |section: &str, path: &str| {
        let mut spec =
            rules("first", json!([{"matches": [{"path": {"value": path}}], "backendRefs": [{"name": "web", "port": 80}]}]));
        spec["parentRefs"][0]["sectionName"] = json!(section);
        spec
    };
    let inputs = inputs(&[("first", listeners, &[(443, port)])], &[("a", at("a", "/a")), ("b", at("b", "/b"))], backend);
    let _gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &["--gateway-api"]));
    tokio::task::block_in_place(|| {
        assert_eq!(status(port, "https://a.example/a", &[]), "200");
        assert_eq!(status(port, "https://a.example/b", &["--http1.1"]), "404", "that is the other listener's");
        assert_eq!(status(port, "https://x.b.example/b", &[]), "200");
        assert_eq!(
            status(port, "https://x.b.example/b", &["-H", "Host: a.example"]),
            "421",
            "TLS was begun for another listener"
        );
        assert_eq!(status(port, "https://c.example/a", &[]), "000", "there is no certificate for it");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_passed_on_by_port_and_by_name() {
    let backend = secured_backend(&certificate(&["x.b.example"]), 2).await;
    let (tcp, tls) = (free_port(), free_port());
    let certificates = json!({"certificateRefs": [{"name": "tls"}]});
    let listeners = json!([
        {"name": "tcp", "port": 5432, "protocol": "TCP"},
        {"name": "inside", "port": 443, "protocol": "TLS", "hostname": "c.b.example", "tls": certificates},
        {"name": "ends", "port": 443, "protocol": "HTTPS", "hostname": "a.example", "tls": certificates},
        {"name": "passes", "port": 443, "protocol": "TLS", "hostname": "*.b.example", "tls": {"mode": "Passthrough"}},
    ]);
    let to = |section: &str, hosts: Value| {
        let rules = json!([{"backendRefs": [{"name": "web", "port": 80}]}]);
        json!({"parentRefs": [{"name": "first", "sectionName": section}], "hostnames": hosts, "rules": rules})
    };
    let mut inputs = inputs(&[("first", listeners, &[(5432, tcp), (443, tls)])], &[("h", to("ends", json!([])))], backend);
    inputs["gateway_api"]["tcp_routes"] = json!([object("TCPRoute", "c", 1, to("tcp", json!([])))]);
    inputs["gateway_api"]["tls_routes"] = json!([
        object("TLSRoute", "t", 2, to("passes", json!(["x.b.example"]))),
        object(
            "TLSRoute",
            "u",
            3,
            json!({"parentRefs": [{"name": "first", "sectionName": "inside"}], "rules": [{"backendRefs": [{"name": "plain", "port": 80}]}]})
        ),
    ]);
    let (plain, _told) = crate::support::backend().await;
    inputs["slices"].as_array_mut().unwrap().push(json!({
        "slice": {"namespace": "infra", "name": "plain-1"}, "service": "plain",
        "ready": {plain.port().to_string(): [plain]}, "leaving": {}, "names": {"http": plain.port()},
    }));
    let service = json!([{"namespace": "infra", "name": "plain"}, {"ports": [{"port": 80, "name": "http", "is_udp": false}]}]);
    inputs["gateway_api"]["services"].as_array_mut().unwrap().push(service);
    let _gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &["--gateway-api"]));
    tokio::task::block_in_place(|| {
        assert_eq!(status(tcp, "https://any.example/", &[]), "200", "whatever it is");
        assert_eq!(status(tls, "https://x.b.example/", &[]), "200", "the backend ends TLS");
        assert_eq!(status(tls, "https://y.b.example/", &[]), "000", "no Route is for it");
        assert_eq!(status(tls, "https://c.example/", &[]), "000", "no listener is for it");
        assert_eq!(status(tls, "https://c.b.example/", &[]), "200", "TLS ends here, and what is in it is passed on");
        assert_eq!(status(tls, "https://a.example/", &[]), "502", "TLS ends here, and the backend speaks nothing else");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_are_passed_on_by_routes_of_their_own() {
    let backend = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = backend.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((count, from)) = backend.recv_from(&mut buffer).await {
            let _ = backend.send_to(&buffer[..count], from).await;
        }
    });
    // One number is two ports.
    let (port, listeners) =
        (free_port(), json!([{"name": "udp", "port": 53, "protocol": "UDP"}, {"name": "http", "port": 53, "protocol": "HTTP"}]));
    let mut inputs = inputs(&[("first", listeners, &[(53, port)])], &[], address);
    let written = &mut inputs["gateway_api"];
    let doors = json!([{"port": 53, "opened": port}, {"port": 53, "opened": port, "transport": "Udp"}]);
    written["doors"][0][1][1] = doors;
    written["services"][0][1]["ports"][0]["is_udp"] = json!(true);
    written["udp_routes"] =
        json!([object("UDPRoute", "u", 1, rules("first", json!([{"backendRefs": [{"name": "web", "port": 80}]}])))]);
    // Whoever writes Routes for a port that is opened for a Gateway has nothing of it.
    let spec = json!({"protocol": "UDP", "port": port, "backends": [{"container": "hers", "port": 53}]});
    inputs["routes"] = json!([{"place": {"namespace": "u-eve", "name": "r"}, "created": 0, "spec": spec}]);
    inputs["slices"][0]["datagrams"] = json!({"ready": inputs["slices"][0]["ready"], "leaving": {}});
    let mut gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &["--gateway-api"]));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(("127.0.0.1", port)).await.unwrap();
    let mut answer = [0; 16];
    let mut tries = 0;
    let count = loop {
        // The port may not be open yet.
        let _ = client.send(b"question").await;
        match timeout(Duration::from_millis(200), client.recv(&mut answer)).await {
            Ok(Ok(count)) => break count,
            _ => tries += 1,
        }
        assert!(tries < 100, "no answer comes");
    };
    assert_eq!(&answer[..count], b"question");
    tokio::task::block_in_place(|| {
        assert_eq!(status(port, "http://any.example/", &[]), "404", "requests come to the other one");
        assert!(gateway.end());
    });
}
