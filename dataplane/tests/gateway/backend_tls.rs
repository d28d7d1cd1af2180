//! Backends that are reached by TLS, and that must be who they are said to be.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eddy_e2e::wait;
use rcgen::{CertificateParams, KeyPair, SanType};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::gateways::{free_port, inputs, object, rules, status};
use crate::support::GatewayProcess;
use crate::tls::{certificate, secured_backend};

const URI: &str = "spiffe://a.example/backend";

/// A certificate of a backend, with names of hosts and a URI.
fn backends(hosts: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap();
    parameters.subject_alt_names.push(SanType::URI(URI.try_into().unwrap()));
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_a_policy_is_for_is_reached_by_tls_if_it_is_who_it_must_be() {
    let theirs = backends(&["backend.example"]);
    let backend = secured_backend(&theirs, 3).await;
    // What is asked of the backend, and what becomes of requests.
    let host = |hostname: &str, names: Value| json!({"hostname": hostname, "subjectAltNames": names});
    let named = |kind: &str, field: &str, value: &str| json!([{"type": kind, field: value}]);
    let well_known = json!({"hostname": "backend.example", "wellKnownCACertificates": "System"});
    let cases = [
        ("ca", host("backend.example", json!([])), "200"),
        ("ca", host("other.example", json!([])), "502"),
        ("ca", host("other.example", named("URI", "uri", URI)), "200"),
        ("ca", host("backend.example", named("URI", "uri", "spiffe://a.example/other")), "502"),
        ("ca", host("other.example", named("Hostname", "hostname", "backend.example")), "200"),
        ("ca", host("backend.example", named("Hostname", "hostname", "other.example")), "502"),
        ("others", host("backend.example", json!([])), "502"),
        ("nothing", host("backend.example", json!([])), "500"),
        ("missing", host("backend.example", json!([])), "500"),
        ("", well_known, "502"),
    ];
    for (map, mut validation, expected) in cases {
        if !map.is_empty() {
            validation["caCertificateRefs"] = json!([{"group": "", "kind": "ConfigMap", "name": map}]);
        }
        let port = free_port();
        let listeners = json!([{"name": "http", "port": 80, "protocol": "HTTP"}]);
        let route = rules("first", json!([{"backendRefs": [{"name": "web", "port": 80}]}]));
        let mut inputs = inputs(&[("first", listeners, &[(80, port)])], &[("r", route)], backend);
        let target = json!([{"group": "", "kind": "Service", "name": "web"}]);
        let policy = object("BackendTLSPolicy", "p", 1, json!({"targetRefs": target, "validation": validation}));
        inputs["gateway_api"]["tls_policies"] = json!([policy]);
        let authorities =
            |name: &str, certificates: &str| json!({"place": {"namespace": "infra", "name": name}, "certificates": certificates});
        let others = certificate(&["backend.example"]).0;
        inputs["authorities"] = json!([authorities("ca", &theirs.0), authorities("others", &others), authorities("nothing", "")]);
        tokio::task::block_in_place(|| {
            let mut gateway = GatewayProcess::start(&inputs, &["--gateway-api"]);
            assert_eq!(status(port, "http://any.example/", &[]), expected, "{validation}");
            // What has a body goes the same way; the backend reads until an empty line.
            let body = ["--data-binary", "a=b\r\n\r\n"];
            assert_eq!(status(port, "http://any.example/", &body), expected, "{validation}");
            wait("the gateway ends", || gateway.end());
        });
    }
}

/// What is served of one Route to a backend that has this certificate.
fn reached(theirs: &(String, String), backend: SocketAddr, port: u16) -> Value {
    let listeners = json!([{"name": "http", "port": 80, "protocol": "HTTP"}]);
    let route = rules("first", json!([{"backendRefs": [{"name": "web", "port": 80}]}]));
    let mut inputs = inputs(&[("first", listeners, &[(80, port)])], &[("r", route)], backend);
    let reference = json!([{"group": "", "kind": "ConfigMap", "name": "ca"}]);
    let validation = json!({"hostname": "backend.example", "caCertificateRefs": reference});
    let policy = json!({"targetRefs": [{"group": "", "kind": "Service", "name": "web"}], "validation": validation});
    inputs["gateway_api"]["tls_policies"] = json!([object("BackendTLSPolicy", "p", 1, policy)]);
    inputs["authorities"] = json!([{"place": {"namespace": "infra", "name": "ca"}, "certificates": theirs.0}]);
    inputs
}

/// A backend that agrees on these protocols, and whose connections are answered by this; how many there were is counted.
async fn counted<F>(
    (chain, key): &(String, String),
    protocols: &[&[u8]],
    answer: impl Fn(TlsStream<TcpStream>) -> F + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let certificate = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut server = server.with_single_cert(vec![certificate], key).unwrap();
    server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counting = count.clone();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::Relaxed);
            if let Ok(accepted) = acceptor.accept(connection).await {
                tokio::spawn(answer(accepted));
            }
        }
    });
    (address, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_by_tls_are_used_again() {
    let theirs = backends(&["backend.example"]);
    let (backend, count) = counted(&theirs, &[], |mut connection| async move {
        let mut request = Vec::new();
        while connection.read_buf(&mut request).await? > 0 {
            if request.ends_with(b"\r\n\r\n") {
                request.clear();
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
                connection.flush().await?;
            }
        }
        Ok(())
    })
    .await;
    let port = free_port();
    let _gateway = tokio::task::block_in_place(|| GatewayProcess::start(&reached(&theirs, backend, port), &["--gateway-api"]));
    for _ in 0..5 {
        tokio::task::block_in_place(|| assert_eq!(status(port, "http://any.example/", &[]), "200"));
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_spoken_by_tls_with_backends_that_agree_on_it() {
    let theirs = backends(&["backend.example"]);
    for (protocols, expected, connections) in [(&[b"h2".as_slice()][..], "200", 1), (&[], "502", 0)] {
        let (backend, count) = counted(&theirs, protocols, |connection| async move {
            let mut connection = h2::server::handshake(connection).await.map_err(std::io::Error::other)?;
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let _ = respond.send_response(http::Response::new(()), true);
            }
            Ok(())
        })
        .await;
        let port = free_port();
        let mut inputs = reached(&theirs, backend, port);
        inputs["gateway_api"]["services"][0][1]["ports"][0]["is_http2"] = json!(true);
        let _gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &["--gateway-api"]));
        for _ in 0..3 {
            tokio::task::block_in_place(|| assert_eq!(status(port, "http://any.example/", &[]), expected));
        }
        assert!(connections == 0 || count.load(Ordering::Relaxed) == connections);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_flows_by_tls() {
    let theirs = backends(&["backend.example"]);
    let (backend, _) = counted(&theirs, &[], |mut connection| async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && connection.read_buf(&mut request).await? > 0 {}
        let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhello";
        connection.write_all(switch.as_bytes()).await?;
        connection.flush().await?;
        let mut echoed = vec![0; 100_000];
        connection.read_exact(&mut echoed).await?;
        connection.write_all(&echoed).await?;
        connection.shutdown().await
    })
    .await;
    let port = free_port();
    let _gateway = tokio::task::block_in_place(|| GatewayProcess::start(&reached(&theirs, backend, port), &["--gateway-api"]));
    tokio::task::block_in_place(|| wait("the port is open", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let asks = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n";
    client.write_all(asks.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        assert!(client.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    let sent: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    client.write_all(&sent).await.unwrap();
    let mut echoed = Vec::new();
    client.read_to_end(&mut echoed).await.unwrap();
    assert!(echoed == sent, "{} bytes came back", echoed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_last_reaches_a_backend_by_tls() {
    const BYTES: usize = 150_000;
    let theirs = backends(&["backend.example"]);
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let (backend, _) = counted(&theirs, &[], move |mut connection| {
        let told = told.clone();
        async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && connection.read_buf(&mut request).await? > 0 {}
            let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
            connection.write_all(switch.as_bytes()).await?;
            connection.flush().await?;
            // It takes its time.
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            let mut said = Vec::new();
            let _ = connection.read_to_end(&mut said).await;
            let _ = told.send(said.len());
            Ok(())
        }
    })
    .await;
    let port = free_port();
    let _gateway = tokio::task::block_in_place(|| GatewayProcess::start(&reached(&theirs, backend, port), &["--gateway-api"]));
    tokio::task::block_in_place(|| wait("the port is open", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
    for _ in 0..8 {
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let asks = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n";
        client.write_all(asks.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0);
        }
        client.write_all(&vec![b'x'; BYTES]).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(heard.recv().await, Some(BYTES));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_length_is_known_is_whole_however_tls_ends() {
    const BYTES: usize = 3_000_000;
    let theirs = backends(&["backend.example"]);
    let (backend, _) = counted(&theirs, &[], |mut connection| async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && connection.read_buf(&mut request).await? > 0 {}
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\nConnection: close\r\n\r\n");
        connection.write_all(head.as_bytes()).await?;
        connection.write_all(&vec![b'x'; BYTES]).await?;
        connection.flush().await?;
        connection.get_mut().0.shutdown().await
    })
    .await;
    let port = free_port();
    let _gateway = tokio::task::block_in_place(|| GatewayProcess::start(&reached(&theirs, backend, port), &["--gateway-api"]));
    tokio::task::block_in_place(|| wait("the port is open", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
    // A slow client: what is on its way waits in every buffer.
    let url = format!("http://127.0.0.1:{port}/");
    let arguments = ["-s", "--max-time", "30", "--limit-rate", "2M", "-o", "/dev/null", "-w", "%{size_download}", &url];
    let said = tokio::task::block_in_place(|| Command::new("curl").args(arguments).output().unwrap());
    assert_eq!((said.status.code(), String::from_utf8_lossy(&said.stdout).into_owned()), (Some(0), BYTES.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_may_not_be_whole_is_not_passed_on_as_if_it_were() {
    let theirs = backends(&["backend.example"]);
    for says_so in [true, false] {
        let (backend, _) = counted(&theirs, &[], move |mut connection| async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && connection.read_buf(&mut request).await? > 0 {}
            connection.write_all(b"HTTP/1.1 200 OK\r\n\r\nsome of it").await?;
            connection.flush().await?;
            // To end without saying so is what whoever is on the way can do as well.
            if says_so { connection.shutdown().await } else { connection.get_mut().0.shutdown().await }
        })
        .await;
        let port = free_port();
        let _gateway =
            tokio::task::block_in_place(|| GatewayProcess::start(&reached(&theirs, backend, port), &["--gateway-api"]));
        tokio::task::block_in_place(|| {
            wait("the port is open", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
            let url = format!("http://127.0.0.1:{port}/");
            let said = Command::new("curl").args(["-s", "--max-time", "20", &url]).output().unwrap();
            // Or it is not begun with at all: 502 says so as well.
            let is_whole = said.status.success() && said.stdout == b"some of it";
            assert_eq!(is_whole, says_so, "{}", String::from_utf8_lossy(&said.stdout));
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_be_reached_by_tls_is_not_reached_before_that_is_known() {
    let theirs = backends(&["backend.example"]);
    let backend = secured_backend(&theirs, 3).await;
    let port = free_port();
    let mut inputs = reached(&theirs, backend, port);
    inputs["gateway_api"].as_object_mut().unwrap().remove("tls_policies");
    let _gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &["--gateway-api"]));
    tokio::task::block_in_place(|| assert_eq!(status(port, "http://any.example/", &[]), "500"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_tls_that_ends_here_is_passed_on_in_tls_of_the_backends() {
    let theirs = backends(&["backend.example"]);
    let backend = secured_backend(&theirs, 3).await;
    let port = free_port();
    let listeners = json!([
        {"name": "ends", "port": 443, "protocol": "TLS", "hostname": "a.example", "tls": {"certificateRefs": [{"name": "tls"}]}},
        {"name": "passes", "port": 443, "protocol": "TLS", "hostname": "backend.example", "tls": {"mode": "Passthrough"}},
    ]);
    let mut inputs = inputs(&[("first", listeners, &[(443, port)])], &[], backend);
    let route = rules("first", json!([{"backendRefs": [{"name": "web", "port": 80}]}]));
    inputs["gateway_api"]["tls_routes"] = json!([object("TLSRoute", "r", 1, route)]);
    let reference = json!([{"group": "", "kind": "ConfigMap", "name": "ca"}]);
    let policy = json!({"targetRefs": [{"group": "", "kind": "Service", "name": "web"}], "validation": {"hostname": "backend.example", "caCertificateRefs": reference}});
    inputs["gateway_api"]["tls_policies"] = json!([object("BackendTLSPolicy", "p", 1, policy)]);
    inputs["authorities"] = json!([{"place": {"namespace": "infra", "name": "ca"}, "certificates": theirs.0}]);
    let _gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &["--gateway-api"]));
    tokio::task::block_in_place(|| {
        assert_eq!(status(port, "https://a.example/", &[]), "200", "in TLS of its own");
        assert_eq!(status(port, "https://backend.example/", &[]), "200", "and as it is");
    });
}
