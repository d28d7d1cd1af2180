//! Spans reach a collector, and the client's trace goes on to the backend.

#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};

use eddy_e2e::{Collector, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// The process, ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A backend that answers every request with 200, and tells what it was asked.
async fn backend() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && connection.read_buf(&mut request).await.is_ok_and(|count| count > 0) {}
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            let _ = tell.send(String::from_utf8_lossy(&request).into_owned());
        }
    });
    (address, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_becomes_a_span_between_the_client_s_and_the_backend_s() {
    let collector = Collector::start().await;
    let (backend, mut requests) = backend().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("static.json");
    let inputs = serde_json::json!({
        "routes": [{"place": {"namespace": "u-ada", "name": "web"}, "created": 0,
            "spec": {"hosts": ["web.example"], "backends": [{"container": "web", "port": 80}]}}],
        "slices": [{"slice": {"namespace": "u-ada", "name": "web-1"}, "service": "web", "ready": {"80": [backend]}, "leaving": {}}],
    });
    std::fs::write(&file, inputs.to_string()).unwrap();
    let listen = free();
    let gateway = Command::new(env!("CARGO_BIN_EXE_eddy-dataplane"))
        .args(["gateway", "--threads=1", "--access-log=false", "--trace-ratio=0", "--drain-delay-seconds=0"])
        .arg(format!("--listen={listen}"))
        .arg(format!("--admin-address={}", free()))
        .arg(format!("--static-file={}", file.display()))
        .arg(format!("--otlp-endpoint=http://{}", collector.address))
        .spawn();
    let mut gateway = Process(gateway.unwrap());
    tokio::task::block_in_place(|| wait("the gateway listens", || std::net::TcpStream::connect(listen).is_ok()));

    // The client has decided to trace this request, so the gateway does, whatever its own share is.
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let mut client = tokio::net::TcpStream::connect(listen).await.unwrap();
    let request =
        format!("GET /a HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\ntraceparent: 00-{trace}-{parent}-01\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // What is still buffered leaves before the process does.
    let asked = Command::new("kill").arg(gateway.0.id().to_string()).status().unwrap();
    assert!(asked.success() && gateway.0.wait().unwrap().success());
    let span = &collector.spans()[0];
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!((hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()), (trace, parent));
    assert_eq!(span.name, "GET");
    let attribute = |key: &str| span.attributes.iter().find(|attribute| attribute.key == key).map(|found| format!("{found:?}"));
    assert!(attribute("http.response.status_code").is_some_and(|status| status.contains("200")));
    assert!(attribute("eddy.route").is_some_and(|route| route.contains("u-ada/web")));
    let seen = requests.recv().await.unwrap().to_ascii_lowercase();
    assert!(seen.contains(&format!("traceparent: 00-{trace}-{}-01", hex(&span.span_id))), "{seen}");
}
