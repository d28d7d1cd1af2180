//! Masters that wait for nothing, and work until all is well.
#![allow(dead_code, reason = "no test needs all of it")]

use std::time::Duration;

use eddy_object::schema::{ChunkRow, decode};
use eddy_storage_master::{Master, MasterOptions};
use eddy_storage_testing::Cluster;

/// Nothing is waited for.
pub(crate) fn at_once() -> MasterOptions {
    MasterOptions { grace: Duration::ZERO, patience: Duration::ZERO, settle: Duration::ZERO, ..MasterOptions::default() }
}

/// Collects until nothing is left that nobody needs.
pub(crate) async fn collect_all(cluster: &Cluster, master: &Master) {
    while master.collect().await.unwrap().files > 0 || !cluster.rows(b"g").await.is_empty() {}
}

/// Repairs until nothing is noted any more; all copies that were made.
pub(crate) async fn heal(cluster: &Cluster, master: &Master) -> usize {
    let mut copies = 0;
    for _ in 0..10 {
        copies += master.repair().await.unwrap().copies;
        if cluster.rows(b"d").await.is_empty() {
            return copies;
        }
    }
    panic!("{:?}", master.repair().await);
}

/// Every copy of every chunk has all that is needed.
pub(crate) async fn check_copies(cluster: &Cluster, copies: usize) {
    let client = cluster.client();
    for row in cluster.rows(b"c").await {
        let chunk = u64::from_be_bytes(row.key[1..].try_into().unwrap());
        let row: ChunkRow = decode(&row.value.bytes).unwrap();
        assert_eq!(row.replicas.len(), copies);
        for replica in row.replicas {
            let at = cluster.place_of(replica.server);
            let found = client.scan(cluster.address(at), replica.id(chunk)).await.unwrap();
            let mut needed = cluster.rows(b"r").await;
            needed.retain(|row| row.key[1..9] == chunk.to_be_bytes());
            let whole = found.iter().filter(|(_, damaged)| !damaged).count();
            assert!(whole >= needed.len(), "server {at}: {whole} of {}", needed.len());
        }
    }
}
