//! The rows of one replica: what all commands so far have made of them.
//!
//! Commands are applied without waiting for the disk: the log has them. Together with the rows, redb keeps
//! which command was the last, so that after a crash it is at some earlier command, and the log has the rest. Before the log forgets
//! a command, the rows are made durable.

use std::path::Path;
use std::sync::Arc;

use eddy_disk::Disk;
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{
    AnyError, BasicNode, EntryPayload, OptionalSend, RaftSnapshotBuilder, RaftTypeConfig, SnapshotMeta, StorageIOError,
};
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use super::durable::Durable;
use super::types::{Command, Entry, LogId, Membership, Outcome, StorageError, Types};
use crate::embedded::export_view;
use crate::error::{KvError, Result as KvResult};
use crate::model::{Read, ReadResult, Version};
use crate::rows::{self, LAST_VERSION, ROWS, STATE};
use crate::store::RowStream;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

/// What Raft must know of the rows.
const RAFT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("raft");
/// In [`RAFT`]: the last command applied, and the members.
const APPLIED: &str = "applied";
/// In [`STATE`]: which restore is under way; 0 if none is.
const RESTORING: &str = "restoring";
/// In [`STATE`]: the version of the first transaction that was not done for a damaged row, which another replica would have done; 0 if there is none.
const DAMAGED: &str = "damaged";

type Applied = (Option<LogId>, Membership);

/// The rows of a replica. Clones are the same rows.
#[derive(Clone)]
pub(crate) struct StateMachine {
    database: Arc<Database>,
    disk: Arc<dyn Disk>,
    durable: Durable,
    damage: watch::Sender<Option<String>>,
    /// What it has is all that there will be.
    is_last: bool,
}

/// The rows at one command, for a replica that lacks so many that the log no longer has them.
pub(crate) struct RowsView {
    disk: Arc<dyn Disk>,
    rows: Option<ReadTransaction>,
    damage: watch::Sender<Option<String>>,
    /// The file that the rows are in, where that is not the replica's own.
    _file: Option<Arc<Database>>,
}

impl RowsView {
    /// The rows of a file that only they need.
    pub(crate) fn of(disk: Arc<dyn Disk>, rows: ReadTransaction, file: Arc<Database>) -> Self {
        Self { disk, rows: Some(rows), damage: watch::Sender::new(None), _file: Some(file) }
    }

    /// The store's own numbers.
    ///
    /// # Errors
    /// redb's.
    pub(crate) fn state(&self) -> KvResult<Vec<(String, u64)>> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        numbers(rows).map_err(crate::embedded::broken)
    }

    /// All rows, in batches.
    pub(crate) fn into_rows(self) -> RowStream<'static> {
        let Self { disk, rows, damage, .. } = self;
        let Some(rows) = rows else { return stream::empty().boxed() };
        export_view(disk, rows).inspect_err(move |error| report(error, &damage)).boxed()
    }
}

/// Whoever waits for it learns that rows cannot be read.
fn report(error: &KvError, damage: &watch::Sender<Option<String>>) {
    if let KvError::Broken { reason } = error {
        tracing::error!(reason, "rows cannot be read");
        damage.send_replace(Some(reason.clone()));
    }
}

fn numbers(transaction: &ReadTransaction) -> Result<Vec<(String, u64)>, redb::Error> {
    let mut numbers = Vec::new();
    for found in transaction.open_table(STATE)?.iter()? {
        let (key, number) = found?;
        numbers.push((key.value().to_owned(), number.value()));
    }
    Ok(numbers)
}

impl StateMachine {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// redb's.
    pub(crate) fn open(disk: &Arc<dyn Disk>, path: &Path, cache_bytes: usize) -> Result<Self, redb::Error> {
        let database = crate::file::open(&**disk, path, cache_bytes)?;
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        transaction.open_table(ROWS).map_err(rows::of_other_version)?;
        transaction.open_table(STATE)?;
        let (applied, _) = applied(&transaction.open_table(RAFT)?)?;
        transaction.commit()?;
        let durable = Durable::new(applied.map(|last| last.index));
        let damage = watch::Sender::new(None);
        Ok(Self { database: Arc::new(database), disk: disk.clone(), durable, damage, is_last: false })
    }

    /// The same, where no replica will be made of it: what cannot be done for a damaged row is left out.
    pub(super) fn salvaged(self) -> Self {
        Self { is_last: true, ..self }
    }

    /// Why rows cannot be read, from when that is known.
    pub(super) fn damage(&self) -> watch::Receiver<Option<String>> {
        self.damage.subscribe()
    }

    /// Whether something was not done for a damaged row: no other replica may be made of the log.
    pub(super) fn lacks_something(&self) -> KvResult<bool> {
        let transaction = self.database.begin_read().map_err(crate::embedded::broken)?;
        Ok(number(&transaction, DAMAGED).map_err(crate::embedded::broken)? > 0)
    }

    /// Up to which command they are durable.
    pub(super) fn durable(&self) -> Durable {
        self.durable.clone()
    }

