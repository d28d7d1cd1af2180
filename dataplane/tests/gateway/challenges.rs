//! Certificate authorities that look whether a host leads here: by HTTP, and in a handshake.

use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::tls::{Secured, certificate, secured_backend};

/// SHA-256 of "t2.thumb", which the certificate of a handshake says (RFC 8737, section 3).
const DIGEST: &str = "09a512d8e7e0148e927f0129ef4f4d9efb94d151922cd67746d909a5060f7da9";

/// Believes everybody, and keeps what they show.
#[derive(Debug, Default)]
struct Shown(Mutex<Vec<u8>>);

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = certificate.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a host shows whoever offers these protocols, and what is agreed on; none where there is no handshake.
async fn shown(secured: &Secured, host: &str, protocols: &[&[u8]]) -> Option<(String, Option<Vec<u8>>)> {
    let shown = Arc::new(Shown::default());
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let client = client.with_safe_default_protocol_versions().unwrap();
    let mut client = client.dangerous().with_custom_certificate_verifier(shown.clone()).with_no_client_auth();
    client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connection = TcpStream::connect(secured.address).await.unwrap();
    let agreed = TlsConnector::from(Arc::new(client)).connect(host.to_owned().try_into().unwrap(), connection).await.ok()?;
    let certificate = shown.0.lock().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    Some((certificate, agreed.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)))
}

fn domain(host: &str, challenge: &str, token: &str) -> serde_json::Value {
    let answer = json!({"challenge": challenge, "token": token, "key_authorization": format!("{token}.thumb")});
    json!({"place": {"namespace": "u-ada", "name": host}, "host": host, "proven_at_s": 1, "answer": answer})
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_is_answered_before_any_route() {
    let theirs = certificate(&["passed.example"]);
    let backend = secured_backend(&theirs, 1).await;
    let route =
        |name: &str, spec: serde_json::Value| json!({"place": {"namespace": "u-ada", "name": name}, "created": 1, "spec": spec});
    let backends = json!([{"container": "web", "port": 80}]);
    let secured = Secured::of(&json!({
        "routes": [
            route("tls", json!({"hosts": ["web.example"], "backends": backends, "tls": {"redirectHttp": true}, "ipFilter": {"allow": ["192.0.2.1"]}})),
            route("passed", json!({"hosts": ["passed.example"], "protocol": "TLS", "backends": backends})),
        ],
        "slices": [{"slice": {"namespace": "u-ada", "name": "web-1"}, "service": "web", "ready": {"80": [backend]}, "leaving": {}}],
        "domains": [domain("web.example", "HTTP01", "t1"), domain("passed.example", "TLSALPN01", "t2")],
    }));
    let ask = async |request: &str| secured.gateway.ask(request).await;
    let get = |host: &str, path: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let said = ask(&get("WEB.example:80", "/.well-known/acme-challenge/t1")).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("\r\n\r\nt1.thumb"), "{said}");
    let said = ask("HEAD /.well-known/acme-challenge/t1 HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n").await;
    assert!(
        said.starts_with("HTTP/1.1 200")
            && said.to_ascii_lowercase().contains("content-length: 8\r\n")
            && said.ends_with("\r\n\r\n"),
        "{said}"
    );
    // Whoever else asks is answered as ever, by the Route or by nobody.
    for (host, path, status) in [
        ("web.example", "/.well-known/acme-challenge/other", "403"),
        ("web.example", "/", "403"),
        ("other.example", "/.well-known/acme-challenge/t1", "404"),
    ] {
        let said = ask(&get(host, path)).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{host}{path}: {said}");
    }
    // The connection goes on after an answer.
    let url = format!("http://{}/.well-known/acme-challenge/t1", secured.gateway.address);
    let mut curl = Command::new("curl");
    curl.args(["-s", "--max-time", "20", "-H", "Host: web.example", "-w", " %{num_connects};", &url, &url]);
    let said = tokio::task::block_in_place(|| curl.output().unwrap());
    assert_eq!(String::from_utf8(said.stdout).unwrap(), "t1.thumb 1;t1.thumb 0;");

    let (certificate, agreed) = shown(&secured, "passed.example", &[b"acme-tls/1"]).await.unwrap();
    assert!(certificate.contains(DIGEST) && agreed.as_deref() == Some(&b"acme-tls/1"[..]), "{certificate} {agreed:?}");
    let (certificate, agreed) = shown(&secured, "passed.example", &[b"h2", b"acme-tls/1"]).await.unwrap();
    assert!(!certificate.contains(DIGEST) && agreed.is_none(), "all else is passed on: {agreed:?}");
    assert!(shown(&secured, "web.example", &[b"acme-tls/1"]).await.is_none(), "nobody is to look at that in a handshake");
    assert!(shown(&secured, "web.example", &[b"h2"]).await.is_some());
}
