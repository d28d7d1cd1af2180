//! A disk in memory that does all that a real one may.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;

use crate::{Disk, DiskFile, Space};

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Names as processes see them.
    names: BTreeMap<PathBuf, usize>,
    /// Names as they are after a crash.
    durable_names: BTreeMap<PathBuf, usize>,
    /// What changed since, in order.
    pending_names: Vec<NameChange>,
    files: Vec<Contents>,
    capacity_bytes: Option<u64>,
    failing_syncs: u32,
    /// Grows with each crash: files opened before are gone with their process.
    boots: u32,
}

#[derive(Clone)]
enum NameChange {
    Set(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Default)]
struct Contents {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// What the medium has lost.
    unreadable: Option<Range<u64>>,
}

enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

struct File {
    disk: SimulatedDisk,
    number: usize,
    boot: u32,
}

impl SimulatedDisk {
    /// An empty disk without limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all processes, and the power: of what was not synced any part is lost, each sector by itself. Names change
    /// in the order they did, up to any moment.
    pub fn crash(&self, random: &mut Rng) {
        let mut state = self.state();
        state.boots += 1;
        let kept = random.usize(0..=state.pending_names.len());
        let pending: Vec<NameChange> = state.pending_names.drain(..).take(kept).collect();
        for change in pending {
            change.apply(&mut state.durable_names);
        }
        state.names = state.durable_names.clone();
        for file in &mut state.files {
            file.crash(random);
        }
    }

    /// Ends all processes, and nothing else: what they wrote is in the kernel's hands.
    pub fn end_processes(&self) {
        self.state().boots += 1;
    }

    /// Ends all processes; an empty disk is in the place of this one.
    pub fn replace(&self) {
        let mut state = self.state();
        let (boots, capacity_bytes) = (state.boots + 1, state.capacity_bytes);
        *state = State { boots, capacity_bytes, ..State::default() };
    }

    /// Changes one bit, as a bad disk does, without anyone's knowledge.
    ///
    /// # Errors
    /// Where there is no such file or byte.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        let mut state = self.state();
        let number = state.number(path)?;
        let file = &mut state.files[number];
        let at = usize::try_from(bit / 8).map_err(io::Error::other)?;
        let byte = file.bytes.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)?;
        *byte ^= 1 << (bit % 8);
        if let Some(byte) = file.durable.get_mut(at) {
            *byte ^= 1 << (bit % 8);
        }
        Ok(())
    }

    /// From now on these bytes of a file cannot be read, as where the medium is bad, until somebody writes there.
    ///
    /// # Errors
    /// Where there is no such file.
    pub fn make_unreadable(&self, path: &Path, bytes: Range<u64>) -> io::Result<()> {
        let mut state = self.state();
        let number = state.number(path)?;
        state.files[number].unreadable = Some(bytes);
        Ok(())
    }

    /// From now on there is no room beyond this many bytes; none for a disk without limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// The next syncs fail, so many of them: of what they should have made durable every other sector is, and the rest is lost. As the
    /// kernel does, it looks as if it were there until memory forgets it, and no later sync writes it.
    pub fn fail_syncs(&self, count: u32) {
        self.state().failing_syncs = count;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, number: usize, boot: u32) -> Arc<dyn DiskFile> {
        Arc::new(File { disk: self.clone(), number, boot })
    }
}

impl State {
    fn number(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change_names(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().map(|number| self.files[*number].bytes.len() as u64).sum()
    }

    fn sync_fails(&mut self) -> bool {
        let fails = self.failing_syncs > 0;
        self.failing_syncs = self.failing_syncs.saturating_sub(1);
        fails
    }
}

impl NameChange {
    /// Whose sync makes it durable.
    fn folder(&self) -> Option<&Path> {
        let (Self::Set(path, _) | Self::Remove(path) | Self::Rename(_, path)) = self;
        path.parent()
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Set(path, number) => drop(names.insert(path, number)),
            Self::Remove(path) => drop(names.remove(&path)),
            Self::Rename(from, to) => {
                if let Some(number) = names.remove(&from) {
                    names.insert(to, number);
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Length(bytes) => contents.resize(*bytes as usize, 0),
            Self::Write(offset, bytes) => write(contents, *offset, bytes),
        }
    }
}

impl Contents {
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
    }

    fn fail_to_sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Length(_) => change.apply(&mut self.durable),
                Change::Write(offset, bytes) => {
                    for (at, sector) in sectors(offset, &bytes).step_by(2) {
                        write(&mut self.durable, at, sector);
                    }
                }
            }
        }
    }

    fn forget_cached(&mut self) {
        self.bytes.clone_from(&self.durable);
        for change in &self.pending {
            change.apply(&mut self.bytes);
        }
    }

    fn crash(&mut self, random: &mut Rng) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Length(bytes) if random.bool() => self.durable.resize(bytes as usize, 0),
                Change::Length(_) => {}
                Change::Write(offset, bytes) => {
                    for (at, sector) in sectors(offset, &bytes) {
                        if random.bool() {
                            write(&mut self.durable, at, sector);
                        }
                    }
                }
            }
        }
        self.bytes = self.durable.clone();
    }
}

