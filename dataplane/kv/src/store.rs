//! The trait.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::{KvError, Result};
use crate::model::{Page, Read, ReadResult, Row, Scan, Transaction, Value, Version};

/// Batches of rows in the order of their keys, all of one version.
pub type RowStream<'a> = BoxStream<'a, Result<Vec<Row>>>;

/// An ordered, transactional key-value store.
///
/// A transaction that was acknowledged is durable and seen by every later read. Transactions that check all that they
/// read are serialisable: each happens as if alone.
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads all at one version, which is no older than any transaction acknowledged before the call.
    ///
    /// # Errors
    /// [`KvError::Invalid`], [`KvError::Unavailable`], [`KvError::Broken`].
    async fn read(&self, reads: Vec<Read>) -> Result<Vec<ReadResult>>;

    /// Makes all writes happen together and returns their version, or none if a check does not hold.
    ///
    /// # Errors
    /// Any of [`KvError`]. Only after [`KvError::Unknown`] may the writes have happened.
    async fn commit(&self, transaction: Transaction) -> Result<Version>;

    /// All rows at one version, for a backup or a new replica. It goes on serving meanwhile.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    async fn export(&self) -> Result<RowStream<'_>>;

    /// Fills an empty store: all rows or, after an error, none that is ever served. Versions are the store's own.
    ///
    /// # Errors
    /// [`Invalid::NotEmpty`](crate::Invalid::NotEmpty), the stream's first error, or as [`commit`](Self::commit).
    async fn import(&self, rows: RowStream<'_>) -> Result<()>;

    /// The row of one key.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    async fn get(&self, key: Bytes) -> Result<Option<Value>> {
        match self.read(vec![Read::Get(key)]).await?.pop() {
            Some(ReadResult::Value(value)) => Ok(value),
            other => Err(unexpected(other)),
        }
    }

    /// One page of a range.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    async fn scan(&self, scan: Scan) -> Result<Page> {
        match self.read(vec![Read::Scan(scan)]).await?.pop() {
            Some(ReadResult::Page(page)) => Ok(page),
            other => Err(unexpected(other)),
        }
    }
}

fn unexpected(result: Option<ReadResult>) -> KvError {
    KvError::Broken { reason: format!("a read was answered with {result:?}") }
}
