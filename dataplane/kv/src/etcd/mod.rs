//! The store in etcd, for who runs one anyway.
//!
//! A transaction is one of etcd's, and a version its revision. etcd keeps all in memory-mapped 8 GiB at most and every
//! old revision until it is compacted (`--auto-compaction-retention`): good for some millions of rows, not for hundreds.
//! It has no counters: an add reads, compares and writes, and starts over when another was faster.

mod access;
mod commit;
mod scan;
mod transfer;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, Error, GetOptions, GetResponse, KeyValue, KvClient, Txn, TxnOp, TxnOpResponse,
    TxnResponse,
};

pub use self::access::EtcdAccess;
use crate::error::{KvError, Result};
use crate::model::{Read, ReadResult, Row, Transaction, Value, Version, validate_reads};
use crate::store::{RowStream, Store};

/// Most bytes of an answer: what [`scan::ROUND_ROWS_MAX`] of the largest rows take, with room.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a store is.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// `http://host:port` of each member that may be asked, or `https://…`.
    pub endpoints: Vec<String>,
    /// What all of the store's keys begin with; other stores in the same etcd have others.
    pub prefix: String,
    /// By what one is let in.
    pub access: EtcdAccess,
}

/// A store in etcd.
pub struct Etcd {
    client: KvClient,
    /// What the keys of rows begin with.
    rows: Vec<u8>,
    /// A key that is there while rows are restored, and after a restore that broke off.
    restoring: Vec<u8>,
}

impl Etcd {
    /// Prepares connections; they are opened when they are needed, but one to sign in, where there is a user.
    ///
    /// # Errors
    /// [`KvError::Unavailable`] where an endpoint is none, or the user is not let in or nobody can say.
    pub async fn connect(options: &EtcdOptions) -> Result<Self> {
        let connect = ConnectOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT);
        let client = Client::connect(&options.endpoints, Some(options.access.apply(connect))).await.map_err(unavailable)?;
        let key = |suffix: &str| format!("{}{suffix}", options.prefix).into_bytes();
        Ok(Self {
            client: client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX),
            rows: key("rows/"),
            restoring: key("restoring"),
        })
    }

    fn etcd_key(&self, key: &[u8]) -> Vec<u8> {
        [&self.rows, key].concat()
    }

    fn row(&self, found: KeyValue) -> Row {
        let version = version_of(&found);
        let (key, bytes) = found.into_key_value();
        Row { key: Bytes::from(key).split_off(self.rows.len()), value: Value { bytes: bytes.into(), version } }
    }

    /// That no rows are being restored.
    fn in_service(&self) -> Compare {
        Compare::create_revision(self.restoring.clone(), CompareOp::Equal, 0)
    }

    async fn ask(&self, transaction: Txn) -> Result<TxnResponse, Error> {
        self.client.clone().txn(transaction).await
    }

    /// All at one revision, which is returned, too.
    async fn read_at_once(&self, operations: Vec<TxnOp>) -> Result<(i64, Vec<GetResponse>)> {
        let answer = self.ask(Txn::new().when([self.in_service()]).and_then(operations)).await.map_err(unavailable)?;
        if !answer.succeeded() {
            return Err(KvError::restoring());
        }
        Ok((revision_of(&answer)?, gets(&answer)))
    }
}

#[async_trait]
impl Store for Etcd {
    async fn read(&self, reads: Vec<Read>) -> Result<Vec<ReadResult>> {
        validate_reads(&reads)?;
        let operations = reads.iter().map(|read| match read {
            Read::Get(key) => TxnOp::get(self.etcd_key(key), None),
            Read::Scan(scan) => self.first_round(scan),
        });
        let (revision, answers) = self.read_at_once(operations.collect()).await?;
        let mut results = Vec::with_capacity(reads.len());
        for (read, mut answer) in reads.iter().zip(answers) {
            results.push(match read {
                Read::Get(_) => ReadResult::Value(answer.take_kvs().pop().map(|found| self.row(found).value)),
                Read::Scan(scan) => ReadResult::Page(self.rest_of_page(scan, answer, revision).await?),
            });
        }
        Ok(results)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version> {
        transaction.validate()?;
        self.commit_valid(&transaction).await
    }

    async fn export(&self) -> Result<RowStream<'_>> {
        self.export_rows().await
    }

    async fn import(&self, rows: RowStream<'_>) -> Result<()> {
        self.import_rows(rows).await
    }
}

fn gets(answer: &TxnResponse) -> Vec<GetResponse> {
    let get = |response| if let TxnOpResponse::Get(get) = response { Some(get) } else { None };
    answer.op_responses().into_iter().filter_map(get).collect()
}

fn revision_of(answer: &TxnResponse) -> Result<i64> {
    let header = answer.header().ok_or_else(|| KvError::Broken { reason: "etcd answered without a revision".into() })?;
    Ok(header.revision())
}

fn version_of(found: &KeyValue) -> Version {
    found.mod_revision().unsigned_abs()
}

fn range(end: Vec<u8>, limit: usize) -> GetOptions {
    GetOptions::new().with_range(end).with_limit(i64::try_from(limit).unwrap_or(i64::MAX))
}

/// For what changes nothing.
fn unavailable(error: Error) -> KvError {
    KvError::Unavailable { reason: error.to_string() }
}
