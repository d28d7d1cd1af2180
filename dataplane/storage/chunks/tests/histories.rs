//! What one disk's chunks hold, whatever the disk does: thousands of random histories on a simulated one.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use eddy_chunks::format::{HEAD_BYTES, STORED_BLOCK_BYTES, encode_blocks};
use eddy_chunks::{ChunkStore, Damage, Extent, FileId, StoreError, StoreOptions, SyncPoint, Writing};
use eddy_disk::{Disk, RealDisk, SimulatedDisk, Space};
use fastrand::Rng;

const SEEDS: u64 = 2000;
const CLUSTER: u64 = 7;
/// The number of each chunk's file, where it has but one.
const FILE: u64 = 11;

fn id(chunk: u64) -> FileId {
    FileId { chunk, file: FILE }
}

fn open(disk: &SimulatedDisk) -> ChunkStore {
    open_as(disk, CLUSTER).unwrap()
}

fn open_as(disk: &SimulatedDisk, cluster: u64) -> Result<ChunkStore, StoreError> {
    let options = StoreOptions { folder: "/chunks".into(), cluster, reserved_bytes: 1000, capacity_bytes: None };
    ChunkStore::open(Arc::new(disk.clone()), options)
}

/// What a needle's data is follows from its number.
fn data_of(extent: &Extent) -> Vec<u8> {
    let mut random = Rng::with_seed(extent.needle);
    (0..extent.bytes).map(|_| random.u8(..)).collect()
}

fn write(store: &ChunkStore, extent: &Extent) -> Result<SyncPoint, StoreError> {
    write_on(store.begin(FILE, *extent)?, extent)
}

fn write_on(mut writing: Writing, extent: &Extent) -> Result<SyncPoint, StoreError> {
    let mut stored = Vec::new();
    encode_blocks(extent.needle, 0, &data_of(extent), &mut stored);
    for piece in stored.chunks(2 * STORED_BLOCK_BYTES as usize) {
        writing.write(piece)?;
    }
    assert_eq!(writing.missing(), 0);
    writing.finish()
}

fn read(store: &ChunkStore, extent: &Extent) -> Result<Vec<u8>, StoreError> {
    let stored = store.read_blocks(FILE, extent, &(0..extent.bytes), false)?.unwrap();
    Ok(stored.chunks(STORED_BLOCK_BYTES as usize).flat_map(|block| block[4..].to_vec()).collect())
}

/// A store, and what it must hold.
struct History {
    random: Rng,
    disk: SimulatedDisk,
    store: ChunkStore,
    /// Chunks that take needles, and from where on.
    open: BTreeMap<u64, u32>,
    durable: Vec<Extent>,
    written: Vec<Extent>,
    removed: Vec<u64>,
}

impl History {
    fn begin(seed: u64) -> Self {
        let disk = SimulatedDisk::new();
        let store = open(&disk);
        let (durable, written) = Default::default();
        Self { random: Rng::with_seed(seed), disk, store, open: BTreeMap::new(), durable, written, removed: Vec::new() }
    }

    fn step(&mut self) {
        match self.random.u8(..20) {
            0..2 => self.create(),
            2..14 => self.write(),
            14..16 => self.crash(),
            16 => self.remove(),
            17 => self.fail_to_sync(),
            18 => self.fill_up(),
            _ => {
                if let Some(chunk) = self.any_open() {
                    self.store.close(id(chunk)).unwrap();
                    self.open.remove(&chunk);
                }
            }
        }
    }

    fn create(&mut self) {
        let chunk = self.random.u64(..);
        self.store.create(id(chunk)).unwrap();
        assert!(matches!(self.store.create(id(chunk)), Err(StoreError::Exists(_))));
        self.open.insert(chunk, HEAD_BYTES);
    }

    fn any_open(&mut self) -> Option<u64> {
        self.random.choice(self.open.keys().copied().collect::<Vec<_>>())
    }

    fn next(&mut self) -> Option<Extent> {
        let chunk = self.any_open()?;
        let most = if self.random.u8(..) < 200 { 500 } else { 200_000 };
        let extent = Extent {
            chunk,
            offset: self.open[&chunk] + 8 * self.random.u32(..3),
            needle: self.random.u64(..),
            bytes: self.random.u32(1..most),
        };
        self.open.insert(chunk, extent.end() as u32);
        Some(extent)
    }

