//! What the gateway answers itself, and what it passes on of a client's headers.

use eddy_e2e::reserved_address;
use serde_json::json;

use crate::support::{GatewayProcess, backend};

fn request(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Request-Id: asked-by-me\r\n\r\n")
}

fn route(name: &str) -> serde_json::Value {
    json!({"place": {"namespace": "u-ada", "name": name}, "created": 0,
        "spec": {"hosts": [format!("{name}.example")], "backends": [{"container": name, "port": 80}]}})
}

fn slice(name: &str, addresses: &[std::net::SocketAddr]) -> serde_json::Value {
    json!({"slice": {"namespace": "u-ada", "name": name}, "service": name, "ready": {"80": addresses}, "leaving": {}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why_and_which_request_it_was() {
    let inputs = json!({"routes": [route("down"), route("empty")], "slices": [slice("down", &[reserved_address()])]});
    let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]));
    for (host, path, status) in [
        ("nobody.example", "/", "404 Not Found"),
        ("empty.example", "/", "503 Service Unavailable"),
        ("down.example", "/", "502 Bad Gateway"),
        ("down.example", "/a/../b", "400 Bad Request"),
        ("down.example:80:b", "/", "400 Bad Request"),
    ] {
        let answer = gateway.ask(&request(host, path)).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {}", status.to_ascii_lowercase())), "{host}{path}: {head}");
        assert!(body.starts_with(&status[..3]) && body.ends_with('\n'), "{body}");
        for header in ["content-type: text/plain", "cache-control: no-store", "x-request-id: asked-by-me"] {
            assert!(head.contains(header), "{head}");
        }
        assert!(!head.contains("server:"), "a stranger learns nothing of what answers: {head}");
    }
    let head = gateway.ask("HEAD / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 404") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_of_itself_is_not_passed_on() {
    let (backend, mut requests) = backend().await;
    let inputs = json!({"routes": [route("web")], "slices": [slice("web", &[backend])]});
    let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]));
    let forged = "GET / HTTP/1.1\r\nHost: web.example\r\nX-Forwarded-For: 10.1.1.1\r\nX-Forwarded-For: 10.2.2.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: bank.example\r\nX-Request-Id: a b\r\nConnection: close\r\n\r\n";
    assert!(gateway.ask(forged).await.starts_with("HTTP/1.1 200"));
    let seen = requests.recv().await.unwrap().to_ascii_lowercase();
    assert!(
        seen.contains("x-forwarded-for: 127.0.0.1\r\n") && !seen.contains("10.1.1.1") && !seen.contains("10.2.2.2"),
        "{seen}"
    );
    assert!(seen.contains("x-forwarded-proto: http\r\n") && seen.contains("x-forwarded-host: web.example\r\n"), "{seen}");
    assert!(!seen.contains("x-request-id: a b"), "{seen}");
}
