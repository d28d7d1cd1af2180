//! Files that are being made of others, before a chunk's row names them.
//!
//! A file that no row names is announced by a row of its own, as what is to be collected one day. The transaction that names it takes that
//! row away, and holds only while collection has not doomed it. So nothing that is named is ever removed, and nothing removed ever named,
//! however late whoever made or removes it goes on: a file's number is never given twice.

use bytes::Bytes;
use eddy_chunkserver::Source;
use eddy_kv::{Transaction, Value};
use eddy_object::schema::{Replica, StrayRow, encode, stray_key};
use eddy_object::{ObjectError, now_ms};

use crate::Master;

/// A file that is being made.
#[derive(Clone, Debug)]
pub(crate) struct Announced {
    pub(crate) replica: Replica,
    pub(crate) chunk: u64,
    /// Where it is written to.
    pub(crate) target: Source,
    key: Bytes,
    value: Value,
}

impl Announced {
    fn named_by(&self, transaction: Transaction) -> Transaction {
        transaction.check(self.key.clone(), Some(&self.value)).delete(self.key.clone())
    }
}

impl Master {
    /// Announces a file of a chunk on a server; none where nobody knows where that is.
    pub(crate) async fn announce(&self, chunk: u64, server: u64) -> Result<Option<Announced>, ObjectError> {
        let replica = Replica::draw(server, chunk);
        let Some(target) = self.servers.source(replica) else { return Ok(None) };
        let key = stray_key(server, replica.id(chunk));
        let bytes = encode(&StrayRow { since_ms: now_ms(), doomed: false })?;
        let announce = Transaction::new().check(key.clone(), None).put(key.clone(), bytes.clone());
        let version = self.metadata.store().commit(announce).await?;
        Ok(Some(Announced { replica, chunk, target, key, value: Value { bytes, version } }))
    }

    /// Removes a file that no row is going to name. What cannot be removed now is collected.
    pub(crate) async fn withdraw(&self, announced: Announced) -> Result<(), ObjectError> {
        let Announced { replica, chunk, target, key, value } = announced;
        if let Err(error) = self.client.remove(&target.server, target.id(chunk)).await {
            let error = eddy_telemetry::error_chain(&error);
            tracing::debug!(chunk, server = replica.server, error, "a file that came to nothing is collected later");
        }
        // Otherwise it is being collected.
        self.try_commit(Transaction::new().check(key.clone(), Some(&value)).delete(key)).await.map(drop)
    }

    /// Commits what names these files; whether nothing changed meanwhile, so that it was done. They are removed otherwise.
    pub(crate) async fn name(&self, files: Vec<Announced>, transaction: Transaction) -> Result<bool, ObjectError> {
        let named = files.iter().fold(transaction, |transaction, file| file.named_by(transaction));
        if self.try_commit(named).await? {
            return Ok(true);
        }
        for file in files {
            self.withdraw(file).await?;
        }
        Ok(false)
    }
}
