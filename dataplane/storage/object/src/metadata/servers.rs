//! Chunkservers, and what was decided or seen of them.

use std::collections::BTreeMap;

use eddy_kv::{KeyRange, KvError, Transaction};
use serde::de::DeserializeOwned;

use super::{Metadata, now_ms};
use crate::error::{ObjectError, Result};
use crate::schema::{AwayRow, DrainRow, ServerRow, away_key, aways, decode, drain_key, drains, encode, server_key, servers};

impl Metadata {
    /// All chunkservers, by number.
    ///
    /// # Errors
    /// The store's.
    pub async fn servers(&self) -> Result<BTreeMap<u64, ServerRow>> {
        self.by_server(servers()).await
    }

    /// Says where a chunkserver is.
    ///
    /// # Errors
    /// The store's.
    pub async fn put_server(&self, server: u64, row: &ServerRow) -> Result<()> {
        self.store.commit(Transaction::new().put(server_key(server), encode(row)?)).await?;
        Ok(())
    }

    /// Chunkservers that are being emptied.
    ///
    /// # Errors
    /// The store's.
    pub async fn drains(&self) -> Result<BTreeMap<u64, DrainRow>> {
        self.by_server(drains()).await
    }

    /// A chunkserver is to be emptied: it gets nothing new, and what it has goes to others. Says nothing new of one that is.
    ///
    /// # Errors
    /// The store's.
    pub async fn drain_server(&self, server: u64) -> Result<()> {
        let row = DrainRow { since_ms: now_ms() };
        self.put_if_absent(Transaction::new().check(drain_key(server), None).put(drain_key(server), encode(&row)?)).await
    }

    /// A chunkserver is to be used again.
    ///
    /// # Errors
    /// The store's.
    pub async fn use_server(&self, server: u64) -> Result<()> {
        self.store.commit(Transaction::new().delete(drain_key(server))).await?;
        Ok(())
    }

    /// Chunkservers that do not answer.
    ///
    /// # Errors
    /// The store's.
    pub async fn aways(&self) -> Result<BTreeMap<u64, AwayRow>> {
        self.by_server(aways()).await
    }

    /// A chunkserver does not answer. Says nothing new of one of which that was seen.
    ///
    /// # Errors
    /// The store's.
    pub async fn note_away(&self, server: u64) -> Result<()> {
        let row = AwayRow { since_ms: now_ms() };
        self.put_if_absent(Transaction::new().check(away_key(server), None).put(away_key(server), encode(&row)?)).await
    }

    /// A chunkserver answers again.
    ///
    /// # Errors
    /// The store's.
    pub async fn note_back(&self, server: u64) -> Result<()> {
        self.store.commit(Transaction::new().delete(away_key(server))).await?;
        Ok(())
    }

    /// A chunkserver that has nothing any more is forgotten; one that still runs is known again when it is restarted.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget_server(&self, server: u64) -> Result<()> {
        let forget = Transaction::new().delete(server_key(server)).delete(drain_key(server)).delete(away_key(server));
        self.store.commit(forget).await?;
        Ok(())
    }

    async fn put_if_absent(&self, transaction: Transaction) -> Result<()> {
        match self.store.commit(transaction).await {
            Err(KvError::Conflict { .. }) => Ok(()),
            done => done.map(drop).map_err(Into::into),
        }
    }

    async fn by_server<T: DeserializeOwned>(&self, range: KeyRange) -> Result<BTreeMap<u64, T>> {
        let mut all = BTreeMap::new();
        for row in self.scan_all(range).await? {
            let number = row.key.get(1..).and_then(|number| number.try_into().ok()).map(u64::from_be_bytes);
            let number = number.ok_or_else(|| ObjectError::Broken("a server has no number".into()))?;
            all.insert(number, decode(&row.value.bytes)?);
        }
        Ok(all)
    }
}