/// The parts of a write that fall into one sector each.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let first = (SECTOR_BYTES - offset as usize % SECTOR_BYTES).min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let rest = rest.chunks(SECTOR_BYTES).scan(offset + first as u64, |at, sector| {
        let here = *at;
        *at += sector.len() as u64;
        Some((here, sector))
    });
    std::iter::once((offset, head)).chain(rest).filter(|(_, sector)| !sector.is_empty())
}

fn write(contents: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[start..end].copy_from_slice(bytes);
}

impl Disk for SimulatedDisk {
    fn is_simulated(&self) -> bool {
        true
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = state.files.len();
        state.files.push(Contents::default());
        state.change_names(NameChange::Set(path.to_owned(), number));
        Ok(self.file(number, state.boots))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        Ok(self.file(state.number(path)?, state.boots))
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let within = |path: &PathBuf| path.parent() == Some(folder);
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(self.state().names.keys().filter(|path| within(path)).filter_map(name).collect())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.number(path)?;
        state.change_names(NameChange::Remove(path.to_owned()));
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.number(from)?;
        state.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.sync_fails() {
            return Err(io::Error::other("the disk failed"));
        }
        let pending = std::mem::take(&mut state.pending_names);
        let (synced, others): (Vec<_>, _) = pending.into_iter().partition(|change| change.folder() == Some(folder));
        state.pending_names = others;
        for change in synced {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }
    fn space(&self, _: &Path) -> io::Result<Space> {
        let state = self.state();
        let total_bytes = state.capacity_bytes.unwrap_or(u64::MAX);
        Ok(Space { total_bytes, available_bytes: total_bytes.saturating_sub(state.used_bytes()) })
    }
}

impl File {
    fn with<T>(&self, act: impl FnOnce(&mut State, usize) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.boots != self.boot {
            return Err(io::Error::other("the process that opened this file has ended"));
        }
        act(&mut state, self.number)
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|state, number| {
            let file = &state.files[number];
            let end = offset + buffer.len() as u64;
            if file.unreadable.as_ref().is_some_and(|bad| bad.start < end && offset < bad.end) {
                return Err(rustix::io::Errno::IO.into());
            }
            let bytes = file.bytes.get(offset as usize..).unwrap_or_default();
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            Ok(count)
        })
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|state, number| {
            let grows = (offset + bytes.len() as u64).saturating_sub(state.files[number].bytes.len() as u64);
            if state.capacity_bytes.is_some_and(|capacity| state.used_bytes() + grows > capacity) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let file = &mut state.files[number];
            let end = offset + bytes.len() as u64;
            file.unreadable = file.unreadable.take().filter(|bad| bad.end <= offset || end <= bad.start);
            write(&mut file.bytes, offset, bytes);
            file.pending.push(Change::Write(offset, bytes.to_vec()));
            Ok(())
        })
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.with(|state, number| {
            let file = &mut state.files[number];
            file.bytes.resize(bytes as usize, 0);
            file.pending.push(Change::Length(bytes));
            Ok(())
        })
    }
    fn len(&self) -> io::Result<u64> {
        self.with(|state, number| Ok(state.files[number].bytes.len() as u64))
    }
    fn sync(&self) -> io::Result<()> {
        self.with(|state, number| {
            if state.sync_fails() {
                state.files[number].fail_to_sync();
                return Err(io::Error::other("the disk failed"));
            }
            state.files[number].sync();
            Ok(())
        })
    }
    fn forget_cached(&self) {
        // Nothing is to be forgotten for a process that has ended.
        let _ = self.with(|state, number| {
            state.files[number].forget_cached();
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RealDisk, read_all, replace};

    /// What both disks must do, in a folder.
    fn does_what_files_do(disk: &dyn Disk, folder: &Path) {
        let path = folder.join("a");
        assert_eq!(disk.open(&path).err().unwrap().kind(), io::ErrorKind::NotFound);
        let file = disk.create(&path).unwrap();
        assert_eq!(disk.create(&path).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        file.write_at(b"hello", 2).unwrap();
        assert_eq!(read_all(&*file).unwrap(), b"\0\0hello");
        file.write_at(b"HE", 2).unwrap();
        file.set_len(4).unwrap();
        assert_eq!(read_all(&*disk.open(&path).unwrap()).unwrap(), b"\0\0HE");
        assert_eq!(file.read_at(&mut [0; 4], 9).unwrap(), 0);
        file.sync().unwrap();
        disk.rename(&path, &folder.join("b")).unwrap();
        disk.sync_folder(folder).unwrap();
        assert_eq!(disk.list(folder).unwrap(), ["b"]);
        for contents in [&b"first"[..], b"2nd"] {
            replace(disk, &folder.join("c"), contents).unwrap();
            assert_eq!(read_all(&*disk.open(&folder.join("c")).unwrap()).unwrap(), contents);
        }
        disk.remove(&folder.join("b")).unwrap();
        assert_eq!(disk.remove(&folder.join("b")).err().unwrap().kind(), io::ErrorKind::NotFound);
        assert_eq!(disk.list(folder).unwrap(), ["c"]);
    }

    #[test]
    fn both_disks_do_what_files_do() {
        let folder = tempfile::tempdir().unwrap();
        does_what_files_do(&RealDisk, folder.path());
        does_what_files_do(&SimulatedDisk::new(), Path::new("folder"));
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_any_sectors_of_the_rest() {
        let (mut kept_some, mut lost_some, mut lost_name) = (false, false, false);
        for seed in 0..100 {
            let disk = SimulatedDisk::new();
            let file = disk.create(Path::new("f/a")).unwrap();
            file.write_at(&[1; 1000], 0).unwrap();
            file.sync().unwrap();
            disk.sync_folder(Path::new("f")).unwrap();
            file.write_at(&[2; 2000], 1000).unwrap();
            disk.create(Path::new("f/b")).unwrap();
            disk.crash(&mut Rng::with_seed(seed));
            assert!(file.len().is_err(), "the process is gone");
            let bytes = read_all(&*disk.open(Path::new("f/a")).unwrap()).unwrap();
            assert_eq!(&bytes[..1000], [1; 1000]);
            kept_some |= bytes.contains(&2);
            lost_some |= bytes.len() < 3000 || bytes.contains(&0);
            lost_name |= disk.open(Path::new("f/b")).is_err();
        }
        assert!(kept_some && lost_some && lost_name);
    }

    #[test]
    fn a_name_is_durable_when_its_own_folder_is_synced() {
        let lost = |synced: &str| {
            let is_lost = |seed| {
                let disk = SimulatedDisk::new();
                disk.create(Path::new("f/a")).unwrap();
                disk.sync_folder(Path::new(synced)).unwrap();
                disk.crash(&mut Rng::with_seed(seed));
                disk.open(Path::new("f/a")).is_err()
            };
            (0..100).any(is_lost)
        };
        assert!(lost("f/g") && lost("g") && !lost("f"));
    }

    #[test]
    fn replaced_contents_are_the_old_or_the_new_ones() {
        for seed in 0..200 {
            let disk = SimulatedDisk::new();
            let path = Path::new("f/state");
            replace(&disk, path, b"old").unwrap();
            let mut random = Rng::with_seed(seed);
            disk.fail_syncs(random.u32(0..2));
            let replaced = replace(&disk, path, &[7; 3000]).is_ok();
            disk.crash(&mut random);
            let bytes = read_all(&*disk.open(path).unwrap()).unwrap();
            assert!(bytes == [7; 3000] || (!replaced && bytes == b"old"), "seed {seed}");
        }
    }

    #[test]
    fn what_a_failed_sync_lost_looks_as_if_it_were_there_until_memory_forgets_it() {
        let disk = SimulatedDisk::new();
        let file = disk.create(Path::new("f/a")).unwrap();
        disk.fail_syncs(1);
        file.write_at(&[1; 2 * SECTOR_BYTES], 0).unwrap();
        assert!(file.sync().is_err());
        file.write_at(&[2; 10], 2 * SECTOR_BYTES as u64).unwrap();
        file.sync().unwrap();
        disk.end_processes();
        let file = disk.open(Path::new("f/a")).unwrap();
        let [first, last] = [[1; SECTOR_BYTES], [0; SECTOR_BYTES]];
        assert_eq!(read_all(&*file).unwrap(), [&first[..], &first, &[2; 10]].concat());
        file.forget_cached();
        assert_eq!(read_all(&*file).unwrap(), [&first[..], &last, &[2; 10]].concat());
    }

    #[test]
    fn what_the_medium_has_lost_cannot_be_read_and_the_rest_can() {
        let disk = SimulatedDisk::new();
        let file = disk.create(Path::new("f/a")).unwrap();
        file.write_at(&[1; 10_000], 0).unwrap();
        disk.make_unreadable(Path::new("f/a"), 5000..5001).unwrap();
        let mut read = [9; 12_000];
        assert!(crate::read_full(&*file, &mut read, 0).is_err());
        assert_eq!(crate::read_salvaging(&*file, &mut read, 0).unwrap(), 10_000);
        assert_eq!(read[..10_000], [&[1; 4096][..], &[0; 4096], &[1; 10_000 - 8192]].concat());
        let mut read = [9; 100];
        assert_eq!(crate::read_salvaging(&*file, &mut read, 4950).unwrap(), 100);
        assert_eq!(read, [0; 100]);
        file.write_at(&[2; 1], 5000).unwrap();
        assert_eq!(crate::read_full(&*file, &mut read, 4950).unwrap(), 100);
    }

    #[test]
    fn a_full_disk_says_so() {
        let disk = SimulatedDisk::new();
        disk.set_capacity(Some(1000));
        let file = disk.create(Path::new("f/a")).unwrap();
        file.write_at(&[1; 1000], 0).unwrap();
        assert_eq!(file.write_at(&[1], 1000).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.write_at(&[2; 10], 0).unwrap();
    }
}
