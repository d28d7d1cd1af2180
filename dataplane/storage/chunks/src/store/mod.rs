//! The files of chunks on one disk.

mod chunk_file;
mod error;
mod identity;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use eddy_disk::{Disk, DiskFile, Space, is_lost, read_full, read_salvaging};

use self::chunk_file::{ChunkFile, id_of};
pub use self::error::StoreError;
use self::identity::Identity;
pub use self::write::{SyncPoint, Writing};
use crate::format::{Extent, FileId, Found, HEAD_BYTES, find_needles, verify_blocks};

/// Files that are open at once, besides those that take needles.
const OPEN_FILES_MAX: usize = 4096;

/// How a disk's chunks are opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where they are; made if it is not there. The folder above it must be.
    pub folder: PathBuf,
    /// The cluster that they belong to.
    pub cluster: u64,
    /// Room that is left on the disk when no chunk is made any more; those that were made before may grow into half of it.
    pub reserved_bytes: u64,
    /// What these chunks may take of the disk, if not all of it.
    pub capacity_bytes: Option<u64>,
}

/// The files of chunks on one disk.
///
/// A file takes needles only while the process that made it lives: after a restart nobody knows what was under way. Whoever writes gives
/// each needle its place; no place is given twice.
pub struct ChunkStore {
    disk: Arc<dyn Disk>,
    options: StoreOptions,
    identity: Identity,
    files: RwLock<BTreeMap<FileId, Arc<ChunkFile>>>,
    /// Files that were opened since those that take no needles were last closed.
    opened: AtomicUsize,
    /// Bytes of all files; kept where a capacity is set.
    used_bytes: AtomicU64,
}

impl ChunkStore {
    /// Opens a disk's chunks, or begins with none.
    ///
    /// # Errors
    /// [`StoreError::OtherCluster`] or the disk's.
    pub fn open(disk: Arc<dyn Disk>, options: StoreOptions) -> Result<Self, StoreError> {
        let at = |source| StoreError::disk(&options.folder, source);
        disk.create_folder(&options.folder).map_err(at)?;
        let parent = options.folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        disk.sync_folder(parent).map_err(at)?;
        let identity = Identity::next(&*disk, &options.folder, options.cluster)?;
        let names = disk.list(&options.folder).map_err(at)?;
        let ids = names.iter().filter_map(|name| id_of(name));
        let files: BTreeMap<_, _> = ids.map(|id| (id, Arc::new(ChunkFile::found(id, &options.folder)))).collect();
        let mut used_bytes = 0;
        if options.capacity_bytes.is_some() {
            for file in files.values() {
                used_bytes += file.length(&*disk)?;
            }
        }
        Ok(Self {
            disk,
            options,
            identity,
            files: RwLock::new(files),
            opened: AtomicUsize::new(0),
            used_bytes: AtomicU64::new(used_bytes),
        })
    }

    /// The number of this server, which stays with its disk.
    pub fn server(&self) -> u64 {
        self.identity.server
    }

    /// The disk.
    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// How often these chunks were opened.
    pub fn epoch(&self) -> u64 {
        self.identity.epoch
    }

    /// What is left free of it.
    pub fn reserved_bytes(&self) -> u64 {
        self.options.reserved_bytes
    }

    /// The room of the disk, or of what these chunks may take of it.
    ///
    /// # Errors
    /// The disk's.
    pub fn space(&self) -> Result<Space, StoreError> {
        let disk = self.disk.space(&self.options.folder).map_err(|source| StoreError::disk(&self.options.folder, source))?;
        let Some(capacity) = self.options.capacity_bytes else { return Ok(disk) };
        let left = capacity.saturating_sub(self.used_bytes.load(Ordering::Relaxed));
        Ok(Space { total_bytes: disk.total_bytes.min(capacity), available_bytes: disk.available_bytes.min(left) })
    }

    fn check_room(&self, needed: u64) -> Result<(), StoreError> {
        let available = self.space()?.available_bytes;
        if available < needed { Err(StoreError::Full { available, needed }) } else { Ok(()) }
    }

    /// All files, in order.
    pub fn list(&self) -> Vec<FileId> {
        self.read().keys().copied().collect()
    }

    /// All files, in order, and their lengths; without those that are gone this moment.
    pub fn list_with_lengths(&self) -> Vec<(FileId, u64)> {
        let files: Vec<(FileId, Arc<ChunkFile>)> = self.read().iter().map(|(id, file)| (*id, file.clone())).collect();
        files.into_iter().filter_map(|(id, file)| Some((id, file.length(&*self.disk).ok()?))).collect()
    }

    /// Makes a file that takes needles; it is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Exists`], or the disk's.
    pub fn create(&self, id: FileId) -> Result<(), StoreError> {
        self.check_room(self.options.reserved_bytes)?;
        if self.read().contains_key(&id) {
            return Err(StoreError::Exists(id));
        }
        let made = ChunkFile::create(&*self.disk, &self.options.folder, self.options.cluster, id)?;
        self.used_bytes.fetch_add(u64::from(HEAD_BYTES), Ordering::Relaxed);
        self.write().insert(id, Arc::new(made));
        Ok(())
    }

