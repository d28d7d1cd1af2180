//! An append-only journal of records with consecutive indexes: what consensus writes down before it says so.
//!
//! Records lie in segments, files named for their first index. A batch of appends becomes durable by one sync. After a crash,
//! what was durable is there, whole; of what was not, a beginning may be. Each record says how far the
//! journal was durable when it was written, so that a record lost to a bad disk is told from one that was never whole: the
//! former is an error that needs a person or a replica, the latter is cut off.

mod record;
mod segment;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use eddy_disk::{Disk, DiskFile};

use self::record::PAYLOAD_BYTES_MAX;
use self::segment::Segment;

/// Why a journal cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error("failed to read or write the journal {path}")]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A record that was durable is no longer readable.
    #[error("the journal {path} has lost record {index}, which was durable: restore it from a replica or a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The record's index.
        index: u64,
    },
    /// A write or sync failed before: what is on the disk is known only after the journal is opened again.
    #[error("the journal failed before: it must be opened again")]
    Failed,
    /// A record is longer than 16 MiB.
    #[error("a record of {0} bytes is too long for the journal")]
    TooLong(usize),
}

/// A journal in a folder of its own.
pub struct Journal {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    segment_bytes: u64,
    /// By index, at least one; appends go to the last one.
    segments: Vec<Segment>,
    durable: u64,
    failed: bool,
}

/// What a sync makes durable.
#[derive(Clone)]
pub struct SyncPoint {
    file: Arc<dyn DiskFile>,
    /// The last record that is.
    pub last: u64,
}

