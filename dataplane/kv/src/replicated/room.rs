//! The room that is left on a replica's disk, some of which is kept free so that things can still be deleted.

use std::path::PathBuf;
use std::sync::Arc;

use eddy_disk::{Disk, Space};

use crate::error::{KvError, Result};

/// The disk of a replica. Clones are of the same.
#[derive(Clone)]
pub(super) struct Room {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: PathBuf,
    pub(super) reserved_bytes: u64,
}

impl Room {
    /// What there is, where that is known.
    pub(super) fn space(&self) -> Option<Space> {
        self.disk.space(&self.folder).ok()
    }

    /// Whether more rows may be taken.
    pub(super) fn check(&self) -> Result<()> {
        let Self { reserved_bytes, .. } = *self;
        match self.space().filter(|space| space.available_bytes < reserved_bytes) {
            Some(Space { available_bytes, .. }) => Err(KvError::Full { available_bytes, reserved_bytes }),
            None => Ok(()),
        }
    }
}
