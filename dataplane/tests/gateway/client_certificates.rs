//! Clients that show certificates where TLS ends at a Gateway.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::gateways::{free_port, inputs, object, rules, status};
use crate::support::{GatewayProcess, backend};

/// An authority, and a client that it vouches for; files with the client's certificate and key are written.
fn client(folder: &Path, name: &str) -> String {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (key, clients_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = authority.self_signed(&key).unwrap().pem();
    let mut client = CertificateParams::new(Vec::new()).unwrap();
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let shown = client.signed_by(&clients_key, &Issuer::new(authority, key)).unwrap().pem();
    std::fs::write(folder.join(format!("{name}.crt")), shown).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), clients_key.serialize_pem()).unwrap();
    certificate
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_let_in_by_their_certificates_where_that_is_asked_for() {
    let (backend, _told) = backend().await;
    let folder = tempfile::tempdir().unwrap();
    let (ours, _others) = (client(folder.path(), "ours"), client(folder.path(), "others"));
    let [strict, lax, nobody, plain, lax_for_nobody] = [(); 5].map(|()| free_port());
    let tls = json!({"certificateRefs": [{"name": "tls"}]});
    let listener = |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "HTTPS", "tls": tls});
    let listeners = json!([
        listener("strict", 443),
        listener("lax", 444),
        listener("nobody", 445),
        listener("plain", 446),
        listener("lax-for-nobody", 447),
        // What is passed on from TLS asks for the same.
        {"name": "ends", "port": 443, "protocol": "TLS", "hostname": "ends.example", "tls": tls},
    ]);
    let doors = [(443, strict), (444, lax), (445, nobody), (446, plain), (447, lax_for_nobody)];
    let route = rules("first", json!([{"backendRefs": [{"name": "web", "port": 80}]}]));
    let mut inputs = inputs(&[("first", listeners, &doors)], &[("r", route.clone())], backend);
    inputs["gateway_api"]["tls_routes"] = json!([object("TLSRoute", "t", 2, route)]);
    let validation = |map: &str, mode: &str| {
        let reference = json!([{"group": "", "kind": "ConfigMap", "name": map}]);
        json!({"validation": {"caCertificateRefs": reference, "mode": mode}})
    };
    let per_port = json!([
        {"port": 444, "tls": validation("ca", "AllowInsecureFallback")},
        {"port": 445, "tls": validation("missing", "AllowValidOnly")},
        {"port": 446, "tls": {}},
        {"port": 447, "tls": validation("missing", "AllowInsecureFallback")},
    ]);
    let frontend = json!({"default": validation("ca", "AllowValidOnly"), "perPort": per_port});
    inputs["gateway_api"]["gateways"][0][1]["spec"]["tls"] = json!({"frontend": frontend});
    inputs["authorities"] = json!([{"place": {"namespace": "infra", "name": "ca"}, "certificates": ours}]);
    let _gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &["--gateway-api"]));
    let file = |name: &str| folder.path().join(name).display().to_string();
    let shows =
        |name: &str| ["--cert".to_owned(), file(&format!("{name}.crt")), "--key".to_owned(), file(&format!("{name}.key"))];
    let asked = |port: u16, host: &str, name: Option<&str>| {
        let arguments: Vec<String> = name.into_iter().flat_map(shows).collect();
        let url = format!("https://{host}/");
        tokio::task::block_in_place(|| status(port, &url, &arguments.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    for (port, expected) in [
        (strict, ["200", "000", "000"]),
        (lax, ["200"; 3]),
        (nobody, ["000"; 3]),
        (plain, ["200"; 3]),
        (lax_for_nobody, ["000"; 3]),
    ] {
        let said = [Some("ours"), Some("others"), None].map(|name| asked(port, "a.example", name));
        assert_eq!(said, expected, "{port}");
    }
    assert_eq!([Some("ours"), None].map(|name| asked(strict, "ends.example", name)), ["200", "000"]);
}
