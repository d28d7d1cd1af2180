//! The store in FoundationDB, for who runs one anyway.
//!
//! A transaction is one of FoundationDB's, and a version its commit's, which each value carries ([`stamp`]). It has no
//! counters that keep a bound: an add reads and writes, and starts over when another was faster. FoundationDB keeps a
//! version for five seconds: what takes longer to read at one, as the export of a large store does, fails. Such a store
//! is backed up by `fdbbackup`.

mod attempt;
mod client;
mod commit;
mod scan;
mod stamp;
mod transfer;

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use foundationdb::future::FdbKeyValue;
use foundationdb::options::DatabaseOption;
use foundationdb::{Database, FdbError, Transaction as FdbTransaction};
use futures::future::{try_join, try_join_all};

use self::attempt::Failed;
pub use self::client::FdbClient;
use crate::error::{KvError, Result};
use crate::model::{Read, ReadResult, Row, Transaction, Value, Version, validate_reads};
use crate::store::{RowStream, Store};

/// After this, a transaction is given up with all its attempts.
const TIMEOUT_MILLISECONDS: i32 = 10_000;

/// Where a store is.
#[derive(Clone, Debug)]
pub struct FdbOptions {
    /// The file that says where the cluster is, which FoundationDB's client keeps up to date.
    pub cluster_file: PathBuf,
    /// What all of the store's keys begin with; other stores in the same cluster have others.
    pub prefix: String,
}

/// A store in FoundationDB.
pub struct Fdb {
    database: Database,
    /// What the keys of rows begin with.
    rows: Vec<u8>,
    /// A key that is there while rows are restored, and after a restore that broke off.
    restoring: Vec<u8>,
    /// Dropped last: it serves the others.
    _client: FdbClient,
}

impl Fdb {
    /// Prepares connections; they are opened when they are needed.
    ///
    /// # Errors
    /// [`KvError::Unavailable`] where the cluster's file cannot be used.
    pub fn connect(client: &FdbClient, options: &FdbOptions) -> Result<Self> {
        let file = options.cluster_file.to_str().filter(|path| !path.contains('\0'));
        let file = file.ok_or_else(|| KvError::Unavailable {
            reason: format!("{:?} cannot be the path of a cluster's file", options.cluster_file),
        })?;
        let database = Database::from_path(file).map_err(unavailable)?;
        database.set_option(DatabaseOption::TransactionTimeout(TIMEOUT_MILLISECONDS)).map_err(unavailable)?;
        let key = |suffix: &str| format!("{}{suffix}", options.prefix).into_bytes();
        Ok(Self { database, rows: key("rows/"), restoring: key("restoring"), _client: client.clone() })
    }

    fn begin(&self) -> Result<FdbTransaction> {
        self.database.create_trx().map_err(unavailable)
    }

    fn fdb_key(&self, key: &[u8]) -> Vec<u8> {
        [&self.rows, key].concat()
    }

    fn row(&self, found: &FdbKeyValue) -> Result<Row> {
        let key = Bytes::copy_from_slice(&found.key()[self.rows.len()..]);
        Ok(Row { key, value: value(found.value())? })
    }

    /// Fails while rows are restored. Where it is no snapshot, a restore that begins makes the commit fail, too.
    async fn in_service(&self, attempt: &FdbTransaction, snapshot: bool) -> Result<(), Failed> {
        match attempt.get(&self.restoring, snapshot).await? {
            Some(_) => Err(KvError::restoring().into()),
            None => Ok(()),
        }
    }

    /// All at one version of FoundationDB's, which is returned, too.
    async fn read_at_once(&self, reads: &[Read]) -> Result<(i64, Vec<ReadResult>)> {
        let mut attempt = self.begin()?;
        loop {
            let read = self.read_by(&attempt, reads).await;
            match read {
                Ok(found) => return Ok(found),
                Err(failed) => attempt = failed.again(attempt).await?,
            }
        }
    }

    async fn read_by(&self, attempt: &FdbTransaction, reads: &[Read]) -> Result<(i64, Vec<ReadResult>), Failed> {
        let version = attempt.get_read_version().await?;
        let results = try_join_all(reads.iter().map(|read| self.read_one(attempt, read)));
        let ((), results) = try_join(self.in_service(attempt, true), results).await?;
        Ok((version, results))
    }

    async fn read_one(&self, attempt: &FdbTransaction, read: &Read) -> Result<ReadResult, Failed> {
        match read {
            Read::Get(key) => {
                let found = attempt.get(&self.fdb_key(key), true).await?;
                Ok(ReadResult::Value(found.as_deref().map(value).transpose()?))
            }
            Read::Scan(scan) => Ok(ReadResult::Page(self.page(attempt, scan).await?)),
        }
    }
}

#[async_trait]
impl Store for Fdb {
    async fn read(&self, reads: Vec<Read>) -> Result<Vec<ReadResult>> {
        validate_reads(&reads)?;
        let (_, results) = self.read_at_once(&reads).await?;
        Ok(results)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version> {
        transaction.validate()?;
        self.happen(&transaction).await
    }

    async fn export(&self) -> Result<RowStream<'_>> {
        self.export_rows().await
    }

    async fn import(&self, rows: RowStream<'_>) -> Result<()> {
        self.import_rows(rows).await
    }
}

fn value(stored: &[u8]) -> Result<Value> {
    let (version, bytes) = stamp::split(stored)?;
    Ok(Value { bytes: Bytes::copy_from_slice(bytes), version })
}

/// For what changes nothing.
fn unavailable(error: FdbError) -> KvError {
    KvError::Unavailable { reason: error.to_string() }
}
