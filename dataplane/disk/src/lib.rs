//! Files as storage uses them, behind a trait narrow enough to simulate all that a disk may do.
//!
//! [`RealDisk`] is the kernel's. [`SimulatedDisk`] keeps files in memory and can crash: then of all that was not synced
//! any part may be there, in pieces of a sector. What holds on it for thousands of seeds may be trusted with a real one.
//! [`CountedDisk`] tells tests how often others are made to wait.

mod checked;
mod counted;
mod real;
mod run;
mod simulated;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use self::checked::{read_checked, replace_checked};
pub use self::counted::CountedDisk;
pub use self::real::RealDisk;
pub use self::run::run;
pub use self::simulated::{SECTOR_BYTES, SimulatedDisk};

/// Folders and the names in them.
pub trait Disk: Send + Sync {
    /// Makes a folder if it is not there. Those above it must be.
    ///
    /// # Errors
    /// The kernel's.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes an empty file. Its name is durable after [`sync_folder`](Self::sync_folder).
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or the kernel's.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or the kernel's.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of a folder's files, sorted.
    ///
    /// # Errors
    /// The kernel's.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or the kernel's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name in the same folder, in place of a file that has it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or the kernel's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes durable which names the folder has.
    ///
    /// # Errors
    /// The kernel's. What is durable is unknown then.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// How much room the disk has that holds the folder.
    ///
    /// # Errors
    /// The kernel's.
    fn space(&self, folder: &Path) -> io::Result<Space>;

    /// Whether nobody ever waits for it, and all that happens is to happen in one order: see [`run`].
    fn is_simulated(&self) -> bool {
        false
    }
}

/// The room of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total_bytes: u64,
    /// What may still be written.
    pub available_bytes: u64,
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Reads up to as many bytes as fit; 0 at the end.
    ///
    /// # Errors
    /// The kernel's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// As [`read_at`](Self::read_at) where that need not wait for the disk; none where it must.
    ///
    /// # Errors
    /// The kernel's.
    fn read_at_once(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.read_at(buffer, offset).map(Some)
    }

    /// Writes all bytes. They are durable after [`sync`](Self::sync).
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], or the kernel's. Some of the bytes may be there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Frees the memory that holds what is on the disk, where there is such.
    fn forget_cached(&self) {}

    /// Cuts off, or fills up with zeroes.
    ///
    /// # Errors
    /// The kernel's.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Bytes of the file.
    ///
    /// # Errors
    /// The kernel's.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has none.
    ///
    /// # Errors
    /// The kernel's.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes durable what was written, and the length.
    ///
    /// # Errors
    /// The kernel's. What is durable is unknown then, and a later success says nothing of what was written before.
    fn sync(&self) -> io::Result<()>;
}

/// All bytes of a file.
///
/// # Errors
/// The kernel's.
pub fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    let read = read_full(file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Whether the medium does not give what it holds there.
pub fn is_lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Reads until the buffer is full or the file ends; returns how many bytes.
///
/// # Errors
/// The kernel's.
pub fn read_full(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// What a disk reads or loses at once.
const PAGE_BYTES: u64 = 4096;
/// After so many pages that are lost nothing more of a file is asked for: a disk may try each for long.
const LOST_PAGES_MAX: usize = 256;

/// As [`read_full`], with zeroes where the medium gives nothing: for whoever checks what came.
///
/// # Errors
/// The kernel's, other than that.
pub fn read_salvaging(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    match read_full(file, buffer, offset) {
        Err(error) if is_lost(&error) => {}
        read => return read,
    }
    let there = usize::try_from(file.len()?.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
    let (mut filled, mut lost) = (0, 0);
    while filled < there {
        if lost == LOST_PAGES_MAX {
            buffer[filled..there].fill(0);
            return Ok(there);
        }
        let at = offset + filled as u64;
        let end = usize::try_from(at / PAGE_BYTES * PAGE_BYTES + PAGE_BYTES - offset).unwrap_or(there).min(there);
        filled += match read_full(file, &mut buffer[filled..end], at) {
            Err(error) if is_lost(&error) => {
                buffer[filled..end].fill(0);
                lost += 1;
                end - filled
            }
            Ok(0) => break,
            read => read?,
        };
    }
    Ok(filled)
}

/// Replaces a file's contents at once and durably: after a crash, it has the old or the new ones.
///
/// # Errors
/// The kernel's. The old contents are there then, or after a failure to sync the folder the new ones.
pub fn replace(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let next = path.with_added_extension("next");
    match disk.remove(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&next)?;
    file.write_at(contents, 0)?;
    file.sync()?;
    disk.rename(&next, path)?;
    disk.sync_folder(folder)
}
