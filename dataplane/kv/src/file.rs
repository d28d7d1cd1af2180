//! redb's files, on any disk.

use std::fmt::{Debug, Formatter};
use std::io;
use std::path::Path;
use std::sync::Arc;

use eddy_disk::{Disk, DiskFile, read_full};
use redb::{Database, StorageBackend};

/// Opens the file, or makes it if it is not there; then its name is durable, too.
pub(crate) fn open(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<Database, redb::Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    let database = if disk.is_simulated() {
        let file = match disk.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path),
            opened => opened,
        };
        builder.create_with_backend(File(file.map_err(redb::Error::Io)?))?
    } else {
        // redb's own locks the file, so that no other process opens it.
        builder.create(path)?
    };
    if let Some(folder) = path.parent() {
        disk.sync_folder(folder).map_err(redb::Error::Io)?;
    }
    Ok(database)
}

struct File(Arc<dyn DiskFile>);

impl Debug for File {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("File")
    }
}

impl StorageBackend for File {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        if read_full(&*self.0, out, offset)? < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write_at(data, offset)
    }
}
