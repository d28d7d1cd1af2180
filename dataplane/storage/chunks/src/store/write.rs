//! A needle that is being written, piece by piece.

use std::sync::Arc;

use eddy_disk::DiskFile;

use super::StoreError;
use super::chunk_file::ChunkFile;
use crate::format::{Damage, Extent, NEEDLE_HEAD_BYTES, NeedleHead, STORED_BLOCK_BYTES, verify_blocks};

/// A needle that is being written. It has its place, whether it is finished or not.
pub struct Writing {
    to: Arc<ChunkFile>,
    extent: Extent,
    /// Stored bytes that were written, without the head.
    written: u32,
}

/// A needle that was written whole and is not durable yet.
#[derive(Clone)]
pub struct SyncPoint {
    of: Arc<ChunkFile>,
    file: Arc<dyn DiskFile>,
}

impl Writing {
    pub(super) fn new(to: Arc<ChunkFile>, extent: Extent) -> Self {
        Self { to, extent, written: 0 }
    }

    /// Stored bytes that are still to come.
    pub fn missing(&self) -> u32 {
        self.extent.blocks(&(0..self.extent.bytes)).bytes - self.written
    }

    /// Writes the next blocks as they are stored: whole ones, but for the last of the needle.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where a checksum is wrong or a block is cut off, or the disk's.
    pub fn write(&mut self, stored: &[u8]) -> Result<(), StoreError> {
        let missing = self.missing() as usize;
        let whole_blocks = !stored.is_empty() && stored.len().is_multiple_of(STORED_BLOCK_BYTES as usize);
        let whole = stored.len() == missing || stored.len() < missing && whole_blocks;
        let first = self.written / STORED_BLOCK_BYTES;
        let checked = if whole { verify_blocks(self.extent.needle, first, stored).map(drop) } else { Err(Damage::CutOff) };
        checked.map_err(|source| self.damaged(source))?;
        let file = self.to.open_file()?;
        let at = |source| self.to.disk_error(source);
        if self.written == 0 {
            let with_head = [&NeedleHead::of(&self.extent).0[..], stored].concat();
            file.write_at(&with_head, u64::from(self.extent.offset)).map_err(at)?;
        } else {
            let offset = self.extent.offset + NEEDLE_HEAD_BYTES + self.written;
            file.write_at(stored, u64::from(offset)).map_err(at)?;
        }
        self.written += stored.len() as u32;
        Ok(())
    }

    /// Gives its place back; returns how many bytes of it were not written.
    pub(super) fn give_up(self) -> u64 {
        self.to.release(&self.extent);
        u64::from(self.missing())
    }

    /// What makes the needle durable.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where blocks are missing.
    pub fn finish(self) -> Result<SyncPoint, StoreError> {
        if self.missing() > 0 {
            return Err(self.damaged(Damage::CutOff));
        }
        let file = self.to.open_file()?;
        Ok(SyncPoint { of: self.to, file })
    }

    fn damaged(&self, source: Damage) -> StoreError {
        StoreError::Damaged { chunk: self.extent.chunk, offset: self.extent.offset, source }
    }
}

impl SyncPoint {
    /// Waits for the disk, for all needles of the file that were written before.
    ///
    /// # Errors
    /// The disk's: what is durable is unknown then, and the file takes no more needles.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.of.sync(&*self.file)
    }

    /// Frees the memory that holds what was synced: it is not read soon, and other bytes are.
    pub fn forget_cached(&self) {
        self.file.forget_cached();
    }

    /// Whether both are of one file: one sync is enough for both.
    pub fn is_of_same_file(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.of, &other.of)
    }
}
