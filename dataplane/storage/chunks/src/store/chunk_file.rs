//! One file of a chunk, and which places of it are taken.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eddy_disk::{Disk, DiskFile};

use super::StoreError;
use crate::format::{Extent, FileId, decode_head, encode_head};

pub(super) struct ChunkFile {
    id: FileId,
    path: PathBuf,
    state: Mutex<State>,
    /// Held while the disk is waited for; whether it ever failed to.
    sync_failed: Mutex<bool>,
}

struct State {
    /// While it takes needles, and after it was first read.
    file: Option<Arc<dyn DiskFile>>,
    /// Ends of the places that are taken, by their beginnings; none when it takes no more.
    taken: Option<BTreeMap<u32, u64>>,
}

fn name_of(id: FileId) -> String {
    format!("{id}.chunk")
}

/// The file that has this name.
pub(super) fn id_of(name: &str) -> Option<FileId> {
    let (chunk, file) = name.strip_suffix(".chunk")?.split_once('-')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    let id = FileId { chunk: number(chunk)?, file: number(file)? };
    (name_of(id) == name).then_some(id)
}

impl ChunkFile {
    /// One that was there when the disk's chunks were opened: it takes no needles.
    pub(super) fn found(id: FileId, folder: &Path) -> Self {
        Self {
            id,
            path: folder.join(name_of(id)),
            state: Mutex::new(State { file: None, taken: None }),
            sync_failed: Mutex::new(false),
        }
    }

    pub(super) fn create(disk: &dyn Disk, folder: &Path, cluster: u64, id: FileId) -> Result<Self, StoreError> {
        let path = folder.join(name_of(id));
        let at = |source| StoreError::disk(&path, source);
        let file = disk.create(&path).map_err(at)?;
        let written = file.write_at(&encode_head(cluster, id.chunk), 0).and_then(|()| file.sync());
        if let Err(source) = written.and_then(|()| disk.sync_folder(folder)) {
            // Otherwise it would be in the way of another try.
            let _ = disk.remove(&path);
            return Err(at(source));
        }
        let state = State { file: Some(file), taken: Some(BTreeMap::new()) };
        Ok(Self { id, path, state: Mutex::new(state), sync_failed: Mutex::new(false) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn disk_error(&self, source: io::Error) -> StoreError {
        StoreError::disk(&self.path, source)
    }

    /// The file, and whether it had to be opened.
    pub(super) fn file(&self, disk: &dyn Disk) -> Result<(Arc<dyn DiskFile>, bool), StoreError> {
        let mut state = self.lock();
        if let Some(file) = &state.file {
            return Ok((file.clone(), false));
        }
        let file = disk.open(&self.path).map_err(|source| self.disk_error(source))?;
        state.file = Some(file.clone());
        Ok((file, true))
    }

    /// Closes the file when nobody reads it any more, unless needles are taken.
    pub(super) fn close_file(&self) {
        let mut state = self.lock();
        if state.taken.is_none() && state.file.as_ref().is_some_and(|file| Arc::strong_count(file) == 1) {
            state.file = None;
        }
    }

    pub(super) fn length(&self, disk: &dyn Disk) -> Result<u64, StoreError> {
        let open = self.lock().file.clone();
        let file = open.map_or_else(|| disk.open(&self.path), Ok);
        file.and_then(|file| file.len()).map_err(|source| self.disk_error(source))
    }

    /// The file, while it takes needles.
    pub(super) fn open_file(&self) -> Result<Arc<dyn DiskFile>, StoreError> {
        self.lock().file.clone().ok_or(StoreError::Closed(self.id))
    }

    pub(super) fn take(&self, extent: &Extent) -> Result<(), StoreError> {
        let mut state = self.lock();
        let taken = state.taken.as_mut().ok_or(StoreError::Closed(self.id))?;
        let before = taken.range(..u32::try_from(extent.end()).unwrap_or(u32::MAX)).next_back();
        if before.is_some_and(|(_, end)| *end > u64::from(extent.offset)) {
            return Err(StoreError::Taken { chunk: self.id.chunk, offset: extent.offset });
        }
        taken.insert(extent.offset, extent.end());
        Ok(())
    }

    /// Gives a place that was taken back: nothing whole is there.
    pub(super) fn release(&self, extent: &Extent) {
        if let Some(taken) = self.lock().taken.as_mut() {
            taken.remove(&extent.offset);
        }
    }

    pub(super) fn close(&self) {
        self.lock().taken = None;
    }

    /// Makes durable all that was written before. After a failure it fails for ever: the kernel may have dropped what it
    /// could not write, and says so once.
    pub(super) fn sync(&self, file: &dyn DiskFile) -> Result<(), StoreError> {
        let mut failed = self.sync_failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(self.disk_error(io::Error::other("it failed to write before")));
        }
        file.sync().map_err(|source| {
            *failed = true;
            self.close();
            // Whoever reads now sees what the disk has.
            file.forget_cached();
            self.disk_error(source)
        })
    }

    pub(super) fn check_head(&self, bytes: &[u8], cluster: u64) -> Result<(), StoreError> {
        match decode_head(bytes) {
            Some(found) if found == (cluster, self.id.chunk) => Ok(()),
            _ => Err(StoreError::DamagedHead(self.path.clone())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_files_are_files() {
        let id = FileId { chunk: 0x1f, file: 7 };
        assert_eq!(name_of(id), "000000000000001f-0000000000000007.chunk");
        assert_eq!(id_of(&name_of(id)), Some(id));
        for name in ["1f-7.chunk", "000000000000001F-0000000000000007.chunk", "server", "000000000000001f.chunk"] {
            assert_eq!(id_of(name), None, "{name}");
            assert_eq!(id_of(&format!("{}.next", name_of(id))), None);
        }
    }
}