    /// Whether another holder has the rows.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.database) > 1
    }

    /// Reads at the last command applied.
    pub(crate) fn read(&self, reads: &[Read]) -> KvResult<Vec<ReadResult>> {
        let transaction = self.view()?;
        rows::read(&transaction, reads).map_err(crate::embedded::broken).inspect_err(|error| report(error, &self.damage))
    }

    /// All rows as they are now.
    pub(crate) fn export(&self) -> KvResult<RowStream<'static>> {
        Ok(self.rows_view(Some(self.view()?)).into_rows())
    }

    /// The rows that a transaction sees; none without one.
    fn rows_view(&self, rows: Option<ReadTransaction>) -> RowsView {
        RowsView { disk: self.disk.clone(), rows, damage: self.damage.clone(), _file: None }
    }

    /// All rows as they are now, unless they are being restored.
    pub(crate) fn view(&self) -> KvResult<ReadTransaction> {
        let transaction = self.database.begin_read().map_err(crate::embedded::broken)?;
        if number(&transaction, RESTORING).map_err(crate::embedded::broken)? > 0 {
            return Err(KvError::restoring());
        }
        Ok(transaction)
    }

    /// The last command that was applied.
    pub(super) fn applied_index(&self) -> Result<Option<u64>, redb::Error> {
        Ok(self.applied()?.0.map(|last| last.index))
    }

    fn applied(&self) -> Result<Applied, redb::Error> {
        applied(&self.database.begin_read()?.open_table(RAFT)?)
    }

    /// Makes durable what was applied.
    fn make_durable(&self) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        // Without it, the whole file is read after a crash before it can be used.
        transaction.set_quick_repair(true);
        transaction.commit()?;
        Ok(())
    }

    pub(super) fn apply_all(&self, entries: impl IntoIterator<Item = Entry>) -> Result<Vec<Outcome>, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        let mut applied = applied(&transaction.open_table(RAFT)?)?;
        let mut outcomes = Vec::new();
        for entry in entries {
            applied.0 = Some(entry.log_id);
            outcomes.push(match entry.payload {
                EntryPayload::Blank => Outcome::Nothing,
                EntryPayload::Membership(members) => {
                    applied.1 = Membership::new(Some(entry.log_id), members);
                    Outcome::Nothing
                }
                EntryPayload::Normal(command) => {
                    // Standbys have the log, too.
                    let alone = self.is_last || applied.1.nodes().count() < 2;
                    run(&transaction, command, alone)?
                }
            });
        }
        save_applied(&transaction, &applied)?;
        transaction.commit()?;
        Ok(outcomes)
    }

    fn snapshot(&self) -> Result<Snapshot<Types>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let (last_log_id, last_membership) = applied(&transaction.open_table(RAFT)?)?;
        let snapshot_id = last_log_id.map_or_else(String::new, |last| last.to_string());
        let meta = SnapshotMeta { last_log_id, last_membership, snapshot_id };
        Ok(Snapshot { meta, snapshot: Box::new(self.rows_view(Some(transaction))) })
    }

    fn install(&self, meta: &SnapshotMeta<u64, BasicNode>, rows: &RowsView) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_quick_repair(true);
        transaction.delete_table(ROWS)?;
        transaction.delete_table(STATE)?;
        {
            let (mut to, mut state) = (transaction.open_table(ROWS)?, transaction.open_table(STATE)?);
            if let Some(from) = &rows.rows {
                for found in from.open_table(ROWS)?.iter()? {
                    let (key, value) = found?;
                    to.insert(key.value(), value.value())?;
                }
                for found in from.open_table(STATE)?.iter()? {
                    let (key, value) = found?;
                    state.insert(key.value(), value.value())?;
                }
            }
        }
        save_applied(&transaction, &(meta.last_log_id, meta.last_membership.clone()))?;
        transaction.commit()?;
        self.durable.reach(meta.last_log_id.map(|last| last.index));
        Ok(())
    }

    /// What whoever waits for them to be durable must know, too.
    fn failed(&self, error: impl Into<redb::Error>) -> StorageError {
        self.durable.fail();
        StorageIOError::write_state_machine(AnyError::new(&error.into())).into()
    }
}

