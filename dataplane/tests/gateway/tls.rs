//! TLS from clients, by curl.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use eddy_e2e::{reserved_address, wait};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::script::Act::Answer;
use crate::script::{Script, Seen};
use crate::support::GatewayProcess;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway with TLS.
pub(crate) struct Secured {
    pub(crate) gateway: GatewayProcess,
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

/// A certificate and its key, as PEM.
pub(crate) fn certificate(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// As a Secret is mounted.
fn mount(folder: &Path, (chain, key): &(String, String)) {
    std::fs::write(folder.join("tls.crt"), chain).unwrap();
    std::fs::write(folder.join("tls.key"), key).unwrap();
}

impl Secured {
    /// Routes of these hosts with these fields of `tls` to one backend, with Secrets that have certificates of some.
    fn start(routes: &[(&str, Value)], secrets: &[(&str, &(String, String))], backend: SocketAddr) -> Self {
        let routes: Vec<_> = routes.iter().map(|(host, tls)| (*host, json!({ "tls": tls }))).collect();
        Self::with(&routes, secrets, backend)
    }

    /// The same with these fields of the Routes.
    fn with(routes: &[(&str, Value)], secrets: &[(&str, &(String, String))], backend: SocketAddr) -> Self {
        let route = |(number, (host, fields)): (usize, &(&str, Value))| {
            let mut spec = json!({"hosts": [host], "backends": [{"container": "web", "port": 80}]});
            spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            json!({"place": {"namespace": "u-ada", "name": format!("r{number}")}, "created": number, "spec": spec})
        };
        let secret = |(name, (chain, key)): &(&str, &(String, String))| json!({"place": {"namespace": "u-ada", "name": name}, "chain": chain, "key": key});
        let inputs = json!({
            "routes": routes.iter().enumerate().map(route).collect::<Vec<_>>(),
            "slices": [{"slice": {"namespace": "u-ada", "name": "web-1"}, "service": "web", "ready": {"80": [backend]}, "leaving": {}}],
            "secrets": secrets.iter().map(secret).collect::<Vec<_>>(),
        });
        Self::of(&inputs)
    }

    /// One that serves from this.
    pub(crate) fn of(inputs: &Value) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), reserved_address());
        mount(folder.path(), &certificate(&["platform.example"]));
        let arguments = [
            format!("--listen-tls={address}"),
            format!("--tls-folder={}", folder.path().display()),
            "--tls-public-port=8443".to_owned(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let gateway = tokio::task::block_in_place(|| GatewayProcess::start(inputs, &arguments));
        Self { gateway, address, folder }
    }

    /// The file of the platform's own certificate.
    fn own(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    /// What curl says of a URL of a host, of which it trusts this certificate only: its exit code, the head and the body.
    fn curl(&self, host: &str, trusted: &Path, arguments: &[&str]) -> (i32, String) {
        let (port, address) = (self.address.port(), self.address.ip());
        let mut curl = Command::new("curl");
        curl.args(["-si", "--max-time", "20", "--cacert"]).arg(trusted);
        curl.args(["--connect-to", &format!("{host}:443:{address}:{port}")]).args(arguments).arg(format!("https://{host}/a?q"));
        let said = tokio::task::block_in_place(|| curl.output().unwrap());
        (said.status.code().unwrap(), String::from_utf8(said.stdout).unwrap())
    }

    /// A connection after the handshake.
    async fn agree(&self, host: &str, trusted: &Path, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let client = client.with_safe_default_protocol_versions().unwrap().with_root_certificates(trusting(trusted));
        let mut client = client.with_no_client_auth();
        client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let connection = TcpStream::connect(self.address).await.unwrap();
        TlsConnector::from(Arc::new(client)).connect(host.to_owned().try_into().unwrap(), connection).await.unwrap()
    }

    fn trusted(&self, name: &str, (chain, _): &(String, String)) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, chain).unwrap();
        file
    }
}

fn trusting(file: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
    roots
}

