//! Calls over TLS: who may call whom.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use eddy_rpc::{
    CallError, Client, Handler, Parts, ServerLimits, TLS_NAME, TcpTransport, TlsError, TlsTransport, Transport, serve,
};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Whatever is to happen has happened by then, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says what it hears.
struct Echo;

#[async_trait]
impl Handler for Echo {
    async fn answer(&self, request: Bytes, _: &Parts) -> Bytes {
        request
    }
}

/// Signs certificates.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(parameters, key) }
    }

    /// Writes an identity, as a Secret is mounted.
    fn write(&self, folder: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        let files = [("ca.crt", self.certificate.clone()), ("tls.crt", certificate), ("tls.key", key.serialize_pem())];
        for (file, text) in files {
            std::fs::write(folder.join(file), text).unwrap();
        }
    }

    fn folder(&self, name: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        self.write(folder.path(), name);
        folder
    }

    fn transport(&self, name: &str) -> TlsTransport {
        TlsTransport::open(self.folder(name).path()).unwrap()
    }
}

async fn start(transport: &dyn Transport) -> (SocketAddr, JoinHandle<()>) {
    let listener = transport.bind(LOOPBACK).await.unwrap();
    let address = listener.address().unwrap();
    (address, tokio::spawn(serve(listener, Arc::new(Echo), ServerLimits::default())))
}

fn client(transport: impl Transport + 'static, address: SocketAddr) -> Client {
    Client::new(Arc::new(transport), address.to_string())
}

async fn call(transport: impl Transport + 'static, address: SocketAddr) -> Result<Bytes, CallError> {
    timeout(PATIENCE, client(transport, address).call("a".into())).await.unwrap()
}

#[tokio::test]
async fn whoever_has_the_identity_calls_whoever_has_it() {
    let authority = Authority::new();
    let (address, _server) = start(&authority.transport(TLS_NAME)).await;
    // Another key, of the same authority.
    let client = client(authority.transport(TLS_NAME), address);
    for length in [0, 1, 100_000, 20_000_000] {
        let request = Bytes::from(vec![7; length]);
        assert!(client.call(request.clone()).await.unwrap() == request, "{length}");
    }
}

#[tokio::test]
async fn what_was_written_arrives_though_nobody_flushes() {
    const BYTES: usize = 16 * 1024 * 1024;
    let transport = Authority::new().transport(TLS_NAME);
    let mut listener = transport.bind(LOOPBACK).await.unwrap();
    let address = listener.address().unwrap().to_string();
    let serve = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; BYTES];
        connection.read_exact(&mut asked).await.unwrap();
        connection.write_all(&asked).await.unwrap();
        // Until the other side is gone.
        let _ = connection.read_u8().await;
    };
    let ask = async {
        let mut connection = transport.connect(&address).await.unwrap();
        let (question, mut answer) = (vec![7; BYTES], vec![0; BYTES]);
        connection.write_all(&question).await.unwrap();
        connection.read_exact(&mut answer).await.unwrap();
        assert!(answer == question);
    };
    timeout(PATIENCE, async { tokio::join!(serve, ask) }).await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_show_the_identity_is_refused() {
    let authority = Authority::new();
    let (address, _server) = start(&authority.transport(TLS_NAME)).await;
    assert!(call(TcpTransport::default(), address).await.is_err(), "a client without TLS");
    assert!(call(authority.transport("other.example"), address).await.is_err(), "a certificate for another name");

    // These trust the server, so that it is the server that refuses.
    let stranger = Authority::new().folder(TLS_NAME);
    std::fs::write(stranger.path().join("ca.crt"), &authority.certificate).unwrap();
    assert!(call(TlsTransport::open(stranger.path()).unwrap(), address).await.is_err(), "a certificate of another authority");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let bare = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap();
    let bare = TlsConnector::from(Arc::new(bare.with_root_certificates(roots).with_no_client_auth()));
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = bare.connect(ServerName::try_from(TLS_NAME).unwrap(), stream).await.unwrap();
    // To the client, the handshake is over before the server has judged it.
    let _ = stream.write_all(b"eddyrpc1").await;
    let end = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "a client without a certificate: {end:?}");

    assert_eq!(call(authority.transport(TLS_NAME), address).await.unwrap(), "a");
}

#[tokio::test]
async fn a_server_that_does_not_show_the_identity_is_told_nothing() {
    let authority = Authority::new();
    let servers: [(&str, Box<dyn Transport>); 3] = [
        ("a server without TLS", Box::new(TcpTransport::default())),
        ("a certificate of another authority", Box::new(Authority::new().transport(TLS_NAME))),
        ("a certificate for another name", Box::new(authority.transport("other.example"))),
    ];
    for (what, server) in servers {
        let (address, _server) = start(&*server).await;
        let called = call(authority.transport(TLS_NAME), address).await;
        assert!(matches!(called, Err(CallError::NotSent { .. })), "{what}: {called:?}");
    }
}

#[tokio::test]
async fn clients_that_say_nothing_hold_up_nobody() {
    let transport = Authority::new().transport(TLS_NAME);
    let (address, _server) = start(&transport).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // They are given up after 10 s each, and this takes less than one of them.
    assert_eq!(timeout(Duration::from_secs(5), call(transport, address)).await.unwrap().unwrap(), "a");
    let end = timeout(PATIENCE, silent[0].read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn changed_files_are_used_by_new_connections() {
    let (before, after) = (Authority::new(), Authority::new());
    let folder = before.folder(TLS_NAME);
    let transport = TlsTransport::open(folder.path()).unwrap();
    let (address, _server) = start(&transport).await;
    let kept = client(transport.clone(), address);
    assert_eq!(kept.call("a".into()).await.unwrap(), "a");

    // What cannot be used is not, and it is looked at in this time.
    std::fs::write(folder.path().join("tls.crt"), "nonsense").unwrap();
    let (old, written) = (before.transport(TLS_NAME), Instant::now());
    while written.elapsed() < Duration::from_secs(3) {
        assert_eq!(call(old.clone(), address).await.unwrap(), "a");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    after.write(folder.path(), TLS_NAME);
    let newcomer = after.transport(TLS_NAME);
    let used = async {
        while call(newcomer.clone(), address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, used).await.unwrap();
    assert!(call(old, address).await.is_err());
    assert_eq!(call(transport, address).await.unwrap(), "a");
    // A connection that is there stays.
    assert_eq!(kept.call("a".into()).await.unwrap(), "a");
}

#[tokio::test]
async fn a_folder_without_an_identity_is_refused_with_a_sentence() {
    let folder = Authority::new().folder(TLS_NAME);
    let open = || TlsTransport::open(folder.path()).map(drop);
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    open().unwrap();
    write("tls.key", &KeyPair::generate().unwrap().serialize_pem());
    assert!(matches!(open(), Err(TlsError::Key { .. })));
    write("tls.key", "nonsense");
    assert!(matches!(open(), Err(TlsError::Pem { .. })));
    write("ca.crt", "");
    assert!(matches!(open(), Err(TlsError::Pem { .. })));
    std::fs::remove_file(folder.path().join("ca.crt")).unwrap();
    assert!(open().unwrap_err().to_string().contains("ca.crt"));
}
