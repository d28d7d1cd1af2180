//! What a replica has, without its group: for when too many of the others are lost for any to lead.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eddy_disk::{Disk, RealDisk};
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;

use super::log_store::LogStore;
use super::options::ReplicaError;
use super::state_machine::StateMachine;
use crate::backup::{self, BackupError};
use crate::embedded::export_whole;
use crate::error::KvError;

const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Why nothing was salvaged.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// There is nothing to salvage.
    #[error("{0} is no folder of a replica: it lacks the files rows and log/vote, or they are empty")]
    NoReplica(PathBuf),
    /// It runs, or its files are damaged.
    #[error("failed to open the replica: it must be stopped")]
    Replica(#[from] ReplicaError),
    /// There is no room for the rows beside the backup, and so on.
    #[error("failed to copy the replica's rows to {path}, which must not be there, and takes as much room as they do")]
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
/// whether they were acknowledged; returns how many rows there are. The replica is opened as at a start, and is no other than it was: where
/// its group lives on, it may still take part.
///
/// A row that the disk changed is left out, and so is a transaction that met one; each is said in the log.
///
/// What never reached this replica is not in it: one voter of three may lack what the other two made sure of, and a standby the last
/// moments.
///
/// # Errors
/// See [`SalvageError`].
pub async fn salvage(folder: &Path, file: &Path) -> Result<u64, SalvageError> {
    let (rows_path, log_path) = (folder.join("rows"), folder.join("log"));
    // What is not there would be made, and be empty.
    let is_there = |path: &Path| std::fs::metadata(path).is_ok_and(|found| found.len() > 0);
    if !is_there(&rows_path) || !is_there(&log_path.join("vote")) {
        return Err(SalvageError::NoReplica(folder.to_owned()));
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    // As long as it is open, nobody else changes it.
    let _original = open(&disk, &rows_path)?;
    let log = LogStore::open(disk.clone(), &log_path).map_err(ReplicaError::from)?;
    let copy = file.with_added_extension("rows");
    let failed = |source| SalvageError::Copy { path: copy.clone(), source };
    let mut to = File::create_new(&copy).map_err(failed)?;
    let copied = File::open(&rows_path).and_then(|mut from| std::io::copy(&mut from, &mut to)).map_err(failed);
    let salvaged = match copied {
        Ok(_) => salvage_copy(disk, log, &copy, file).await,
        Err(error) => Err(error),
    };
    // Of no use to anyone, also where it stays.
    let _ = std::fs::remove_file(&copy);
    salvaged
}

async fn salvage_copy(disk: Arc<dyn Disk>, log: LogStore, copy: &Path, file: &Path) -> Result<u64, SalvageError> {
    let rows = open(&disk, copy)?.salvaged();
    apply_rest(&rows, log).await?;
    Ok(backup::write_rows(export_whole(disk, rows.view()?), file).await?)
}

fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<StateMachine, ReplicaError> {
    StateMachine::open(disk, path, CACHE_BYTES).map_err(|error| ReplicaError::Rows(Box::new(error)))
}

/// Applies what the log has and the rows have not.
async fn apply_rest(rows: &StateMachine, mut log: LogStore) -> Result<(), SalvageError> {
    let wrong = |error: &dyn std::fmt::Display| SalvageError::Log(error.to_string());
    let state = log.get_log_state().await.map_err(|error| wrong(&error))?;
    let end = state.last_log_id.map_or(0, |last| last.index + 1);
    loop {
        let next = rows.applied_index().map_err(|error| wrong(&error))?.map_or(0, |last| last + 1);
        if next >= end {
            return Ok(());
        }
        let entries = log.limited_get_log_entries(next, end).await.map_err(|error| wrong(&error))?;
        if entries.first().is_none_or(|first| first.log_id.index != next) {
            return Err(wrong(&format_args!(
                "it ends with command {}, and lacks command {next}, which the rows lack, too",
                end - 1
            )));
        }
        rows.apply_all(entries).map_err(|error| wrong(&error))?;
    }
}
