//! Raft's log in the journal, and its vote in a file beside it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use bytes::Bytes;
use eddy_disk::Disk;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogReader, RaftTypeConfig, StorageIOError, Vote};
use serde::{Deserialize, Serialize};

use super::durable::Durable;
use super::types::{Entry, LogId, StorageError, Types};
use crate::journal::{Journal, JournalError, SyncPoint};
use crate::saved;

const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Entries that are read at once, and bytes of them after which no more are; replication asks again for more. What is sent at once must
/// have come within the time of a heartbeat, also over slow links.
const READ_ENTRIES_MAX: u64 = 512;
const READ_BYTES_MAX: usize = 512 * 1024;

/// The log of one replica. Clones are the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    /// The thread that waits for the disk; none where nobody has to.
    syncs: Option<mpsc::Sender<Sync>>,
    /// The rows that must have what is forgotten.
    rows: Option<Durable>,
}

struct Shared {
    journal: Mutex<Journal>,
    saved: Mutex<Saved>,
    disk: Arc<dyn Disk>,
    saved_path: PathBuf,
    /// Bytes of entries that came since somebody asked.
    grown: AtomicU64,
}

/// What is kept beside the entries.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Saved {
    vote: Option<Vote<u64>>,
    purged: Option<LogId>,
}

/// Entries that wait to be durable, and who is told.
struct Sync {
    point: SyncPoint,
    flushed: LogFlushed<Types>,
}

impl LogStore {
    /// Opens the log in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub(crate) fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, JournalError> {
        let mut journal = Journal::open(disk.clone(), folder, SEGMENT_BYTES)?;
        let saved_path = folder.join("vote");
        let saved: Option<Saved> =
            saved::load(&*disk, &saved_path).map_err(|source| JournalError::Disk { path: saved_path.clone(), source })?;
        let saved = saved.unwrap_or_default();
        if let Some(purged) = saved.purged.filter(|purged| journal.next() <= at(purged.index)) {
            journal.restart(at(purged.index) + 1)?;
        }
        // What was saved last may be there without being durable.
        disk.sync_folder(folder).map_err(|source| JournalError::Disk { path: folder.to_owned(), source })?;
        let simulated = disk.is_simulated();
        let grown = AtomicU64::new(journal.bytes());
        let shared = Arc::new(Shared { journal: Mutex::new(journal), saved: Mutex::new(saved), disk, saved_path, grown });
        if simulated {
            return Ok(Self { shared, syncs: None, rows: None });
        }
        let (syncs, waiting) = mpsc::channel();
        let syncing = shared.clone();
        std::thread::Builder::new()
            .name("kv-log".into())
            .spawn(move || syncing.run_syncs(&waiting))
            .map_err(|source| JournalError::Disk { path: folder.to_owned(), source })?;
        Ok(Self { shared, syncs: Some(syncs), rows: None })
    }

    /// Forgets entries only when these rows have them for good.
    pub(super) fn purge_after(self, rows: Durable) -> Self {
        Self { rows: Some(rows), ..self }
    }

    /// The last entry that is forgotten; the rows must have it.
    pub(super) fn purged_index(&self) -> Option<u64> {
        self.shared.saved().purged.map(|purged| purged.index)
    }

    /// Whether it is known how this replica voted.
    pub(super) fn has_voted(&self) -> bool {
        self.shared.saved().vote.is_some()
    }

    /// Whether so many bytes came, or were there at the start, since this was so before.
    pub(super) fn has_grown_by(&self, bytes: u64) -> bool {
        let has = |grown: u64| (grown >= bytes).then_some(0);
        self.shared.grown.fetch_update(Ordering::Relaxed, Ordering::Relaxed, has).is_ok()
    }

    /// The last entry before those that are kept, which have about so many bytes; none where there are no others.
    pub(super) fn beyond(&self, bytes: u64) -> Option<u64> {
        self.shared.journal().beyond(bytes).and_then(|record| record.checked_sub(1))
    }

    /// Makes a replica that led begin as a follower. openraft would let it lead on in its old term: with no entry of a term of its own, it
    /// takes what it finds applied in its rows, which may be long ago, for all that was ever acknowledged, and answers reads.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn end_leadership(&self, id: u64) -> Result<(), JournalError> {
        let vote = self.shared.saved().vote.filter(|vote| vote.committed && vote.leader_id.voted_for() == Some(id));
        let Some(vote) = vote else { return Ok(()) };
        let asked_for = Vote { committed: false, ..vote };
        let saved = self.shared.save(|saved| saved.vote = Some(asked_for));
        saved.map_err(|source| JournalError::Disk { path: self.shared.saved_path.clone(), source })
    }
}

/// The journal counts from 1, Raft from 0.
fn at(index: u64) -> u64 {
    index + 1
}

