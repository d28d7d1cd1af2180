//! What a replica has, without its group: for when too many of the others are lost for any to lead.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eddy_disk::{Disk, RealDisk};
use openraft::RaftLogReader;

use super::log_store::LogStore;
use super::options::ReplicaError;
use super::state_machine::StateMachine;
use crate::backup::{self, BackupError};
use crate::embedded::export_view;
use crate::error::KvError;

/// Commands that are applied in one transaction.
const BATCH: u64 = 1000;
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Why nothing was salvaged.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// There is nothing to salvage.
    #[error("{0} is no folder of a replica: it holds no file named rows")]
    NoReplica(PathBuf),
    /// It runs, or its files are damaged.
    #[error("failed to open the replica: it must be stopped")]
    Replica(#[from] ReplicaError),
    /// There is no room for the rows beside the backup, and so on.
    #[error("failed to copy the replica's rows to {path}, which takes as much room as they do")]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The log is damaged, or lacks what the rows lack.
    #[error("failed to bring the rows up to the end of the log: {0}")]
    Log(String),
    /// They were being restored when the replica ended.
    #[error(transparent)]
    Rows(#[from] KvError),
    /// The backup was not written.
    #[error(transparent)]
    Backup(#[from] BackupError),
}

/// Writes all rows of a replica that is stopped to a backup, with all commands that its log has, also those of which it never learnt
/// whether they were acknowledged; returns how many rows there are. The replica is left as it is: where its group lives on, it may still
/// take part.
///
/// What never reached this replica is not in it: one voter of three may lack what the other two made sure of, and a standby the last
/// moments.
///
/// # Errors
/// See [`SalvageError`].
pub async fn salvage(folder: &Path, file: &Path) -> Result<u64, SalvageError> {
    let rows_path = folder.join("rows");
    if !rows_path.is_file() {
        return Err(SalvageError::NoReplica(folder.to_owned()));
    }
    let copy = file.with_added_extension("rows");
    let salvaged = salvage_by(folder, &rows_path, &copy, file).await;
    // It may not have been made.
    let _ = std::fs::remove_file(&copy);
    salvaged
}

async fn salvage_by(folder: &Path, rows_path: &Path, copy: &Path, file: &Path) -> Result<u64, SalvageError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let open = |path: &Path| {
        StateMachine::open(&disk, path, CACHE_BYTES).map_err(|error| SalvageError::Replica(ReplicaError::Rows(Box::new(error))))
    };
    // As long as it is open, nobody else changes it.
    let original = open(rows_path)?;
    let log = LogStore::open(disk.clone(), &folder.join("log")).map_err(ReplicaError::from)?;
    let failed = |source| SalvageError::Copy { path: copy.to_owned(), source };
    std::fs::copy(rows_path, copy).map_err(failed)?;
    let rows = open(copy)?;
    apply_rest(&rows, log).await?;
    let written = backup::write_rows(export_view(disk, rows.view()?), file).await?;
    drop(original);
    Ok(written)
}

/// Applies what the log has and the rows have not.
async fn apply_rest(rows: &StateMachine, mut log: LogStore) -> Result<(), SalvageError> {
    let wrong = |error: &dyn std::fmt::Display| SalvageError::Log(error.to_string());
    loop {
        let next = rows.applied_index().map_err(|error| wrong(&error))?.map_or(0, |last| last + 1);
        let entries = log.try_get_log_entries(next..next.saturating_add(BATCH)).await.map_err(|error| wrong(&error))?;
        let Some(first) = entries.first() else { return Ok(()) };
        if first.log_id.index != next {
            return Err(wrong(&format_args!("it begins with command {}, and the rows lack {next}", first.log_id.index)));
        }
        rows.apply_all(entries).map_err(|error| wrong(&error))?;
    }
}
