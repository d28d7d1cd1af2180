//! The store in a real FoundationDB: the suite, and what only FoundationDB can show.

#![cfg(feature = "fdb")]
#![allow(clippy::unwrap_used)]

mod conformance;
mod half_restored;

use std::path::PathBuf;
use std::sync::Arc;

use eddy_kv::{Fdb, FdbClient, FdbOptions, Store};

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
    let (store, options) = cluster.store();
    half_restored::run(&store, async || cluster.open(&options)).await;
    conformance::run(|| {
        let (store, _) = cluster.store();
        async move { Arc::new(store) as Arc<dyn Store> }
    })
    .await;
}
