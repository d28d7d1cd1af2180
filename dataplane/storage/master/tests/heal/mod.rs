//! Repair, until all is well.

use eddy_object::schema::{ChunkRow, decode};
use eddy_storage_master::Master;
use eddy_storage_testing::Cluster;

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
#[allow(dead_code, reason = "not all who repair ask")]
pub(crate) async fn check_copies(cluster: &Cluster, copies: usize) {
    let client = cluster.client();
    for row in cluster.rows(b"c").await {
        let chunk = u64::from_be_bytes(row.key[1..].try_into().unwrap());
        let row: ChunkRow = decode(&row.value.bytes).unwrap();
        assert_eq!(row.replicas.len(), copies);
        for replica in row.replicas {
            let at = (0..).find(|at| cluster.number(*at) == replica.server).unwrap();
            let found = client.scan(cluster.address(at), replica.id(chunk)).await.unwrap();
            let mut needed = cluster.rows(b"r").await;
            needed.retain(|row| row.key[1..9] == chunk.to_be_bytes());
            let whole = found.iter().filter(|(_, damaged)| !damaged).count();
            assert!(whole >= needed.len(), "server {at}: {whole} of {}", needed.len());
        }
    }
}
