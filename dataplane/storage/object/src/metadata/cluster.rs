//! Which cluster this is.

use eddy_kv::{KvError, Transaction};

use super::Metadata;
use crate::error::Result;
use crate::schema::{ClusterRow, cluster_key, decode, encode};

impl Metadata {
    /// The number of the cluster, which the disks of its chunkservers bear; drawn when it is first asked for. As a row it is in every
    /// backup: a store that is made anew of one is that of the same chunkservers.
    ///
    /// # Errors
    /// The store's.
    pub async fn cluster(&self) -> Result<u64> {
        loop {
            if let Some(value) = self.store.get(cluster_key()).await? {
                return Ok(decode::<ClusterRow>(&value.bytes)?.number);
            }
            let row = ClusterRow { number: fastrand::u64(1..) };
            match self.store.commit(Transaction::new().check(cluster_key(), None).put(cluster_key(), encode(&row)?)).await {
                // Another was quicker.
                Err(KvError::Conflict { .. }) => {}
                done => return Ok(done.map(|_| row.number)?),
            }
        }
    }
}
