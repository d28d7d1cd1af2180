//! Which of several endpoints is tried.

use eddy_e2e::reserved_address;
use serde_json::json;

use crate::script::Act::Answer;
use crate::script::Script;
use crate::support::GatewayProcess;

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_takes_no_connections_is_left_alone_and_no_request_fails() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let good = Script::play(&[Answer(ok); 64]).await;
    // Nothing listens there.
    let bad = reserved_address();
    let inputs = json!({
        "routes": [{"place": {"namespace": "u-ada", "name": "web"}, "created": 0,
            "spec": {"hosts": ["h"], "backends": [{"container": "web", "port": 80}]}}],
        "slices": [{"slice": {"namespace": "u-ada", "name": "web-1"}, "service": "web", "ready": {"80": [good.address, bad]}, "leaving": {}}],
    });
    let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]));
    for _ in 0..60 {
        let answer = gateway.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let failures = gateway.figure("eddy_gateway_upstream_failures_total").await;
    assert!((3.0..10.0).contains(&failures), "half of 60 requests would have been sent there first, {failures} were");
    assert!(gateway.figure("eddy_gateway_ejections_total").await >= 1.0);
}
