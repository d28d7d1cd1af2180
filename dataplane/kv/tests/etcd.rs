//! The store in a real etcd: the suite, and what only etcd can show.

#![allow(clippy::unwrap_used)]

mod conformance;
mod half_restored;
mod reserved;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eddy_kv::{Etcd, EtcdAccess, EtcdOptions, KvError, Store, Transaction};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::net::TcpSocket;

use crate::reserved::reserved;

/// A member of its own, ended with the test.
struct EtcdProcess {
    endpoint: String,
    process: Child,
    _folder: tempfile::TempDir,
    _ports: [TcpSocket; 2],
}

impl EtcdProcess {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(options: &[String]) -> Self {
        let this = Self::run(tempfile::tempdir().unwrap(), "http", options);
        this.wait(&EtcdAccess::default()).await;
        this
    }

    /// Who connects shows a certificate, and is shown one. Also what to show, in a folder as a Secret is mounted.
    async fn start_with_tls() -> (Self, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        write_secret(&secret);
        let file = |option: &str, name: &str| format!("--{option}={}", secret.join(name).display());
        let options = [
            file("cert-file", "tls.crt"),
            file("key-file", "tls.key"),
            file("trusted-ca-file", "ca.crt"),
            "--client-cert-auth".to_owned(),
        ];
        let this = Self::run(folder, "https", &options);
        this.wait(&EtcdAccess::read(&secret).unwrap()).await;
        (this, secret)
    }

    fn run(folder: tempfile::TempDir, scheme: &str, options: &[String]) -> Self {
        let ports = [reserved(), reserved()];
        let [client, peer] = ports.each_ref().map(|port| port.local_addr().unwrap());
        let (client, peer) = (format!("{scheme}://{client}"), format!("http://{peer}"));
        let process = Command::new("etcd")
            .arg(format!("--data-dir={}", folder.path().join("data").display()))
            .args(["--name=test", "--log-level=error", &format!("--initial-cluster=test={peer}")])
            .args(options)
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed (Debian: etcd-server)");
        Self { endpoint: client, process, _folder: folder, _ports: ports }
    }

    async fn wait(&self, access: &EtcdAccess) {
        let store = self.connect("ready/", access).await.unwrap();
        let started = Instant::now();
        while let Err(error) = store.get("a".into()).await {
            assert!(started.elapsed() < Duration::from_secs(30), "etcd does not answer: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn connect(&self, prefix: &str, access: &EtcdAccess) -> Result<Etcd, KvError> {
        let endpoints = vec![self.endpoint.clone()];
        Etcd::connect(&EtcdOptions { endpoints, prefix: prefix.into(), access: access.clone() }).await
    }

    async fn store(&self, prefix: &str) -> Etcd {
        self.connect(prefix, &EtcdAccess::default()).await.unwrap()
    }
}

/// A certificate of an authority of its own, for a server and for clients, in the name of nobody.
fn write_secret(folder: &Path) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = parameters.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    std::fs::create_dir(folder).unwrap();
    let files = [("ca.crt", authority_certificate.pem()), ("tls.crt", certificate.pem()), ("tls.key", key.serialize_pem())];
    for (file, text) in files {
        std::fs::write(folder.join(file), text).unwrap();
    }
}

impl Drop for EtcdProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let etcd = EtcdProcess::start().await;
    // Stores side by side, so that a case that left its own would be seen.
    let mut number = 0;
    conformance::run(|| {
        number += 1;
        let (etcd, prefix) = (&etcd, format!("store-{number}/"));
        async move { Arc::new(etcd.store(&prefix).await) as Arc<dyn Store> }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_by_half_is_not_served_and_can_be_restored_again() {
    let etcd = EtcdProcess::start().await;
    let store = etcd.store("s/").await;
    half_restored::run(&store, async || etcd.store("s/").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_full_is_said_to_be_and_is_read_on() {
    let etcd = EtcdProcess::start_with(&["--quota-backend-bytes=2000000".to_owned()]).await;
    let store = etcd.store("s/").await;
    let mut refused = None;
    for number in 0..200 {
        if let Err(error) = store.commit(Transaction::new().put(format!("{number:03}"), vec![7; 50_000])).await {
            refused = Some(error);
            break;
        }
    }
    assert!(matches!(refused, Some(KvError::Full { .. })), "{refused:?}");
    assert_eq!(store.get("000".into()).await.unwrap().unwrap().bytes.len(), 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_away_is_said_to_be() {
    let mut etcd = EtcdProcess::start().await;
    let store = etcd.store("s/").await;
    store.commit(Transaction::new().put("a", "1")).await.unwrap();
    etcd.process.kill().unwrap();
    etcd.process.wait().unwrap();
    let read = store.get("a".into()).await;
    assert!(matches!(read, Err(KvError::Unavailable { .. })), "{read:?}");
    let written = store.commit(Transaction::new().put("a", "2")).await;
    assert!(matches!(written, Err(KvError::Unknown { .. })), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_a_certificate_and_a_password_is_let_in() {
    let (etcd, secret) = EtcdProcess::start_with_tls().await;
    let is_let_in = async |access: &EtcdAccess| {
        let store = match etcd.connect("s/", access).await {
            Ok(store) => store,
            Err(KvError::Unavailable { .. }) => return false,
            Err(error) => panic!("{error}"),
        };
        match store.commit(Transaction::new().put("a", "1")).await {
            Ok(_) => true,
            Err(KvError::Unavailable { .. } | KvError::Unknown { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    };
    let certified = EtcdAccess::read(&secret).unwrap();
    assert!(is_let_in(&certified).await);
    assert!(!is_let_in(&EtcdAccess { identity: None, ..certified.clone() }).await);
    assert!(!is_let_in(&EtcdAccess { authority: None, ..certified.clone() }).await, "its authority is nobody's");
    // From now on etcd has users.
    let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(certified.authority.as_ref().unwrap()));
    let (certificate, key) = certified.identity.as_ref().unwrap();
    let connect = ConnectOptions::new().with_tls(tls.identity(Identity::from_pem(certificate, key)));
    let mut administrator = Client::connect([&etcd.endpoint], Some(connect)).await.unwrap();
    administrator.user_add("root", "a secret", None).await.unwrap();
    administrator.user_grant_role("root", "root").await.unwrap();
    administrator.auth_enable().await.unwrap();
    assert!(!is_let_in(&certified).await);
    std::fs::write(secret.join("username"), "root\n").unwrap();
    assert!(EtcdAccess::read(&secret).unwrap_err().to_string().contains("belong together"));
    std::fs::write(secret.join("password"), "another\n").unwrap();
    assert!(!is_let_in(&EtcdAccess::read(&secret).unwrap()).await);
    std::fs::write(secret.join("password"), "a secret\n").unwrap();
    let access = EtcdAccess::read(&secret).unwrap();
    assert!(is_let_in(&access).await);
    assert!(!format!("{access:?}").contains("secret"));
    assert!(EtcdAccess::read(Path::new("nowhere")).is_err());
}