async fn request(backend: &mut Script) -> String {
    loop {
        if let Seen::Request(request) = backend.next().await {
            return request.to_ascii_lowercase();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_host_has_its_certificate_and_backends_know_that_clients_came_by_tls() {
    let mut backend = Script::play(&[Answer(OK); 32]).await;
    let (own, all) = (certificate(&["a.example"]), certificate(&["*.b.example"]));
    let routes =
        [("a.example", json!({"secret": "own"})), ("*.b.example", json!({"secret": "all"})), ("platform.example", json!({}))];
    let secured = Secured::start(&routes, &[("own", &own), ("all", &all)], backend.address);
    let (own, all) = (secured.trusted("own", &own), secured.trusted("all", &all));
    for (host, trusted) in [("a.example", &own), ("x.b.example", &all), ("platform.example", &secured.own())] {
        for (version, says) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
            let (code, said) = secured.curl(host, trusted, &[version]);
            assert!(code == 0 && said.starts_with(says) && said.ends_with("ok"), "{host} {version}: {code} {said}");
            let request = request(&mut backend).await;
            assert!(
                request.contains("x-forwarded-proto: https\r\n") && request.contains(&format!("\r\nhost: {host}\r\n")),
                "{request}"
            );
        }
    }
    // Whoever trusts another's is told by their own program: 60 is curl's word for it.
    assert_eq!(secured.curl("a.example", &all, &[]).0, 60);
    // TLS 1.2 goes on to work.
    assert_eq!(secured.curl("a.example", &own, &["--tls-max", "1.2"]).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_begun_for_another_host_is_sent_away() {
    let backend = Script::play(&[Answer(OK); 32]).await;
    let own = certificate(&["a.example"]);
    let routes = [("a.example", json!({"secret": "own"})), ("platform.example", json!({})), ("other.example", json!({}))];
    let secured = Secured::start(&routes, &[("own", &own)], backend.address);
    let file = secured.trusted("own", &own);
    for version in ["--http1.1", "--http2"] {
        let status = |host: &str, trusted: &Path, asks: &str| {
            let said = secured.curl(host, trusted, &[version, "-H", &format!("Host: {asks}")]).1;
            said.split(' ').nth(1).map(str::to_owned).unwrap_or_default()
        };
        assert_eq!(status("a.example", &file, "platform.example"), "421");
        assert_eq!(status("platform.example", &secured.own(), "a.example"), "421");
        assert_eq!(status("platform.example", &secured.own(), "other.example"), "200", "both have the same");
        assert_eq!(status("a.example", &file, "A.EXAMPLE:443"), "200");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_without_tls_is_sent_to_it_where_the_route_says_so() {
    let backend = Script::play(&[Answer(OK); 8]).await;
    let routes = [("platform.example", json!({"redirectHttp": true})), ("open.example", json!({}))];
    let secured = Secured::start(&routes, &[], backend.address);
    let ask = async |host: &str| {
        secured
            .gateway
            .ask(&format!("POST /a?q HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
            .await
    };
    let sent = ask("platform.example:8080").await.to_ascii_lowercase();
    assert!(sent.starts_with("http/1.1 308") && sent.contains("\r\nlocation: https://platform.example:8443/a?q\r\n"), "{sent}");
    assert!(ask("open.example").await.starts_with("HTTP/1.1 200"));
    assert!(secured.curl("platform.example", &secured.own(), &[]).1.contains(" 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platforms_own_certificate_is_read_again_when_it_changes() {
    let backend = Script::play(&[Answer(OK); 32]).await;
    let secured = Secured::start(&[("platform.example", json!({}))], &[], backend.address);
    let (old, new) = (secured.folder.path().join("old"), certificate(&["platform.example"]));
    std::fs::copy(secured.own(), &old).unwrap();
    assert_eq!(secured.curl("platform.example", &old, &[]).0, 0);
    mount(secured.folder.path(), &new);
    wait("the new certificate", || secured.curl("platform.example", &secured.own(), &[]).0 == 0);
    // What is no certificate takes the place of none.
    let file = secured.trusted("new", &new);
    std::fs::write(secured.own(), "nonsense").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(secured.curl("platform.example", &file, &[]).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_or_nothing_holds_nobody_up() {
    let backend = Script::play(&[Answer(OK); 8]).await;
    let mut secured = Secured::start(&[("platform.example", json!({}))], &[], backend.address);
    let mut plain = TcpStream::connect(secured.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: platform.example\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said).await;
    assert!(!said.starts_with(b"HTTP/"), "{said:?}");
    let _silent = TcpStream::connect(secured.address).await.unwrap();
    // And one that agrees on HTTP/2, and then says nothing.
    let agreed = secured.agree("platform.example", &secured.own(), &[b"h2"]).await;
    assert_eq!(agreed.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(secured.curl("platform.example", &secured.own(), &[]).0, 0);
    assert!(tokio::task::block_in_place(|| secured.gateway.end()), "who says nothing is not waited for");
}

/// A backend that ends TLS itself, and answers every request with so many bytes.
pub(crate) async fn secured_backend((chain, key): &(String, String), bytes: usize) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(server.with_single_cert(vec![certificate], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut connection = acceptor.accept(connection).await?;
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && connection.read_buf(&mut request).await? > 0 {}
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n");
                connection.write_all(head.as_bytes()).await?;
                connection.write_all(&vec![b'x'; bytes]).await?;
                connection.shutdown().await
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_passed_on_to_backends_that_end_it() {
    const BYTES: usize = 5_000_000;
    let theirs = certificate(&["passed.example", "x.all.example", "web.all.example"]);
    let backend = secured_backend(&theirs, BYTES).await;
    let passes = json!({"protocol": "TLS", "timeouts": {"idleSeconds": 2}});
    let closed = json!({"protocol": "TLS", "ipFilter": {"deny": ["127.0.0.0/8"]}});
    let routes = [
        ("passed.example", passes.clone()),
        ("*.all.example", passes),
        ("closed.all.example", closed),
        ("web.all.example", json!({})),
    ];
    let secured = Secured::with(&routes, &[], backend);
    let trusted = secured.trusted("theirs", &theirs);
    for host in ["passed.example", "x.all.example"] {
        let (code, said) = secured.curl(host, &trusted, &[]);
        assert!(code == 0 && said.len() > BYTES, "{host}: {code}, {} bytes", said.len());
    }
    // A host's own Route serves it, and who is not let in is cut off.
    assert_eq!(secured.curl("web.all.example", &trusted, &[]).0, 60, "the platform's own certificate is not theirs");
    assert_eq!(secured.curl("closed.all.example", &trusted, &[]).0, 35);
    assert_eq!(secured.curl("platform.example", &secured.own(), &[]).0, 0, "whom nobody else serves is answered here");
    // Whoever says nothing for long is, too.
    let mut agreed = secured.agree("passed.example", &trusted, &[]).await;
    let silence = tokio::time::timeout(Duration::from_secs(20), agreed.read(&mut [0])).await;
    assert!(silence.is_ok(), "nobody ended it");
}
