//! A caller's transaction as one of FoundationDB's.

use async_trait::async_trait;
use bytes::Bytes;
use foundationdb::Transaction as FdbTransaction;
use futures::future::try_join_all;

use super::attempt::{Failed, Work};
use super::{Fdb, stamp};
use crate::error::{KvError, Result};
use crate::model::{Check, Transaction, Write, encode_counter};
use crate::rows::sum;

/// What it checks and adds to is read. Where that changes before the commit, FoundationDB refuses it, and the next attempt
/// tells a check that does not hold any more from a counter that has another number.
#[async_trait]
impl Work for Transaction {
    async fn prepare(&self, store: &Fdb, attempt: &FdbTransaction) -> Result<(), Failed> {
        // All are asked for at once.
        let get = |key: &Bytes| attempt.get(&store.fdb_key(key), false);
        let checked = try_join_all(self.checks.iter().map(|check| get(&check.key)));
        let counters = try_join_all(self.writes.iter().filter_map(counter).map(get));
        store.in_service(attempt, false).await?;
        for (Check { key, version }, found) in self.checks.iter().zip(checked.await?) {
            let now = found.as_deref().map(stamp::split).transpose()?.map(|(version, _)| version);
            if now != *version {
                return Err(KvError::Conflict { key: key.clone() }.into());
            }
        }
        let mut counters = counters.await?.into_iter();
        for write in &self.writes {
            match write {
                Write::Put { key, value } => stamp::put(attempt, &store.fdb_key(key), value)?,
                Write::Delete { key } => attempt.clear(&store.fdb_key(key)),
                Write::Add { key, delta, at_most } => {
                    let found = counters.next().flatten();
                    let before = found.as_deref().map(stamp::split).transpose()?.map(|(_, bytes)| bytes);
                    let sum = sum(key, before, *delta, *at_most)?;
                    stamp::put(attempt, &store.fdb_key(key), &encode_counter(sum))?;
                }
            }
        }
        Ok(())
    }
}

fn counter(write: &Write) -> Option<&Bytes> {
    if let Write::Add { key, .. } = write { Some(key) } else { None }
}
