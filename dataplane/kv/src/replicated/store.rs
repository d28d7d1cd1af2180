//! The store that a group of replicas is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eddy_disk::{Disk, RealDisk};
use futures::StreamExt;
use openraft::error::{InitializeError, RaftError};
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};

use super::batcher::{Batcher, write};
use super::log_store::LogStore;
use super::network::Alone;
use super::state_machine::StateMachine;
use super::types::{Command, ImportedRow, Types};
use crate::embedded::export_view;
use crate::error::{KvError, Result};
use crate::journal::JournalError;
use crate::model::{Read, ReadResult, Row, TRANSACTION_BYTES_MAX, Transaction, Version, validate_reads};
use crate::store::{RowStream, Store};

/// A follower that hears nothing for so long asks to lead; twice as long at most.
const ELECTION_TIMEOUT: Duration = Duration::from_millis(1000);
const HEARTBEAT: Duration = Duration::from_millis(250);
/// After so many commands, rows are made durable and the log may forget them.
const COMMANDS_BETWEEN_SNAPSHOTS: u64 = 100_000;
/// Commands that the log keeps for replicas that lag.
const COMMANDS_KEPT: u64 = 10_000;

/// How a replica is opened.
#[derive(Clone, Debug)]
pub struct ReplicatedOptions {
    /// Where its log and rows are; made if it is not there. The folder above it must be.
    pub folder: PathBuf,
    /// Its number among the replicas, which it keeps.
    pub id: u64,
    /// Bytes of memory that hold pages of the rows.
    pub cache_bytes: usize,
}

/// Why a replica could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The folder cannot be made.
    #[error("failed to make the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The log cannot be used.
    #[error("failed to open the log of a replica")]
    Log(#[from] JournalError),
    /// The rows cannot be used.
    #[error("failed to open the rows of a replica: no other process may have them open")]
    Rows(#[source] Box<redb::Error>),
    /// Consensus does not begin.
    #[error("failed to start consensus: {0}")]
    Raft(String),
}

/// One replica of a store, which answers for all of them.
pub struct Replicated {
    raft: Raft<Types>,
    batcher: Batcher,
    rows: StateMachine,
}

impl Replicated {
    /// Opens the only replica of a store.
    ///
    /// # Errors
    /// See [`ReplicaError`].
    pub async fn alone(options: &ReplicatedOptions) -> Result<Self, ReplicaError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let at = |source| ReplicaError::Folder { path: options.folder.clone(), source };
        disk.create_folder(&options.folder).map_err(at)?;
        let parent = options.folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        disk.sync_folder(parent).map_err(at)?;
        // The rows first: their file's lock is the log's, too.
        let rows = StateMachine::open(&options.folder.join("rows"), options.cache_bytes);
        let rows = rows.map_err(|error| ReplicaError::Rows(Box::new(error)))?;
        let log = LogStore::open(disk, &options.folder.join("log"))?;
        let config = Arc::new(config().validate().map_err(|error| ReplicaError::Raft(error.to_string()))?);
        let raft = Raft::new(options.id, config, Alone, log, rows.clone()).await;
        let raft = raft.map_err(|error| ReplicaError::Raft(error.to_string()))?;
        let members = [(options.id, BasicNode::default())];
        match raft.initialize(std::collections::BTreeMap::from(members)).await {
            // It was before.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(ReplicaError::Raft(error.to_string())),
        }
        // Nobody else could lead: there is nothing to wait for.
        raft.trigger().elect().await.map_err(|error| ReplicaError::Raft(error.to_string()))?;
        let led = raft.wait(Some(10 * ELECTION_TIMEOUT)).current_leader(options.id, "the only replica leads").await;
        led.map_err(|error| ReplicaError::Raft(error.to_string()))?;
        Ok(Self { batcher: Batcher::start(raft.clone()), raft, rows })
    }

    /// Ends what runs in the background. What was acknowledged is durable without it.
    pub async fn close(self) {
        // It has ended where this fails.
        let _ = self.raft.shutdown().await;
    }

    async fn run(&self, command: Command) -> Result<Version> {
        write(&self.raft, command).await?.into_result()
    }

    /// Waits until this replica has all that was acknowledged anywhere.
    async fn catch_up(&self) -> Result<()> {
        let unavailable = |error: &dyn std::fmt::Display| KvError::Unavailable { reason: error.to_string() };
        self.raft.ensure_linearizable().await.map(drop).map_err(|error| unavailable(&error))
    }

    async fn fill(&self, mut rows: RowStream<'_>) -> Result<()> {
        while let Some(batch) = rows.next().await {
            let (mut command, mut bytes) = (Vec::new(), 0);
            for Row { key, value } in batch? {
                bytes += key.len() + value.bytes.len();
                command.push(ImportedRow { key, value: value.bytes });
                if bytes >= TRANSACTION_BYTES_MAX {
                    self.run(Command::Import(std::mem::take(&mut command))).await?;
                    bytes = 0;
                }
            }
            self.run(Command::Import(command)).await?;
        }
        Ok(())
    }
}

fn config() -> Config {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: "eddy-kv".into(),
        heartbeat_interval: milliseconds(HEARTBEAT),
        election_timeout_min: milliseconds(ELECTION_TIMEOUT),
        election_timeout_max: milliseconds(2 * ELECTION_TIMEOUT),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(COMMANDS_BETWEEN_SNAPSHOTS),
        max_in_snapshot_log_to_keep: COMMANDS_KEPT,
        ..Config::default()
    }
}

#[async_trait]
impl Store for Replicated {
    async fn read(&self, reads: Vec<Read>) -> Result<Vec<ReadResult>> {
        validate_reads(&reads)?;
        self.catch_up().await?;
        self.rows.read(&reads)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version> {
        transaction.validate()?;
        self.batcher.commit(transaction).await
    }

    async fn export(&self) -> Result<RowStream<'_>> {
        self.catch_up().await?;
        Ok(export_view(self.rows.view()?))
    }

    async fn import(&self, rows: RowStream<'_>) -> Result<()> {
        self.run(Command::BeginImport).await?;
        let filled = self.fill(rows).await;
        self.run(Command::EndImport { complete: filled.is_ok() }).await?;
        filled
    }
}