impl Shared {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saved(&self) -> MutexGuard<'_, Saved> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, change: impl FnOnce(&mut Saved)) -> io::Result<()> {
        let mut saved = self.saved();
        let mut next = saved.clone();
        change(&mut next);
        saved::save(&*self.disk, &self.saved_path, &next)?;
        *saved = next;
        Ok(())
    }

    /// One sync for all that wait for one.
    fn run_syncs(&self, waiting: &mpsc::Receiver<Sync>) {
        while let Ok(first) = waiting.recv() {
            let mut batch = vec![first];
            batch.extend(waiting.try_iter());
            self.sync(batch);
        }
    }

    fn sync(&self, batch: Vec<Sync>) {
        // The last one covers all: a full segment was made durable before the next was begun.
        let Some(point) = batch.last().map(|sync| sync.point.clone()) else { return };
        let result = point.sync();
        self.journal().synced(&point, result.is_ok());
        for sync in batch {
            let told = result.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()));
            sync.flushed.log_io_completed(told.copied());
        }
    }

    #[expect(clippy::result_large_err, reason = "openraft's error")]
    fn entry(&self, journal: &Journal, index: u64) -> Result<Option<Entry>, StorageError> {
        Ok(self.sized_entry(journal, index)?.map(|(entry, _)| entry))
    }

    #[expect(clippy::result_large_err, reason = "openraft's error")]
    fn sized_entry(&self, journal: &Journal, index: u64) -> Result<Option<(Entry, usize)>, StorageError> {
        let Some(payload) = journal.read(at(index)).map_err(read_error)? else { return Ok(None) };
        postcard::from_bytes(&payload).map(|entry| Some((entry, payload.len()))).map_err(read_error)
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        let purged = self.shared.saved().purged.map_or(0, |purged| purged.index + 1);
        let journal = self.shared.journal();
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let (start, end) = (start.max(purged).max(journal.first() - 1), end.min(journal.next() - 1));
        (start..end).filter_map(|index| self.shared.entry(&journal, index).transpose()).collect()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        let journal = self.shared.journal();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for index in start..end.min(start + READ_ENTRIES_MAX) {
            let Some((entry, size)) = self.shared.sized_entry(&journal, index)? else { break };
            entries.push(entry);
            bytes += size;
            if bytes >= READ_BYTES_MAX {
                break;
            }
        }
        Ok(entries)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let purged = self.shared.saved().purged;
        let journal = self.shared.journal();
        let last = match journal.next().checked_sub(2).filter(|last| at(*last) >= journal.first()) {
            Some(last) => self.shared.entry(&journal, last)?.map(|entry| entry.log_id),
            None => None,
        };
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.max(purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError> {
        self.shared.save(|saved| saved.vote = Some(*vote)).map_err(write_error)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError> {
        Ok(self.shared.saved().vote)
    }

    async fn append<I>(&mut self, entries: I, flushed: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = <Types as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (mut first, mut payloads) = (None, Vec::new());
        for entry in entries {
            first = first.or(Some(at(entry.log_id.index)));
            payloads.push(Bytes::from(postcard::to_stdvec(&entry).map_err(write_error)?));
        }
        let bytes: usize = payloads.iter().map(Bytes::len).sum();
        self.shared.grown.fetch_add(bytes as u64, Ordering::Relaxed);
        let mut journal = self.shared.journal();
        if let Some(first) = first.filter(|first| *first != journal.next()) {
            if journal.first() != journal.next() {
                let reason = format!("entry {} does not follow entry {}", first - 1, journal.next() - 2);
                return Err(write_error(io::Error::other(reason)));
            }
            journal.restart(first).map_err(write_error)?;
        }
        journal.append(&payloads).map_err(write_error)?;
        let Some(point) = journal.sync_point() else { return Ok(()) };
        drop(journal);
        let sync = Sync { point, flushed };
        let Some(syncs) = &self.syncs else {
            self.shared.sync(vec![sync]);
            return Ok(());
        };
        let stopped = |_| write_error(io::Error::other("the thread that syncs has ended"));
        syncs.send(sync).map_err(stopped)
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), StorageError> {
        self.shared.journal().truncate(at(from.index)).map_err(write_error)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        if let Some(rows) = &self.rows {
            rows.wait(upto.index).await.map_err(write_error)?;
        }
        // First what is gone, then its going: entries are missed by nobody who knows that they may be.
        self.shared.save(|saved| saved.purged = saved.purged.max(Some(upto))).map_err(write_error)?;
        let mut journal = self.shared.journal();
        if journal.next() <= at(upto.index) {
            return journal.restart(at(upto.index) + 1).map_err(write_error);
        }
        journal.purge(at(upto.index)).map_err(write_error)
    }
}

fn read_error(error: impl std::error::Error + 'static) -> StorageError {
    StorageIOError::read_logs(AnyError::new(&error)).into()
}

fn write_error(error: impl std::error::Error + 'static) -> StorageError {
    StorageIOError::write_logs(AnyError::new(&error)).into()
}