    /// Takes a needle's place in a file of its chunk. It is there once it was written whole and synced.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::NoFile`], [`StoreError::Closed`], [`StoreError::Taken`], [`StoreError::NoExtent`], or the
    /// disk's.
    pub fn begin(&self, file: u64, extent: Extent) -> Result<Writing, StoreError> {
        if !extent.is_valid() {
            return Err(StoreError::NoExtent);
        }
        let file = self.file(FileId { chunk: extent.chunk, file })?;
        let bytes = extent.end() - u64::from(extent.offset);
        // Files that were made before may grow into half of what is reserved.
        self.check_room(bytes.saturating_add(self.options.reserved_bytes / 2))?;
        file.take(&extent)?;
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Writing::new(file, extent))
    }

    /// Gives back the place of a needle that is not written any further, so that it can be written anew.
    pub fn give_up(&self, writing: Writing) {
        self.used_bytes.fetch_sub(writing.give_up(), Ordering::Relaxed);
    }

    /// Ends the taking of needles; what is under way may still end well. What was written before is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::NoFile`] or the disk's.
    pub fn close(&self, id: FileId) -> Result<(), StoreError> {
        let file = self.file(id)?;
        file.close();
        file.sync(&*self.open_file(&file)?)
    }

    /// The stored blocks that hold these bytes of a needle, in a file of its chunk, after their checksums were found right.
    ///
    /// `once` gives up, with none, where that would wait for the disk.
    ///
    /// # Errors
    /// [`StoreError::NoFile`], [`StoreError::NoExtent`], [`StoreError::Damaged`] or the disk's.
    pub fn read_blocks(&self, file: u64, extent: &Extent, range: &Range<u32>, once: bool) -> Result<Option<Vec<u8>>, StoreError> {
        if !extent.is_valid() || range.start > range.end || range.end > extent.bytes {
            return Err(StoreError::NoExtent);
        }
        let known = self.file(FileId { chunk: extent.chunk, file })?;
        let file = self.open_file(&known)?;
        let blocks = extent.blocks(range);
        let mut stored = vec![0; blocks.bytes as usize];
        let read = if once {
            file.read_at_once(&mut stored, blocks.offset)
        } else {
            read_full(&*file, &mut stored, blocks.offset).map(Some)
        };
        let whole = match read {
            Ok(None) => return Ok(None),
            Ok(Some(read)) if read < stored.len() => Err(crate::Damage::CutOff),
            Ok(Some(_)) => verify_blocks(extent.needle, blocks.first, &stored).map(drop),
            Err(error) if is_lost(&error) => Err(crate::Damage::Lost),
            Err(error) => return Err(known.disk_error(error)),
        };
        whole.map_err(|source| StoreError::Damaged { chunk: extent.chunk, offset: extent.offset, source })?;
        Ok(Some(stored))
    }

    /// Bytes of a file as they are, damaged or not, zeroes where the disk does not give them, and fewer where it ends before: for whoever
    /// checks them.
    ///
    /// # Errors
    /// [`StoreError::NoFile`] or the disk's.
    pub fn read_unchecked(&self, id: FileId, start: u64, bytes: u32) -> Result<Vec<u8>, StoreError> {
        let known = self.file(id)?;
        let file = self.open_file(&known)?;
        let mut stored = vec![0; bytes as usize];
        let read = read_salvaging(&*file, &mut stored, start).map_err(|source| known.disk_error(source))?;
        stored.truncate(read);
        Ok(stored)
    }

    /// All needles of a file, after reading all of it that the disk gives.
    ///
    /// # Errors
    /// [`StoreError::NoFile`], [`StoreError::DamagedHead`] or the disk's.
    pub fn scan(&self, id: FileId) -> Result<Vec<Found>, StoreError> {
        let known = self.file(id)?;
        let file = self.open_file(&known)?;
        let mut bytes = vec![0; file.len().map_err(|source| known.disk_error(source))? as usize];
        let read = read_salvaging(&*file, &mut bytes, 0).map_err(|source| known.disk_error(source))?;
        bytes.truncate(read);
        known.check_head(&bytes, self.options.cluster)?;
        Ok(find_needles(id.chunk, &bytes))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`StoreError::NoFile`] or the disk's.
    pub fn remove(&self, id: FileId) -> Result<(), StoreError> {
        let known = self.file(id)?;
        known.close();
        let length = if self.options.capacity_bytes.is_some() { known.length(&*self.disk).unwrap_or_default() } else { 0 };
        self.write().remove(&id);
        self.disk.remove(known.path()).map_err(|source| known.disk_error(source))?;
        let less = |used: u64| Some(used.saturating_sub(length));
        let _ = self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        Ok(())
    }

    /// The file, open; not too many stay so.
    fn open_file(&self, known: &ChunkFile) -> Result<Arc<dyn DiskFile>, StoreError> {
        let (file, opened) = known.file(&*self.disk)?;
        if opened && self.opened.fetch_add(1, Ordering::Relaxed) >= OPEN_FILES_MAX {
            self.opened.store(0, Ordering::Relaxed);
            self.read().values().for_each(|known| known.close_file());
        }
        Ok(file)
    }

    fn file(&self, id: FileId) -> Result<Arc<ChunkFile>, StoreError> {
        self.read().get(&id).cloned().ok_or(StoreError::NoFile(id))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<FileId, Arc<ChunkFile>>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<FileId, Arc<ChunkFile>>> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }
}