    fn write(&mut self) {
        let Some(extent) = self.next() else { return };
        let point = write(&self.store, &extent).unwrap();
        self.written.push(extent);
        assert!(matches!(write(&self.store, &extent), Err(StoreError::Taken { .. })));
        if self.random.bool() {
            point.sync().unwrap();
            // One sync is for all of a chunk.
            let (durable, written) = self.written.drain(..).partition(|other| other.chunk == extent.chunk);
            self.durable.extend::<Vec<Extent>>(durable);
            self.written = written;
        }
    }

    fn crash(&mut self) {
        let (server, epoch) = (self.store.server(), self.store.epoch());
        self.disk.crash(&mut self.random);
        self.store = open(&self.disk);
        assert_eq!((self.store.server(), self.store.epoch()), (server, epoch + 1));
        for chunk in self.removed.drain(..) {
            // Its removal may have been lost. It is still nobody's.
            let _ = self.store.remove(id(chunk));
        }
        if let Some(chunk) = self.any_open() {
            let extent = Extent { chunk, offset: self.open[&chunk], needle: 1, bytes: 1 };
            assert!(matches!(self.store.begin(FILE, extent), Err(StoreError::Closed(_))));
        }
        self.open.clear();
        for extent in self.written.drain(..) {
            match read(&self.store, &extent) {
                Ok(data) => assert_eq!(data, data_of(&extent), "what is there is what was written"),
                Err(StoreError::Damaged { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn remove(&mut self) {
        let chunks = self.store.list();
        let Some(FileId { chunk, .. }) = self.random.choice(chunks) else { return };
        self.store.remove(id(chunk)).unwrap();
        assert!(matches!(self.store.remove(id(chunk)), Err(StoreError::NoFile(_))));
        self.open.remove(&chunk);
        self.durable.retain(|extent| extent.chunk != chunk);
        self.written.retain(|extent| extent.chunk != chunk);
        self.removed.push(chunk);
    }

    fn fail_to_sync(&mut self) {
        let (Some(first), Some(second)) = (self.next(), self.next()) else { return };
        let (first_point, second_point) = (write(&self.store, &first).unwrap(), write(&self.store, &second).unwrap());
        self.disk.fail_syncs(1);
        assert!(matches!(first_point.sync(), Err(StoreError::Disk { .. })));
        self.open.remove(&first.chunk);
        assert!(matches!(write(&self.store, &first), Err(StoreError::Closed(_))));
        if first_point.is_of_same_file(&second_point) {
            assert!(second_point.sync().is_err(), "a success would say nothing");
        }
        self.written.extend([first, second]);
    }

    fn fill_up(&mut self) {
        let Some(extent) = self.next() else { return };
        // It fills in the middle of a needle, and takes no other then.
        let writing = self.store.begin(FILE, extent).unwrap();
        self.disk.set_capacity(Some(0));
        assert!(matches!(write_on(writing, &extent), Err(StoreError::Disk { .. })));
        assert!(matches!(self.store.create(id(1)), Err(StoreError::Full { available: 0, needed: 1000 })));
        let Some(another) = self.next() else { return self.disk.set_capacity(None) };
        assert!(matches!(write(&self.store, &another), Err(StoreError::Full { available: 0, .. })));
        self.disk.set_capacity(None);
    }

    fn check(&self) {
        for extent in &self.durable {
            assert_eq!(read(&self.store, extent).unwrap(), data_of(extent), "{extent:?}");
        }
        for chunk in self.store.list() {
            let found = self.store.scan(chunk).unwrap();
            let mut expected = self.durable.iter().filter(|extent| extent.chunk == chunk.chunk);
            let lost = expected.find(|extent| !found.iter().any(|found| found.extent == **extent && found.damage.is_none()));
            assert_eq!(lost, None, "a scan finds all that is durable");
        }
    }
}

#[test]
fn whatever_happens_what_was_durable_is_there_and_nothing_else_is_taken_for_it() {
    for seed in 0..SEEDS {
        let mut history = History::begin(seed);
        for _ in 0..history.random.usize(1..40) {
            history.step();
        }
        history.check();
        history.crash();
        history.check();
    }
}

#[test]
fn a_bit_that_flips_is_never_read() {
    let mut damaged = 0;
    for seed in 0..SEEDS {
        let mut history = History::begin(seed);
        history.create();
        for _ in 0..3 {
            let extent = history.next().unwrap();
            write(&history.store, &extent).unwrap().sync().unwrap();
            history.durable.push(extent);
        }
        let extent = history.random.choice(&history.durable).copied().unwrap();
        let path = Path::new("/chunks").join(format!("{}.chunk", id(extent.chunk)));
        let bits = history.disk.open(&path).unwrap().len().unwrap() * 8;
        history.disk.flip_bit(&path, history.random.u64(0..bits)).unwrap();
        for extent in &history.durable {
            match read(&history.store, extent) {
                Ok(data) => assert_eq!(data, data_of(extent)),
                Err(StoreError::Damaged { source: Damage::Block(_), .. }) => damaged += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(damaged > SEEDS / 2, "{damaged}");
}

#[test]
fn a_copy_that_came_beside_another_is_not_touched_by_what_is_done_to_that() {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    let (before, after) = (id(1), FileId { chunk: 1, file: FILE + 1 });
    let extent = Extent { chunk: 1, offset: HEAD_BYTES, needle: 5, bytes: 1000 };
    store.create(before).unwrap();
    write(&store, &extent).unwrap().sync().unwrap();
    store.create(after).unwrap();
    assert_eq!(store.list(), [before, after]);
    let blocks = |store: &ChunkStore, id: FileId| store.read_blocks(id.file, &extent, &(0..1000), false);
    assert!(matches!(blocks(&store, after), Err(StoreError::Damaged { .. })), "what one has, the other does not");
    let mut writing = store.begin(after.file, extent).unwrap();
    writing.write(&blocks(&store, before).unwrap().unwrap()).unwrap();
    writing.finish().unwrap().sync().unwrap();
    store.remove(before).unwrap();
    assert!(matches!(store.remove(before), Err(StoreError::NoFile(_))), "said twice, or late");
    drop(store);
    let store = open(&disk);
    assert_eq!(store.list(), [after]);
    assert!(matches!(blocks(&store, before), Err(StoreError::NoFile(_))));
    assert!(blocks(&store, after).unwrap().is_some());
}

#[test]
fn a_disk_of_another_cluster_is_refused() {
    let disk = SimulatedDisk::new();
    drop(open(&disk));
    assert!(matches!(open_as(&disk, CLUSTER + 1), Err(StoreError::OtherCluster { is: CLUSTER, .. })));
    open(&disk);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let store = open(&SimulatedDisk::new());
    store.create(id(1)).unwrap();
    let extent = Extent { chunk: 1, offset: HEAD_BYTES, needle: 5, bytes: 200_000 };
    let mut stored = Vec::new();
    encode_blocks(5, 0, &data_of(&extent), &mut stored);
    let refused = |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::Damaged { .. })), "{result:?}");
    let mut writing = store.begin(FILE, extent).unwrap();
    refused(writing.write(&stored[1..]));
    refused(writing.write(&stored[..100]));
    refused(writing.write(&[&stored[..], &[0]].concat()));
    refused(store.begin(FILE, Extent { offset: 300_000 / 8 * 8, ..extent }).unwrap().write(&[]));
    writing.write(&stored[..STORED_BLOCK_BYTES as usize]).unwrap();
    refused(writing.finish().map(drop));
    let range = |range| store.read_blocks(FILE, &extent, &range, false);
    assert!(matches!(range(0..200_001), Err(StoreError::NoExtent)));
    assert!(matches!(store.begin(FILE, Extent { bytes: 0, ..extent }).map(drop), Err(StoreError::NoExtent)));
    assert!(matches!(range(100_000..100_001), Err(StoreError::Damaged { source: Damage::CutOff | Damage::Block(_), .. })));
    assert!(matches!(range(0..1), Ok(Some(_))), "one block was written");
}

#[test]
fn what_the_disk_does_not_give_is_damage_and_the_rest_of_the_file_is_read() {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    store.create(id(1)).unwrap();
    let first = Extent { chunk: 1, offset: HEAD_BYTES, needle: 1, bytes: 100_000 };
    let second = Extent { chunk: 1, offset: u32::try_from(first.end()).unwrap(), needle: 2, bytes: 50_000 };
    for extent in [first, second] {
        write(&store, &extent).unwrap().sync().unwrap();
    }
    let path = Path::new("/chunks").join(format!("{}.chunk", id(1)));
    disk.make_unreadable(&path, 20_000..20_512).unwrap();
    let found: Vec<_> = store.scan(id(1)).unwrap().into_iter().map(|found| (found.extent, found.damage.is_some())).collect();
    assert_eq!(found, [(first, true), (second, false)]);
    assert!(matches!(read(&store, &first), Err(StoreError::Damaged { source: Damage::Lost, .. })));
    assert_eq!(read(&store, &second).unwrap(), data_of(&second));
    assert_eq!(store.read_unchecked(id(1), 0, 30_000).unwrap().len(), 30_000, "whoever copies it checks it");
}

#[test]
fn what_a_failed_sync_lost_is_not_said_to_be_there() {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    store.create(id(1)).unwrap();
    let extent = Extent { chunk: 1, offset: HEAD_BYTES, needle: 1, bytes: 10_000 };
    let point = write(&store, &extent).unwrap();
    disk.fail_syncs(1);
    assert!(point.sync().is_err() && point.sync().is_err());
    assert!(read(&store, &extent).is_err());
    assert!(store.scan(id(1)).unwrap().iter().all(|found| found.damage.is_some()));
}

#[test]
fn chunks_take_no_more_than_their_capacity_also_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let (needle, capacity) = (300_000, 1_000_000);
    let folder = place.path().join("chunks");
    let options = StoreOptions { folder, cluster: CLUSTER, reserved_bytes: 500_000, capacity_bytes: Some(capacity) };
    let open = || ChunkStore::open(Arc::new(RealDisk), options.clone()).unwrap();
    let store = open();
    assert_eq!(store.space().unwrap(), Space { total_bytes: capacity, available_bytes: capacity });
    for chunk in 1..=2 {
        store.create(id(chunk)).unwrap();
        write(&store, &Extent { chunk, offset: HEAD_BYTES, needle: chunk, bytes: needle }).unwrap().sync().unwrap();
    }
    let left = store.space().unwrap().available_bytes;
    assert!((300_000..400_000).contains(&left), "{left}");
    assert!(matches!(store.create(id(3)), Err(StoreError::Full { .. })));
    // What was begun before grows into half of what is reserved, and no further.
    let at = store.scan(id(1)).unwrap()[0].extent.end();
    let next = |bytes: u32| Extent { chunk: 1, offset: u32::try_from(at).unwrap(), needle: 3, bytes };
    assert!(matches!(write(&store, &next(200_000)), Err(StoreError::Full { .. })));
    write(&store, &next(50_000)).unwrap().sync().unwrap();
    let left = store.space().unwrap().available_bytes;
    drop(store);
    let store = open();
    let after = store.space().unwrap().available_bytes;
    // Places are a little longer than what is in them.
    assert!((left..left + 100).contains(&after), "{after} of {left}");
    store.remove(id(1)).unwrap();
    store.create(id(3)).unwrap();
}

#[test]
fn a_real_disk_serves_as_well() {
    let place = tempfile::tempdir().unwrap();
    let options = StoreOptions { folder: place.path().join("chunks"), cluster: CLUSTER, reserved_bytes: 0, capacity_bytes: None };
    let store = ChunkStore::open(Arc::new(RealDisk), options.clone()).unwrap();
    store.create(id(3)).unwrap();
    let extent = Extent { chunk: 3, offset: HEAD_BYTES, needle: 5, bytes: 300_000 };
    write(&store, &extent).unwrap().sync().unwrap();
    assert!(store.space().unwrap().available_bytes > 0);
    drop(store);
    let store = ChunkStore::open(Arc::new(RealDisk), options).unwrap();
    assert_eq!(store.list(), [id(3)]);
    assert_eq!(read(&store, &extent).unwrap(), data_of(&extent));
    // It has just been written: it is in memory.
    assert!(store.read_blocks(FILE, &extent, &(100..200), true).unwrap().is_some());
    assert_eq!(store.scan(id(3)).unwrap().len(), 1);
    store.remove(id(3)).unwrap();
    assert_eq!(store.list(), []);
}
