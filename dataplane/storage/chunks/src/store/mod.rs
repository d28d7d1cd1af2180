//! The chunks of one disk.

mod chunk;
mod error;
mod identity;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use eddy_disk::{Disk, DiskFile, Space, read_all, read_full};

use self::chunk::{Chunk, file_name, number_of};
pub use self::error::StoreError;
use self::identity::Identity;
pub use self::write::{SyncPoint, Writing};
use crate::format::{Extent, Found, HEAD_BYTES, find_needles, verify_blocks};

/// Files of chunks that are open at once, besides those that take needles.
const OPEN_FILES_MAX: usize = 4096;

/// How a disk's chunks are opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where they are; made if it is not there. The folder above it must be.
    pub folder: PathBuf,
    /// The cluster that they belong to.
    pub cluster: u64,
    /// Room that is left on the disk when no chunk is made any more.
    pub reserved_bytes: u64,
    /// What these chunks may take of the disk, if not all of it.
    pub capacity_bytes: Option<u64>,
}

/// The chunks of one disk.
///
/// A chunk takes needles only while the process that made it lives, from whoever has heard this process's [epoch](Self::epoch): after a restart
/// nobody knows what was under way. Whoever writes gives each needle its place; no place is given twice.
pub struct ChunkStore {
    disk: Arc<dyn Disk>,
    options: StoreOptions,
    identity: Identity,
    chunks: RwLock<BTreeMap<u64, Arc<Chunk>>>,
    /// Files that were opened since those of chunks that take no needles were last closed.
    opened: AtomicUsize,
    /// Bytes of all chunks' files; kept where a capacity is set.
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
        let mut chunks = BTreeMap::new();
        for number in disk.list(&options.folder).map_err(at)?.iter().filter_map(|name| number_of(name)) {
            chunks.insert(number, Arc::new(Chunk::found(number, &options.folder)));
        }
        let mut used_bytes = 0;
        if options.capacity_bytes.is_some() {
            for chunk in chunks.values() {
                used_bytes += chunk.length(&*disk)?;
            }
        }
        Ok(Self {
            disk,
            options,
            identity,
            chunks: RwLock::new(chunks),
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

    /// The numbers of all chunks, in order.
    pub fn list(&self) -> Vec<u64> {
        self.read().keys().copied().collect()
    }

    /// The numbers of all chunks, in order, and the lengths of their files; without those that are gone this moment.
    pub fn list_with_lengths(&self) -> Vec<(u64, u64)> {
        let chunks: Vec<(u64, Arc<Chunk>)> = self.read().iter().map(|(number, chunk)| (*number, chunk.clone())).collect();
        chunks.into_iter().filter_map(|(number, chunk)| Some((number, chunk.length(&*self.disk).ok()?))).collect()
    }

    /// Makes a chunk that takes needles; it is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Exists`], or the disk's.
    pub fn create(&self, chunk: u64) -> Result<(), StoreError> {
        let available = self.space()?.available_bytes;
        if available < self.options.reserved_bytes {
            return Err(StoreError::Full { available, reserved: self.options.reserved_bytes });
        }
        if self.read().contains_key(&chunk) {
            return Err(StoreError::Exists(chunk));
        }
        let made = Chunk::create(&*self.disk, &self.options.folder, self.options.cluster, chunk)?;
        self.used_bytes.fetch_add(u64::from(HEAD_BYTES), Ordering::Relaxed);
        self.write().insert(chunk, Arc::new(made));
        Ok(())
    }

    /// Takes a needle's place. It is there once it was written whole and synced.
    ///
    /// # Errors
    /// [`StoreError::WrongEpoch`], [`StoreError::NoChunk`], [`StoreError::Closed`], [`StoreError::Taken`],
    /// [`StoreError::NoExtent`].
    pub fn begin(&self, epoch: u64, extent: Extent) -> Result<Writing, StoreError> {
        if epoch != self.epoch() {
            return Err(StoreError::WrongEpoch { said: epoch, is: self.epoch() });
        }
        if !extent.is_valid() {
            return Err(StoreError::NoExtent);
        }
        let chunk = self.chunk(extent.chunk)?;
        chunk.take(&extent)?;
        self.used_bytes.fetch_add(extent.end() - u64::from(extent.offset), Ordering::Relaxed);
        Ok(Writing::new(chunk, extent))
    }

    /// Gives back the place of a needle that is not written any further, so that it can be written anew.
    pub fn give_up(&self, writing: Writing) {
        self.used_bytes.fetch_sub(writing.give_up(), Ordering::Relaxed);
    }

    /// Ends the taking of needles; what is under way may still end well. What was written before is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::NoChunk`] or the disk's.
    pub fn close(&self, chunk: u64) -> Result<(), StoreError> {
        let chunk = self.chunk(chunk)?;
        chunk.close();
        chunk.sync(&*self.file(&chunk)?)
    }

    /// The stored blocks that hold these bytes of a needle, after their checksums were found right.
    ///
    /// `once` gives up, with none, where that would wait for the disk.
    ///
    /// # Errors
    /// [`StoreError::NoChunk`], [`StoreError::NoExtent`], [`StoreError::Damaged`] or the disk's.
    pub fn read_blocks(&self, extent: &Extent, range: &Range<u32>, once: bool) -> Result<Option<Vec<u8>>, StoreError> {
        if !extent.is_valid() || range.start > range.end || range.end > extent.bytes {
            return Err(StoreError::NoExtent);
        }
        let chunk = self.chunk(extent.chunk)?;
        let file = self.file(&chunk)?;
        let blocks = extent.blocks(range);
        let mut stored = vec![0; blocks.bytes as usize];
        let read = if once {
            match file.read_at_once(&mut stored, blocks.offset).map_err(|source| chunk.disk_error(source))? {
                Some(read) => read,
                None => return Ok(None),
            }
        } else {
            read_full(&*file, &mut stored, blocks.offset).map_err(|source| chunk.disk_error(source))?
        };
        stored.truncate(read);
        let whole = if read < blocks.bytes as usize {
            Err(crate::Damage::CutOff)
        } else {
            verify_blocks(extent.needle, blocks.first, &stored).map(drop)
        };
        whole.map_err(|source| StoreError::Damaged { chunk: extent.chunk, offset: extent.offset, source })?;
        Ok(Some(stored))
    }

    /// Bytes of a chunk's file as they are, damaged or not, and fewer where it ends before: for whoever checks them.
    ///
    /// # Errors
    /// [`StoreError::NoChunk`] or the disk's.
    pub fn read_unchecked(&self, chunk: u64, start: u64, bytes: u32) -> Result<Vec<u8>, StoreError> {
        let chunk = self.chunk(chunk)?;
        let file = self.file(&chunk)?;
        let mut stored = vec![0; bytes as usize];
        let read = read_full(&*file, &mut stored, start).map_err(|source| chunk.disk_error(source))?;
        stored.truncate(read);
        Ok(stored)
    }

    /// All needles of a chunk, after reading all of it.
    ///
    /// # Errors
    /// [`StoreError::NoChunk`], [`StoreError::DamagedHead`] or the disk's.
    pub fn scan(&self, chunk: u64) -> Result<Vec<Found>, StoreError> {
        let known = self.chunk(chunk)?;
        let bytes = read_all(&*self.file(&known)?).map_err(|source| known.disk_error(source))?;
        known.check_head(&bytes, self.options.cluster)?;
        Ok(find_needles(chunk, &bytes))
    }

    /// Removes a chunk.
    ///
    /// # Errors
    /// [`StoreError::NoChunk`] or the disk's.
    pub fn remove(&self, chunk: u64) -> Result<(), StoreError> {
        let known = self.chunk(chunk)?;
        known.close();
        let length = if self.options.capacity_bytes.is_some() { known.length(&*self.disk).unwrap_or_default() } else { 0 };
        self.write().remove(&chunk);
        self.disk.remove(known.path()).map_err(|source| known.disk_error(source))?;
        let less = |used: u64| Some(used.saturating_sub(length));
        let _ = self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        Ok(())
    }

    /// The chunk's file; not too many stay open.
    fn file(&self, chunk: &Chunk) -> Result<Arc<dyn DiskFile>, StoreError> {
        let (file, opened) = chunk.file(&*self.disk)?;
        if opened && self.opened.fetch_add(1, Ordering::Relaxed) >= OPEN_FILES_MAX {
            self.opened.store(0, Ordering::Relaxed);
            self.read().values().for_each(|chunk| chunk.close_file());
        }
        Ok(file)
    }

    fn chunk(&self, number: u64) -> Result<Arc<Chunk>, StoreError> {
        self.read().get(&number).cloned().ok_or(StoreError::NoChunk(number))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Arc<Chunk>>> {
        self.chunks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Arc<Chunk>>> {
        self.chunks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path of a chunk's file.
fn path_of(folder: &Path, chunk: u64) -> PathBuf {
    folder.join(file_name(chunk))
}
