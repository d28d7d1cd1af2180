//! Which replica this is, and of which group: a file that is made with the replica and lost with it.

use std::io;
use std::path::{Path, PathBuf};

use eddy_disk::Disk;
use serde::{Deserialize, Serialize};

use crate::saved;

/// Who a replica is. One that lost its disk comes back as another: it has forgotten what it promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) id: u64,
    /// The group that it belongs to; none at first.
    pub(crate) group: Option<u64>,
    /// It is founding that group: the log does not say so yet.
    pub(crate) founding: bool,
}

/// The file.
pub(crate) struct IdentityFile(PathBuf);

impl IdentityFile {
    pub(crate) fn of(folder: &Path) -> Self {
        Self(folder.join("identity"))
    }

    /// Who this replica is; someone new where there is no file.
    ///
    /// # Errors
    /// The disk's, or that the file is damaged.
    pub(crate) fn load(&self, disk: &dyn Disk) -> io::Result<Identity> {
        if let Some(identity) = saved::load(disk, &self.0)? {
            return Ok(identity);
        }
        let identity = Identity { id: fastrand::u64(1..), group: None, founding: false };
        self.save(disk, identity)?;
        Ok(identity)
    }

    /// # Errors
    /// The disk's.
    pub(crate) fn save(&self, disk: &dyn Disk, identity: Identity) -> io::Result<()> {
        saved::save(disk, &self.0, &identity)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}