/// The last command applied, and the members; none before the first. What is there and cannot be read must not count as
/// none: every command would be applied again.
fn applied(raft: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Applied, redb::Error> {
    let Some(found) = raft.get(APPLIED)? else { return Ok(Applied::default()) };
    postcard::from_bytes(found.value()).map_err(|error| redb::Error::Corrupted(format!("{APPLIED}: {error}")))
}

fn save_applied(transaction: &WriteTransaction, applied: &Applied) -> Result<(), redb::Error> {
    let encoded = postcard::to_stdvec(applied).map_err(|error| redb::Error::Corrupted(error.to_string()))?;
    transaction.open_table(RAFT)?.insert(APPLIED, encoded.as_slice())?;
    Ok(())
}

fn number(transaction: &ReadTransaction, key: &str) -> Result<u64, redb::Error> {
    Ok(transaction.open_table(STATE)?.get(key)?.map_or(0, |found| found.value()))
}

/// What one command does, and what becomes of it: the same on every replica. One that meets a row that is not what was written is not a replica of
/// the others any more; where there are none, the rest of its rows is still of use.
fn run(transaction: &WriteTransaction, command: Command, alone: bool) -> Result<Outcome, redb::Error> {
    let mut rows = transaction.open_table(ROWS)?;
    let mut state = transaction.open_table(STATE)?;
    let number = |found: Option<redb::AccessGuard<'_, u64>>| found.map_or(0, |found| found.value());
    let mut version: Version = number(state.get(LAST_VERSION)?) + 1;
    let restore = number(state.get(RESTORING)?);
    let restoring = restore > 0;
    let outcome = match command {
        Command::Commits(_) if restoring => Outcome::Restoring,
        Command::Commits(commits) => {
            let mut outcomes = Vec::with_capacity(commits.len());
            for commit in commits {
                let result: Result<(), KvError> = rows::apply(&mut rows, version, &commit)?;
                if let Err(KvError::Broken { reason }) = result {
                    tracing::error!(reason, alone, "a transaction met a damaged row");
                    if !alone {
                        return Err(redb::Error::Corrupted(reason));
                    }
                    // It has its version, so that whatever comes after it is what it was, also when the log is read again.
                    if number(state.get(DAMAGED)?) == 0 {
                        state.insert(DAMAGED, version)?;
                    }
                    outcomes.push(Outcome::Damaged(reason));
                    version += 1;
                    continue;
                }
                let happened = Version::from(result.is_ok());
                let impossible = || redb::Error::Corrupted("a transaction met what none can".into());
                outcomes.push(Outcome::of(result, version).ok_or_else(impossible)?);
                version += happened;
            }
            state.insert(LAST_VERSION, version - 1)?;
            return Ok(Outcome::Commits(outcomes));
        }
        Command::BeginImport if !restoring && !rows.is_empty()? => Outcome::NotEmpty,
        Command::BeginImport => {
            rows.retain(|_, _| false)?;
            state.insert(RESTORING, version)?;
            Outcome::Done(version)
        }
        Command::Import { restore: of, .. } | Command::EndImport { restore: of, .. } if of != restore => Outcome::OtherRestore,
        Command::Import { rows: batch, .. } => {
            for row in batch {
                rows::insert(&mut rows, &row.key, version, &row.value)?;
            }
            Outcome::Done(version)
        }
        Command::EndImport { complete, .. } => {
            if !complete {
                rows.retain(|_, _| false)?;
            }
            state.insert(RESTORING, 0)?;
            Outcome::Done(version)
        }
    };
    if outcome == Outcome::Done(version) {
        state.insert(LAST_VERSION, version)?;
    }
    Ok(outcome)
}

impl RaftSnapshotBuilder<Types> for StateMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        // What it has must be durable, and more is applied meanwhile.
        let snapshot = self.snapshot().map_err(|error| self.failed(error))?;
        let rows = self.clone();
        let made = eddy_disk::run(&*self.disk, move || rows.make_durable()).await;
        made.map_err(|error| self.failed(redb::Error::Io(error.into())))?.map_err(|error| self.failed(error))?;
        self.durable.reach(snapshot.meta.last_log_id.map(|last| last.index));
        Ok(snapshot)
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<Applied, StorageError> {
        self.applied().map_err(|error| self.failed(error))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, StorageError>
    where
        I: IntoIterator<Item = <Types as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.apply_all(entries).map_err(|error| self.failed(error))
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<RowsView>, StorageError> {
        Ok(Box::new(self.rows_view(None)))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<RowsView>,
    ) -> Result<(), StorageError> {
        let (rows, meta) = (self.clone(), meta.clone());
        let installed = eddy_disk::run(&*self.disk, move || rows.install(&meta, &snapshot)).await;
        let ended = |error: tokio::task::JoinError| self.failed(redb::Error::Io(error.into()));
        installed.map_err(ended)?.map_err(|error| self.failed(error))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let snapshot = self.snapshot().map_err(|error| self.failed(error))?;
        Ok(snapshot.meta.last_log_id.is_some().then_some(snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_is_known_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(eddy_disk::RealDisk);
        let rows = StateMachine::open(&disk, &folder.path().join("rows"), 1024 * 1024).unwrap();
        let now = || applied(&rows.database.begin_read().unwrap().open_table(RAFT).unwrap());
        assert_eq!(now().unwrap(), Applied::default());
        let write = rows.database.begin_write().unwrap();
        write.open_table(RAFT).unwrap().insert(APPLIED, b"\x01".as_slice()).unwrap();
        write.commit().unwrap();
        assert!(matches!(now(), Err(redb::Error::Corrupted(_))));
        assert!(rows.apply_all([]).is_err(), "nothing is applied on top");
    }
}
