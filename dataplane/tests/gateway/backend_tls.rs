//! Backends that are reached by TLS, and that must be who they are said to be.

use eddy_e2e::wait;
use rcgen::{CertificateParams, KeyPair, SanType};
use serde_json::{Value, json};

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
