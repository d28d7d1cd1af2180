//! Whose disk this is: a file beside the chunks.

use std::io;
use std::path::Path;

use eddy_disk::{Disk, read_checked, replace_checked};

use super::StoreError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) server: u64,
    pub(super) cluster: u64,
    /// How often the chunks were opened.
    pub(super) epoch: u64,
}

impl Identity {
    /// The identity for the next run; someone new where there is none.
    pub(super) fn next(disk: &dyn Disk, folder: &Path, cluster: u64) -> Result<Self, StoreError> {
        let path = folder.join("server");
        let at = |source| StoreError::disk(&path, source);
        let identity = match read_checked(disk, &path).map_err(at)? {
            None => Self { server: fastrand::u64(1..), cluster, epoch: 1 },
            Some(contents) => {
                let damaged = || at(io::Error::new(io::ErrorKind::InvalidData, "it is no identity of a chunkserver"));
                let found = Self::decode(&contents).ok_or_else(damaged)?;
                if found.cluster != cluster {
                    return Err(StoreError::OtherCluster { path: folder.to_owned(), is: found.cluster, wanted: cluster });
                }
                Self { epoch: found.epoch + 1, ..found }
            }
        };
        replace_checked(disk, &path, &identity.encode()).map_err(at)?;
        Ok(identity)
    }

    fn encode(&self) -> Vec<u8> {
        [self.server, self.cluster, self.epoch].map(u64::to_le_bytes).concat()
    }

    fn decode(contents: &[u8]) -> Option<Self> {
        let (numbers, rest) = contents.as_chunks::<8>();
        let [server, cluster, epoch] = *numbers else { return None };
        let number = u64::from_le_bytes;
        rest.is_empty().then(|| Self { server: number(server), cluster: number(cluster), epoch: number(epoch) })
    }
}
