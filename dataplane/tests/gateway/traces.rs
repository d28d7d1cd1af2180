//! Spans reach a collector, and the client's trace goes on to the backend.

use eddy_e2e::Collector;

use crate::support::{GatewayProcess, backend};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_becomes_a_span_between_the_client_s_and_the_backend_s() {
    let collector = Collector::start().await;
    let (backend, mut requests) = backend().await;
    let inputs = serde_json::json!({
        "routes": [{"place": {"namespace": "u-ada", "name": "web"}, "created": 0,
            "spec": {"hosts": ["web.example"], "backends": [{"container": "web", "port": 80}]}}],
        "slices": [{"slice": {"namespace": "u-ada", "name": "web-1"}, "service": "web", "ready": {"80": [backend]}, "leaving": {}}],
    });
    let otlp = format!("--otlp-endpoint=http://{}", collector.address);
    let mut gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &["--trace-ratio=0", &otlp]));

    // The client has decided to trace this request, so the gateway does, whatever its own share is.
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let request =
        format!("GET /a HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\ntraceparent: 00-{trace}-{parent}-01\r\n\r\n");
    let answer = gateway.ask(&request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // What is still buffered leaves before the process does.
    assert!(gateway.end());
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
