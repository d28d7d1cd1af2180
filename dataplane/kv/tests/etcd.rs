//! The store in a real etcd: the suite, and what only etcd can show.

#![allow(clippy::unwrap_used)]

mod conformance;
mod half_restored;
mod reserved;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eddy_kv::{Etcd, EtcdOptions, KvError, Store, Transaction};
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
        let folder = tempfile::tempdir().unwrap();
        let ports = [reserved(), reserved()];
        let [client, peer] = ports.each_ref().map(|port| format!("http://{}", port.local_addr().unwrap()));
        let process = Command::new("etcd")
            .arg(format!("--data-dir={}", folder.path().display()))
            .args(["--name=test", "--log-level=error", &format!("--initial-cluster=test={peer}")])
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed (Debian: etcd-server)");
        let this = Self { endpoint: client, process, _folder: folder, _ports: ports };
        let store = this.store("ready/").await;
        let started = Instant::now();
        while let Err(error) = store.get("a".into()).await {
            assert!(started.elapsed() < Duration::from_secs(30), "etcd does not answer: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        this
    }

    async fn store(&self, prefix: &str) -> Etcd {
        Etcd::connect(&EtcdOptions { endpoints: vec![self.endpoint.clone()], prefix: prefix.into() }).await.unwrap()
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
