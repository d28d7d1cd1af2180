//! One file of a journal: records of consecutive indexes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use eddy_disk::{Disk, DiskFile, read_all, read_full};

use super::JournalError;
use super::record::{HEAD_BYTES, Record, find_all};

const SUFFIX: &str = ".journal";

pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    /// The index of its first record, whether it is there or still to come.
    pub(super) first: u64,
    /// Where each record begins.
    starts: Vec<u64>,
    pub(super) bytes: u64,
}

/// What a segment's file holds after a restart.
pub(super) struct Scanned {
    pub(super) segment: Segment,
    /// What follows its last whole record of the right index is none.
    pub(super) torn: bool,
    /// The highest index that any whole record in the file knows to be durable, those beyond a torn one among them.
    pub(super) durable: u64,
}

impl Segment {
    pub(super) fn create(disk: &dyn Disk, folder: &Path, first: u64) -> io::Result<Self> {
        let path = folder.join(format!("{first:020}{SUFFIX}"));
        let file = disk.create(&path)?;
        disk.sync_folder(folder)?;
        Ok(Self { path, file, first, starts: Vec::new(), bytes: 0 })
    }

    /// The first index that a file's name tells of; none for a file that is no segment.
    pub(super) fn first_of(name: &str) -> Option<u64> {
        name.strip_suffix(SUFFIX)?.parse().ok()
    }

    pub(super) fn scan(disk: &dyn Disk, folder: &Path, name: &str, first: u64) -> io::Result<Scanned> {
        let path = folder.join(name);
        let file = disk.open(&path)?;
        // What a sync failed to write may look as if it were there, to a process that begins after the one that failed.
        file.forget_cached();
        let contents = read_all(&*file)?;
        let (mut starts, mut at) = (Vec::new(), 0);
        let is_next = |record: &Record<'_>, starts: &Vec<u64>| record.index == first + starts.len() as u64;
        while let Some(record) = Record::decode(&contents[at..]).filter(|record| is_next(record, &starts)) {
            starts.push(at as u64);
            at += record.bytes();
        }
        let torn = at < contents.len();
        // A whole segment is not searched: its last record knows most.
        let known = if torn {
            find_all(&contents).map(|record| record.durable).max()
        } else {
            starts.last().map(|start| durable(&contents, *start))
        };
        let segment = Self { path, file, first, starts, bytes: at as u64 };
        Ok(Scanned { segment, torn, durable: known.unwrap_or(0) })
    }

    /// The index after its last record.
    pub(super) fn next(&self) -> u64 {
        self.first + self.starts.len() as u64
    }

    /// Writes records, not durably yet.
    pub(super) fn append(&mut self, payloads: &[Bytes], durable: u64) -> io::Result<()> {
        let (mut buffer, mut starts) = (Vec::new(), Vec::with_capacity(payloads.len()));
        for (index, payload) in (self.next()..).zip(payloads) {
            starts.push(self.bytes + buffer.len() as u64);
            Record { index, durable, payload }.encode(&mut buffer);
        }
        self.file.write_at(&buffer, self.bytes)?;
        self.bytes += buffer.len() as u64;
        self.starts.append(&mut starts);
        Ok(())
    }

    /// The payload of a record that it has.
    pub(super) fn read(&self, index: u64) -> Result<Bytes, JournalError> {
        let at = (index - self.first) as usize;
        let start = self.starts[at];
        let end = self.starts.get(at + 1).copied().unwrap_or(self.bytes);
        let mut buffer = vec![0; (end - start) as usize];
        read_full(&*self.file, &mut buffer, start).map_err(|source| JournalError::Disk { path: self.path.clone(), source })?;
        match Record::decode(&buffer) {
            Some(record) if record.index == index => Ok(Bytes::from(buffer).slice(HEAD_BYTES..)),
            _ => Err(JournalError::Damaged { path: self.path.clone(), index }),
        }
    }

    /// Forgets records from `index` on, durably.
    pub(super) fn truncate(&mut self, index: u64) -> io::Result<()> {
        let keep = index.saturating_sub(self.first) as usize;
        if let Some(end) = self.starts.get(keep) {
            self.bytes = *end;
            self.starts.truncate(keep);
        }
        self.file.set_len(self.bytes)?;
        // What is cut off must not come back behind what is written next.
        self.file.sync()
    }
}

fn durable(contents: &[u8], start: u64) -> u64 {
    Record::decode(&contents[start as usize..]).map_or(0, |record| record.durable)
}
