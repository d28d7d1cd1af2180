//! The store in a real FoundationDB: the suite, and what only FoundationDB can show.

#![cfg(feature = "fdb")]
#![allow(clippy::unwrap_used)]

mod conformance;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eddy_kv::{Fdb, FdbClient, FdbOptions, KvError, Row, Store, Transaction, Value};
use futures::{StreamExt, stream};

const CLUSTER_FILE: &str = "EDDY_FDB_CLUSTER_FILE";

struct Cluster {
    client: FdbClient,
    file: PathBuf,
}

impl Cluster {
    /// A store that no other run has used. What tests wrote stays in the cluster.
    fn store(&self) -> (Fdb, FdbOptions) {
        let prefix = format!("eddy-kv-test/{:032x}/", fastrand::u128(..));
        let options = FdbOptions { cluster_file: self.file.clone(), prefix };
        (self.open(&options), options)
    }

    fn open(&self, options: &FdbOptions) -> Fdb {
        Fdb::connect(&self.client, options).unwrap()
    }
}

fn batch(numbers: std::ops::Range<u32>) -> Vec<Row> {
    numbers.map(|number| Row { key: format!("{number:04}").into(), value: Value { bytes: "v".into(), version: 0 } }).collect()
}

/// One test, since a process has one client.
#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_and_serves_nothing_that_is_restored_by_half() {
    let Some(file) = std::env::var_os(CLUSTER_FILE) else {
        eprintln!("FoundationDB's tests did not run: {CLUSTER_FILE} names no cluster's file");
        return;
    };
    // SAFETY: it and all stores belong to this test and to tasks of its runtime, all of which end before the process does.
    let client = unsafe { FdbClient::start() }.unwrap();
    let cluster = Cluster { client, file: file.into() };
    what_is_restored_by_half_is_not_served_and_can_be_restored_again(&cluster).await;
    conformance::run(|| {
        let (store, _) = cluster.store();
        async move { Arc::new(store) as Arc<dyn Store> }
    })
    .await;
}

async fn what_is_restored_by_half_is_not_served_and_can_be_restored_again(cluster: &Cluster) {
    let (store, options) = cluster.store();
    // The process that restores ends in the middle: its future is dropped.
    let endless = stream::iter([Ok(batch(0..200))]).chain(stream::pending()).boxed();
    let broke_off = tokio::time::timeout(Duration::from_secs(1), store.import(endless)).await;
    assert!(broke_off.is_err());

    let other = cluster.open(&options);
    let refused = [
        other.get("0001".into()).await.map(drop),
        other.commit(Transaction::new().put("a", "1")).await.map(drop),
        other.export().await.map(drop),
    ];
    for result in refused {
        assert!(matches!(&result, Err(KvError::Unavailable { reason }) if reason.contains("restore")), "{result:?}");
    }
    other.import(stream::iter([Ok(batch(500..700))]).boxed()).await.unwrap();
    assert_eq!(other.get("0001".into()).await.unwrap(), None, "nothing is left of the first");
    assert!(other.get("0600".into()).await.unwrap().is_some());
}
