//! The one thread that writes.

use std::sync::Arc;

use redb::{Database, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::broken;
use crate::error::{Invalid, KvError, Result};
use crate::model::{Row, Transaction, Version};
use crate::rows::{self, LAST_VERSION, ROWS, STATE, Stored, apply};

/// Most transactions that become durable together.
const BATCH_MAX: usize = 1024;
/// No more are added to a batch that has this many bytes.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the thread is asked to do.
pub(super) enum Job {
    Commit(Transaction, oneshot::Sender<Result<Version>>),
    Import(mpsc::Receiver<Import>, oneshot::Sender<Result<()>>),
}

/// What an import is sent. A channel that closes before the end is an import given up.
pub(super) enum Import {
    Rows(Vec<Row>),
    End,
}

type Rows<'a> = Table<'a, &'static [u8], Stored<'static>>;

pub(super) struct Committer {
    database: Arc<Database>,
}

struct Waiting {
    transaction: Transaction,
    reply: oneshot::Sender<Result<Version>>,
}

impl Committer {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Until nobody can ask any more, or the disk has failed: what it holds then is known only after it is opened again.
    pub(super) fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut next = jobs.blocking_recv();
        while let Some(job) = next.take() {
            match job {
                Job::Commit(transaction, reply) => {
                    let (batch, other) = gather(Waiting { transaction, reply }, &mut jobs);
                    next = other;
                    if !self.commit(batch) {
                        return;
                    }
                }
                Job::Import(rows, reply) => {
                    let imported = self.import(rows);
                    let ended = matches!(imported, Err(KvError::Broken { .. }));
                    // Nobody may be waiting any more.
                    let _ = reply.send(imported);
                    if ended {
                        return;
                    }
                }
            }
            next = next.or_else(|| jobs.blocking_recv());
        }
    }

    /// Makes a batch durable and answers each; false if the disk failed.
    fn commit(&self, batch: Vec<Waiting>) -> bool {
        let (replies, transactions): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.reply, waiting.transaction)).unzip();
        match self.apply(&transactions) {
            Ok(results) => {
                for (reply, result) in replies.into_iter().zip(results) {
                    let _ = reply.send(result);
                }
                true
            }
            Err(error) => {
                let reason = error.to_string();
                for reply in replies {
                    let _ = reply.send(Err(KvError::Unknown { reason: reason.clone() }));
                }
                false
            }
        }
    }

    fn apply(&self, transactions: &[Transaction]) -> std::result::Result<Vec<Result<Version>>, redb::Error> {
        let write = self.begin()?;
        let mut results = Vec::with_capacity(transactions.len());
        let before = last_version(&write)?;
        let mut version = before;
        {
            let mut rows = write.open_table(ROWS)?;
            for transaction in transactions {
                let applied = apply(&mut rows, version + 1, transaction)?;
                version += Version::from(applied.is_ok());
                results.push(applied.map(|()| version));
            }
        }
        if version > before {
            write.open_table(STATE)?.insert(LAST_VERSION, version)?;
            write.commit()?;
        }
        Ok(results)
    }

    fn import(&self, mut batches: mpsc::Receiver<Import>) -> Result<()> {
        let write = self.begin().map_err(broken)?;
        let version = last_version(&write).map_err(broken)? + 1;
        {
            let mut rows = write.open_table(ROWS).map_err(broken)?;
            if !rows.is_empty().map_err(broken)? {
                return Err(Invalid::NotEmpty.into());
            }
            loop {
                match batches.blocking_recv() {
                    Some(Import::Rows(batch)) => insert(&mut rows, version, &batch).map_err(broken)?,
                    Some(Import::End) => break,
                    None => return Err(KvError::Unavailable { reason: "the rows to restore ended early".into() }),
                }
            }
            write.open_table(STATE).map_err(broken)?.insert(LAST_VERSION, version).map_err(broken)?;
        }
        write.commit().map_err(broken)
    }

    fn begin(&self) -> std::result::Result<WriteTransaction, redb::Error> {
        let mut write = self.database.begin_write()?;
        // Without it, the whole file is read after a crash before it can be used.
        write.set_quick_repair(true);
        Ok(write)
    }
}

fn last_version(write: &WriteTransaction) -> std::result::Result<Version, redb::Error> {
    Ok(write.open_table(STATE)?.get(LAST_VERSION)?.map_or(0, |version| version.value()))
}

fn insert(rows: &mut Rows<'_>, version: Version, batch: &[Row]) -> std::result::Result<(), redb::StorageError> {
    for Row { key, value } in batch {
        rows::insert(rows, key, version, &value.bytes)?;
    }
    Ok(())
}

/// What waits besides the first, as far as it fits, and what ended the gathering.
fn gather(first: Waiting, jobs: &mut mpsc::Receiver<Job>) -> (Vec<Waiting>, Option<Job>) {
    let mut bytes = first.transaction.bytes();
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
        match jobs.try_recv() {
            Ok(Job::Commit(transaction, reply)) => {
                bytes += transaction.bytes();
                batch.push(Waiting { transaction, reply });
            }
            Ok(other) => return (batch, Some(other)),
            Err(_) => break,
        }
    }
    (batch, None)
}
