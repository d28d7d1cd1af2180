//! HTTP/2, gRPC and WebSockets through the gateway.

use std::net::SocketAddr;
use std::process::Command;

use eddy_e2e::{Collector, reserved_address};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::script::Act::Answer;
use crate::script::{Script, Seen};
use crate::support::GatewayProcess;

/// One Route of the host `h` with these fields, to a backend that listens there.
fn gateway(fields: &Value, backend: SocketAddr) -> GatewayProcess {
    let mut spec = json!({"hosts": ["h"], "backends": [{"container": "web", "port": 80}]});
    for (field, value) in fields.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let inputs = json!({
        "routes": [{"place": {"namespace": "u-ada", "name": "web"}, "created": 0, "spec": spec}],
        "slices": [{"slice": {"namespace": "u-ada", "name": "web-1"}, "service": "web", "ready": {"80": [backend]}, "leaving": {}}],
    });
    tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]))
}

/// What curl says of a request without TLS by HTTP/2: the head and the body.
fn by_http2(gateway: &GatewayProcess, path: &str, arguments: &[&str]) -> String {
    let url = format!("http://{}{path}", gateway.address);
    let mut curl = Command::new("curl");
    curl.args(["-si", "--max-time", "20", "--http2-prior-knowledge", "-H", "Host: h"]).args(arguments).arg(url);
    let said = tokio::task::block_in_place(|| curl.output().unwrap());
    String::from_utf8(said.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_without_tls_reaches_backends_that_speak_http1() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok";
    let mut backend = Script::play(&[Answer(ok); 4]).await;
    let gateway = gateway(&json!({"paths": [{"path": "/a"}]}), backend.address);
    let said = by_http2(&gateway, "/a?q", &["-H", "Cookie: a=1", "-H", "Cookie: b=2", "-H", "X-Forwarded-Host: bank.example"]);
    assert!(said.starts_with("HTTP/2 200") && said.ends_with("ok") && !said.contains("connection:"), "{said}");
    assert_eq!(backend.next().await, Seen::Connection);
    let Seen::Request(request) = backend.next().await else { panic!("a request") };
    let request = request.to_ascii_lowercase();
    assert!(request.starts_with("get /a?q http/1.1\r\n") && request.contains("\r\nhost: h\r\n"), "{request}");
    assert!(request.contains("x-forwarded-host: h\r\n") && request.contains("\r\ncookie: a=1; b=2\r\n"), "{request}");
    assert!(by_http2(&gateway, "/b", &[]).starts_with("HTTP/2 404"));
    // The same port speaks HTTP/1.1, and who says nothing does not hold it up.
    let _silent = TcpStream::connect(gateway.address).await.unwrap();
    assert!(gateway.ask("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    assert!(gateway.ask("GET /b HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.1 400"), "shorter than what HTTP/2 begins with");
}

async fn client(gateway: &GatewayProcess, host: &str) -> TraceServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", gateway.address)).unwrap();
    let channel = endpoint.origin(format!("http://{host}").parse().unwrap()).connect().await.unwrap();
    TraceServiceClient::new(channel)
}

fn spans(count: usize) -> ExportTraceServiceRequest {
    let spans = vec![Span { name: "x".repeat(1000), ..Span::default() }; count];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_passed_on_with_its_trailers_many_calls_on_few_connections() {
    let collector = Collector::start().await;
    // The service's own path is below the route's.
    let gateway = gateway(&json!({"protocol": "GRPC", "rewrite": {"path": {"prefix": "/"}}}), collector.address);
    let client = client(&gateway, "h").await;
    let calls = (1..=50).map(|count| {
        let mut client = client.clone();
        tokio::spawn(async move { client.export(spans(count)).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().expect("a status of 0 among the trailers");
    }
    assert_eq!(collector.spans().len(), 50 * 51 / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_grpc_is_refused_in_its_own_words() {
    let gateway = gateway(&json!({"protocol": "GRPC", "rateLimit": {"requestsPerSecond": 1, "burst": 1}}), reserved_address());
    let status = async |host| client(&gateway, host).await.export(spans(1)).await.unwrap_err();
    let unknown = status("other").await;
    assert_eq!((unknown.code(), unknown.message()), (Code::Unimplemented, "404: no Route has this host and path"));
    assert_eq!(status("h").await.code(), Code::Unavailable, "nobody listens");
    assert_eq!(status("h").await.code(), Code::ResourceExhausted, "too often");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_flows_both_ways_and_a_route_for_them_takes_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = gateway(&json!({"protocol": "WebSocket"}), listener.local_addr().unwrap());
    let backend = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            connection.read_buf(&mut request).await.unwrap();
        }
        let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhello";
        connection.write_all(switch.as_bytes()).await.unwrap();
        let mut echoed = vec![0; 100_000];
        connection.read_exact(&mut echoed).await.unwrap();
        connection.write_all(&echoed).await.unwrap();
        connection.shutdown().await.unwrap();
        String::from_utf8(request).unwrap().to_ascii_lowercase()
    });
    let refused = gateway.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.to_ascii_lowercase();
    assert!(refused.starts_with("http/1.1 426") && refused.contains("upgrade: websocket\r\n"), "{refused}");
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let asks = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n";
    client.write_all(asks.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        assert!(client.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    let sent: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    client.write_all(&sent).await.unwrap();
    let mut echoed = Vec::new();
    client.read_to_end(&mut echoed).await.unwrap();
    assert!(echoed == sent, "{} bytes came back", echoed.len());
    let request = backend.await.unwrap();
    assert!(request.contains("upgrade: websocket\r\n") && request.contains("sec-websocket-key: x\r\n"), "{request}");
}
