//! The store as a file in the process that uses it.
//!
//! Reads are redb's: each batch sees the last durable version, and no writer stops it. Writes go through
//! one thread that takes whatever waits and makes it durable together, so that many writers share the disk's syncs.

mod committer;
mod transfer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use redb::{Database, ReadableDatabase};
use tokio::sync::{mpsc, oneshot};

use self::committer::{Committer, Job};
use crate::error::{KvError, Result};
use crate::model::{Read, ReadResult, Transaction, Version, validate_reads};
use crate::rows::{self, ROWS, STATE};
use crate::store::{RowStream, Store};

pub(crate) use self::transfer::{export_view, export_whole};

/// Transactions that wait for the disk at once; more wait for room.
const WAITING_MAX: usize = 4096;
/// Batches that may return more rows than this are read on a thread of their own, off the caller's.
const INLINE_ROWS_MAX: usize = 128;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The file; made if it is not there. Its folder must be.
    pub path: PathBuf,
    /// Bytes of memory that hold pages of the file.
    pub cache_bytes: usize,
}

impl EmbeddedOptions {
    /// With a cache of 64 MiB.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), cache_bytes: 64 * 1024 * 1024 }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it, or it is no store, or the disk failed.
    #[error("failed to open the store {path}: it must be a store's file that no other process has open")]
    Open {
        /// The file.
        path: PathBuf,
        /// What redb says.
        source: Box<redb::Error>,
    },
    /// The thread that writes could not be started.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
}

/// A store in a file. Dropped, it waits for what is being written, and closes the file.
pub struct Embedded {
    database: Arc<Database>,
    committer: Option<(mpsc::Sender<Job>, JoinHandle<()>)>,
}

impl Embedded {
    /// Opens or makes the file. After a crash, this takes no longer than otherwise.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: &EmbeddedOptions) -> Result<Self, OpenError> {
        let failed = |error: redb::Error| OpenError::Open { path: options.path.clone(), source: Box::new(error) };
        let database = open(&options.path, options.cache_bytes).map_err(failed)?;
        let database = Arc::new(database);
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let committer = Committer::new(database.clone());
        let thread = std::thread::Builder::new().name("kv-commit".into());
        let thread = thread.spawn(move || committer.run(waiting)).map_err(OpenError::Thread)?;
        Ok(Self { database, committer: Some((jobs, thread)) })
    }

    fn jobs(&self) -> Result<&mpsc::Sender<Job>> {
        self.committer.as_ref().map(|(jobs, _)| jobs).ok_or_else(stopped)
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T>>) -> Job) -> Result<T> {
        let (reply, replied) = oneshot::channel();
        self.jobs()?.send(job(reply)).await.map_err(|_| stopped())?;
        replied.await.map_err(|_| stopped())?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some((jobs, thread)) = self.committer.take() {
            drop(jobs);
            // Whether it panicked is of no use to anyone any more.
            let _ = thread.join();
        }
    }
}

pub(crate) fn stopped() -> KvError {
    KvError::Broken { reason: "the thread that writes has ended".into() }
}

fn open(path: &Path, cache_bytes: usize) -> std::result::Result<Database, redb::Error> {
    let database = Database::builder().set_cache_size(cache_bytes).create(path)?;
    // The tables are made here, so that reads find them.
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(ROWS).map_err(rows::of_other_version)?;
    transaction.open_table(STATE)?;
    transaction.commit()?;
    Ok(database)
}

pub(crate) fn broken(error: impl Into<redb::Error>) -> KvError {
    let error: redb::Error = error.into();
    KvError::Broken { reason: error.to_string() }
}

#[async_trait]
impl Store for Embedded {
    async fn read(&self, reads: Vec<Read>) -> Result<Vec<ReadResult>> {
        validate_reads(&reads)?;
        let rows: usize = reads.iter().map(|read| if let Read::Scan(scan) = read { scan.limit } else { 1 }).sum();
        let transaction = self.database.begin_read().map_err(broken)?;
        if rows <= INLINE_ROWS_MAX {
            return rows::read(&transaction, &reads).map_err(broken);
        }
        let read = tokio::task::spawn_blocking(move || rows::read(&transaction, &reads).map_err(broken));
        read.await.map_err(|error| KvError::Unavailable { reason: error.to_string() })?
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version> {
        transaction.validate()?;
        self.ask(|reply| Job::Commit(transaction, reply)).await
    }

    async fn export(&self) -> Result<RowStream<'_>> {
        transfer::export(&self.database)
    }

    async fn import(&self, rows: RowStream<'_>) -> Result<()> {
        transfer::import(rows, self.jobs()?).await
    }
}
