//! Repair, until all is well.

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
