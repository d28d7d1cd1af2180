//! A disk that counts what it is made to wait for.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::{Disk, DiskFile, Space};

/// Another disk, which makes files durable as slowly as real disks do, and counts how often. Clones are the same disk.
#[derive(Clone)]
pub struct CountedDisk {
    disk: Arc<dyn Disk>,
    syncs: Arc<AtomicUsize>,
    sync_time: Duration,
}

struct CountedFile {
    file: Arc<dyn DiskFile>,
    disk: CountedDisk,
}

impl CountedDisk {
    /// A disk that takes so long to make a file durable, at least.
    pub fn new(disk: Arc<dyn Disk>, sync_time: Duration) -> Self {
        Self { disk, syncs: Arc::default(), sync_time }
    }

    /// How often files were made durable.
    pub fn syncs(&self) -> usize {
        self.syncs.load(Ordering::Relaxed)
    }

    fn of(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(CountedFile { file, disk: self.clone() })
    }
}

impl Disk for CountedDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.create_folder(path)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.of(self.disk.create(path)?))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.of(self.disk.open(path)?))
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn space(&self, folder: &Path) -> io::Result<Space> {
        self.disk.space(folder)
    }
}

impl DiskFile for CountedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    #[allow(clippy::disallowed_methods, reason = "it is what a disk does: nothing is waited for by the clock")]
    fn sync(&self) -> io::Result<()> {
        self.disk.syncs.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.disk.sync_time);
        self.file.sync()
    }
}