impl SyncPoint {
    /// Waits for the disk, on any thread.
    ///
    /// # Errors
    /// The kernel's; the journal must not be used any more then.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Journal {
    /// Opens what is in a folder, or begins with record 1. Where the last records were not durable, a beginning of them
    /// may be there.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] where a record is lost that was durable, or the disk's.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path, segment_bytes: u64) -> Result<Self, JournalError> {
        let at = |source| JournalError::Disk { path: folder.to_owned(), source };
        disk.create_folder(folder).map_err(at)?;
        let mut names: Vec<(u64, String)> =
            disk.list(folder).map_err(at)?.into_iter().filter_map(|name| Some((Segment::first_of(&name)?, name))).collect();
        names.sort_unstable();
        let mut scanned = Vec::with_capacity(names.len());
        for (first, name) in &names {
            scanned.push(Segment::scan(&*disk, folder, name, *first).map_err(at)?);
        }
        let durable = scanned.iter().map(|scanned| scanned.durable).max().unwrap_or(0);
        let mut segments: Vec<Segment> = Vec::with_capacity(scanned.len());
        for found in scanned {
            // A segment is begun only after the one before it is durable: where that one lacks records, they were.
            if let Some(before) = segments.last().filter(|before| before.next() != found.segment.first) {
                return Err(JournalError::Damaged { path: before.path.clone(), index: before.next() });
            }
            if found.torn && durable >= found.segment.next() {
                return Err(JournalError::Damaged { index: found.segment.next(), path: found.segment.path });
            }
            segments.push(found.segment);
        }
        match segments.last_mut() {
            // Cut off what is torn, and make durable what is there: only then may a record say that it is.
            Some(last) => last.truncate(last.next()).map_err(at)?,
            None => segments.push(Segment::create(&*disk, folder, 1).map_err(at)?),
        }
        let mut journal = Self { disk, folder: folder.to_owned(), segment_bytes, segments, durable: 0, failed: false };
        journal.durable = journal.next() - 1;
        Ok(journal)
    }

    /// The first index that is still there, if the journal has any.
    pub fn first(&self) -> u64 {
        self.segments.first().map_or(1, |segment| segment.first)
    }

    /// The index of the next record.
    pub fn next(&self) -> u64 {
        self.segments.last().map_or(1, Segment::next)
    }

    /// The last record that is durable.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Writes records, which are readable at once and durable after a sync.
    ///
    /// # Errors
    /// Where nothing was written: [`JournalError::TooLong`], a full disk. After any other, the journal has failed.
    pub fn append(&mut self, payloads: &[Bytes]) -> Result<(), JournalError> {
        self.usable()?;
        if let Some(payload) = payloads.iter().find(|payload| payload.len() > PAYLOAD_BYTES_MAX) {
            return Err(JournalError::TooLong(payload.len()));
        }
        self.rotate()?;
        let durable = self.durable;
        let Some(last) = self.segments.last_mut() else { return Err(JournalError::Failed) };
        let Err(source) = last.append(payloads, durable) else { return Ok(()) };
        let path = last.path.clone();
        // Half a record may be there, and must not stay.
        self.failed = last.truncate(last.next()).is_err();
        if !self.failed {
            self.durable = self.next() - 1;
        }
        Err(JournalError::Disk { path, source })
    }

    /// What makes all that was written durable; [`synced`](Self::synced) tells the journal that it did.
    pub fn sync_point(&self) -> Option<SyncPoint> {
        self.segments.last().map(|segment| SyncPoint { file: segment.file.clone(), last: self.next() - 1 })
    }

    /// Says that a sync has ended. Where it failed, so has the journal.
    pub fn synced(&mut self, point: &SyncPoint, succeeded: bool) {
        self.failed |= !succeeded;
        if succeeded {
            // What was cut off meanwhile is not durable, though it was.
            self.durable = self.durable.max(point.last.min(self.next() - 1));
        }
    }

    /// Makes all that was written durable, and waits for it.
    ///
    /// # Errors
    /// The disk's; the journal has failed then.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.usable()?;
        let Some(point) = self.sync_point() else { return Ok(()) };
        let result = point.sync();
        self.synced(&point, result.is_ok());
        result.map_err(|source| self.failure(source))
    }

    /// The payload of a record; none where it is not there.
    ///
    /// # Errors
    /// [`JournalError::Damaged`], or the disk's.
    pub fn read(&self, index: u64) -> Result<Option<Bytes>, JournalError> {
        let after = self.segments.partition_point(|segment| segment.first <= index);
        match after.checked_sub(1).map(|at| &self.segments[at]) {
            Some(segment) if index < segment.next() => segment.read(index).map(Some),
            _ => Ok(None),
        }
    }

    /// Forgets the records from `index` on, durably.
    ///
    /// # Errors
    /// The disk's; the journal has failed then.
    pub fn truncate(&mut self, index: u64) -> Result<(), JournalError> {
        self.usable()?;
        let index = index.max(self.first());
        // The last one first: after a crash, none is missing between others.
        let mut removed = Vec::new();
        while self.segments.len() > 1 && self.segments.last().is_some_and(|last| last.first >= index) {
            removed.extend(self.segments.pop());
        }
        let result = self.remove(&removed).and_then(|()| self.segments.last_mut().map_or(Ok(()), |last| last.truncate(index)));
        self.durable = self.durable.min(self.next() - 1);
        result.map_err(|source| self.fail(source))
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The last record that is not in the latest segments with so many bytes or more, if there is one.
    pub fn beyond(&self, bytes: u64) -> Option<u64> {
        let mut kept = 0;
        let beyond = self.segments.iter().rev().find(|segment| {
            let is_beyond = kept >= bytes;
            kept += segment.bytes;
            is_beyond
        });
        beyond.map(|segment| segment.next() - 1)
    }

    /// Forgets whole segments of records up to `index`. The last segment stays.
    ///
    /// # Errors
    /// The disk's; the journal has failed then.
    pub fn purge(&mut self, index: u64) -> Result<(), JournalError> {
        self.usable()?;
        let whole = self.segments.iter().take_while(|segment| segment.next() <= index + 1).count();
        let removed: Vec<Segment> = self.segments.drain(..whole.min(self.segments.len() - 1)).collect();
        self.remove(&removed).map_err(|source| self.fail(source))
    }

    /// Forgets all records, durably; the next one has this index.
    ///
    /// # Errors
    /// The disk's; the journal has failed then.
    pub fn restart(&mut self, next: u64) -> Result<(), JournalError> {
        self.usable()?;
        // The last one first: after a crash, none is missing between others.
        let mut removed = std::mem::take(&mut self.segments);
        removed.reverse();
        let begun = self.remove(&removed).and_then(|()| Segment::create(&*self.disk, &self.folder, next));
        let segment = begun.map_err(|source| self.fail(source))?;
        self.segments.push(segment);
        self.durable = next - 1;
        Ok(())
    }

    /// Begins a new segment where the last one is full.
    fn rotate(&mut self) -> Result<(), JournalError> {
        if self.segments.last().is_some_and(|last| last.bytes < self.segment_bytes) {
            return Ok(());
        }
        self.sync()?;
        let next = self.next();
        match Segment::create(&*self.disk, &self.folder, next) {
            Ok(segment) => self.segments.push(segment),
            Err(source) => return Err(self.fail(source)),
        }
        Ok(())
    }

    fn remove(&self, segments: &[Segment]) -> io::Result<()> {
        if segments.is_empty() {
            return Ok(());
        }
        segments.iter().try_for_each(|segment| self.disk.remove(&segment.path))?;
        self.disk.sync_folder(&self.folder)
    }

    fn usable(&self) -> Result<(), JournalError> {
        if self.failed { Err(JournalError::Failed) } else { Ok(()) }
    }

    fn fail(&mut self, source: io::Error) -> JournalError {
        self.failed = true;
        self.failure(source)
    }

    fn failure(&self, source: io::Error) -> JournalError {
        JournalError::Disk { path: self.folder.clone(), source }
    }
}
