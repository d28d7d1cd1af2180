//! A snapshot that arrives: rows gather in a file of their own until all are there.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use eddy_disk::Disk;
use redb::{Database, Durability, ReadableDatabase};

use super::state_machine::RowsView;
use crate::embedded::broken;
use crate::error::{KvError, Result};
use crate::model::Row;
use crate::rows::{self, ROWS, STATE};

/// The transfer that is under way; a new one ends it.
pub(crate) struct Incoming {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    cache_bytes: usize,
    transfer: Mutex<Option<(u64, Arc<Database>)>>,
}

impl Incoming {
    /// Rows gather in the file at `path`.
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf, cache_bytes: usize) -> Self {
        Self { disk, path, cache_bytes, transfer: Mutex::new(None) }
    }

    /// Begins a transfer with this number.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn begin(&self, number: u64) -> Result<()> {
        let mut transfer = self.lock();
        *transfer = None;
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(KvError::Broken { reason: format!("failed to remove {}: {error}", self.path.display()) });
            }
            _ => {}
        }
        let database = crate::file::open(&*self.disk, &self.path, self.cache_bytes).map_err(broken)?;
        *transfer = Some((number, Arc::new(database)));
        Ok(())
    }

    /// Takes some of its rows.
    ///
    /// # Errors
    /// The disk's, or that another transfer is under way.
    pub(crate) fn add(&self, number: u64, some: &[Row]) -> Result<()> {
        let database = self.database(number)?;
        write(&database, |transaction| {
            let mut to = transaction.open_table(ROWS)?;
            for row in some {
                rows::insert(&mut to, &row.key, row.value.version, &row.value.bytes)?;
            }
            Ok(())
        })
    }

    /// All rows.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub(crate) fn end(&self, number: u64, state: &[(String, u64)]) -> Result<RowsView> {
        let database = self.database(number)?;
        write(&database, |transaction| {
            transaction.open_table(ROWS)?;
            let mut to = transaction.open_table(STATE)?;
            for (key, number) in state {
                to.insert(key.as_str(), number)?;
            }
            Ok(())
        })?;
        let view = database.begin_read().map_err(broken)?;
        *self.lock() = None;
        Ok(RowsView::of(self.disk.clone(), view, database))
    }

    fn database(&self, number: u64) -> Result<Arc<Database>> {
        let transfer = self.lock();
        let wanted = transfer.as_ref().filter(|(current, _)| *current == number);
        let ended = || KvError::Unavailable { reason: "another snapshot began to arrive".into() };
        wanted.map(|(_, database)| database.clone()).ok_or_else(ended)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(u64, Arc<Database>)>> {
        self.transfer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None of it need outlive the process.
fn write(database: &Database, fill: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<()> {
    let mut transaction = database.begin_write().map_err(broken)?;
    transaction.set_durability(Durability::None).map_err(broken)?;
    fill(&transaction).map_err(broken)?;
    transaction.commit().map_err(broken)
}
