//! The journal on a simulated disk that crashes, fails, fills up and rots: thousands of histories.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use eddy_disk::{Disk, RealDisk, SimulatedDisk};
use eddy_kv::journal::{Journal, JournalError};
use fastrand::Rng;

const SEEDS: u64 = 3000;
const SEGMENT_BYTES: u64 = 2000;

fn folder() -> &'static Path {
    Path::new("journal")
}

fn open(disk: &SimulatedDisk) -> Result<Journal, JournalError> {
    Journal::open(Arc::new(disk.clone()), folder(), SEGMENT_BYTES)
}

fn payload(random: &mut Rng) -> Bytes {
    vec![random.u8(..); random.usize(0..600)].into()
}

/// A journal, and what it should hold.
struct History {
    disk: SimulatedDisk,
    journal: Journal,
    random: Rng,
    /// By index from 1 on.
    written: Vec<Bytes>,
    /// How many of them are durable.
    durable: usize,
    purged: u64,
}

impl History {
    fn begin(seed: u64) -> Self {
        let disk = SimulatedDisk::new();
        let journal = open(&disk).unwrap();
        Self { disk, journal, random: Rng::with_seed(seed), written: Vec::new(), durable: 0, purged: 0 }
    }

    fn step(&mut self) {
        match self.random.u8(0..20) {
            0..10 => self.append(),
            10..13 => {
                self.journal.sync().unwrap();
                self.durable = self.written.len();
            }
            13 if self.random.u8(0..10) == 0 => self.restart(),
            14 => {
                let from = self.random.usize(self.journal.first() as usize..=self.written.len() + 1);
                self.journal.truncate(from as u64).unwrap();
                self.written.truncate(from - 1);
                self.durable = self.durable.min(self.written.len());
            }
            15 => {
                self.purged = self.purged.max(self.random.u64(0..=self.durable as u64));
                self.journal.purge(self.purged).unwrap();
            }
            16..19 => self.crash(),
            _ => self.fill_up(),
        }
    }

    fn append(&mut self) {
        let payloads: Vec<Bytes> = (0..self.random.usize(1..5)).map(|_| payload(&mut self.random)).collect();
        self.journal.append(&payloads).unwrap();
        self.written.extend(payloads);
        // A full segment was made durable on the way.
        self.durable = self.durable.max(self.journal.durable() as usize);
    }

    fn restart(&mut self) {
        let next = self.written.len() + self.random.usize(1..10);
        self.journal.restart(next as u64).unwrap();
        self.written.resize(next - 1, Bytes::new());
        self.durable = self.written.len();
        self.purged = self.durable as u64;
    }

    fn crash(&mut self) {
        self.disk.crash(&mut self.random);
        self.journal = open(&self.disk).unwrap();
        let held = self.journal.next() as usize - 1;
        assert!(held >= self.durable, "{held} records are there, {} were durable", self.durable);
        assert!(held <= self.written.len(), "records came back that were cut off");
        self.written.truncate(held);
        self.durable = held;
    }

    fn fill_up(&mut self) {
        self.disk.set_capacity(Some(0));
        let refused = self.journal.append(&[Bytes::from_static(&[1; 100])]);
        self.disk.set_capacity(None);
        assert!(matches!(&refused, Err(JournalError::Disk { .. })), "{refused:?}");
        self.durable = self.written.len();
    }

    fn check(&self) {
        assert_eq!(self.journal.next() as usize, self.written.len() + 1);
        assert!(self.journal.first() <= self.purged + 1, "more is gone than was given up");
        for index in self.journal.first()..self.journal.next() {
            assert_eq!(self.journal.read(index).unwrap().as_ref(), self.written.get(index as usize - 1), "record {index}");
        }
        assert_eq!(self.journal.read(self.journal.next()).unwrap(), None);
        assert_eq!(self.journal.read(self.journal.first() - 1).unwrap(), None);
    }
}

#[test]
fn whatever_happens_what_was_durable_is_there_and_what_was_cut_off_is_not() {
    for seed in 0..SEEDS {
        let mut history = History::begin(seed);
        for _ in 0..history.random.usize(1..60) {
            history.step();
            history.check();
        }
    }
}

#[test]
fn a_bit_that_flips_is_an_error_or_costs_what_was_not_durable() {
    let (mut refused, mut found_later) = (0, 0);
    for seed in 0..SEEDS {
        let mut random = Rng::with_seed(seed);
        let disk = SimulatedDisk::new();
        let mut journal = open(&disk).unwrap();
        let written: Vec<Bytes> = (0..20).map(|_| payload(&mut random)).collect();
        for payload in &written {
            journal.append(std::slice::from_ref(payload)).unwrap();
            journal.sync().unwrap();
        }
        drop(journal);
        let names = disk.list(folder()).unwrap();
        let path = folder().join(random.choice(names).unwrap());
        let bits = disk.open(&path).unwrap().len().unwrap() * 8;
        if bits == 0 {
            continue;
        }
        disk.flip_bit(&path, random.u64(0..bits)).unwrap();
        match open(&disk) {
            Err(JournalError::Damaged { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
            // No record behind the last one tells that it was durable: consensus asks the others.
            Ok(journal) => {
                assert_eq!(journal.next(), 20, "seed {seed}: more than the last record is gone");
                found_later += 1;
            }
        }
    }
    assert!(refused > SEEDS / 2 && found_later > 0, "{refused} {found_later}");
}

#[test]
fn a_bit_that_flips_while_it_is_open_is_found_when_it_is_read() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk).unwrap();
    journal.append(&[Bytes::from_static(b"first"), Bytes::from_static(b"second")]).unwrap();
    disk.flip_bit(&folder().join("00000000000000000001.journal"), 8 * 30).unwrap();
    assert!(matches!(journal.read(1), Err(JournalError::Damaged { index: 1, .. })));
    assert_eq!(journal.read(2).unwrap().unwrap(), "second");
}

#[test]
fn after_a_sync_that_failed_it_must_be_opened_again() {
    for seed in 0..200 {
        let disk = SimulatedDisk::new();
        let mut journal = open(&disk).unwrap();
        journal.append(&[Bytes::from_static(b"durable")]).unwrap();
        journal.sync().unwrap();
        journal.append(&[Bytes::from_static(b"lost")]).unwrap();
        disk.fail_syncs(1);
        assert!(matches!(journal.sync(), Err(JournalError::Disk { .. })));
        assert!(matches!(journal.append(&[Bytes::new()]), Err(JournalError::Failed)));
        assert!(matches!(journal.sync(), Err(JournalError::Failed)));
        assert_eq!(journal.durable(), 1);
        disk.crash(&mut Rng::with_seed(seed));
        let journal = open(&disk).unwrap();
        assert_eq!(journal.read(1).unwrap().unwrap(), "durable");
    }
}

#[test]
fn what_a_failed_sync_lost_is_not_there_for_the_process_after_it() {
    let disk = SimulatedDisk::new();
    let mut random = Rng::with_seed(1);
    let mut journal = open(&disk).unwrap();
    disk.fail_syncs(1);
    // Longer than a sector, so that the disk has some of it.
    journal.append(&[Bytes::from(vec![1; 5000])]).unwrap();
    assert!(journal.sync().is_err());
    disk.end_processes();
    let mut journal = open(&disk).unwrap();
    assert_eq!(journal.next(), 1, "the kernel still has it, and the disk has not");
    journal.append(&[Bytes::from_static(b"next")]).unwrap();
    journal.sync().unwrap();
    disk.crash(&mut random);
    assert_eq!(open(&disk).unwrap().read(1).unwrap().as_deref(), Some(&b"next"[..]));
}

#[test]
fn what_is_beyond_so_many_bytes_is_whole_segments() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk).unwrap();
    for _ in 0..50 {
        journal.append(&[Bytes::from(vec![1; 1000])]).unwrap();
        journal.sync().unwrap();
    }
    let (all, latest) = (journal.bytes(), journal.beyond(1).unwrap());
    assert!(all > 50_000 && latest < 50);
    assert_eq!(journal.beyond(all), None);
    let (mut before, mut seen) = (latest, 0);
    for bytes in (1000..all).step_by(500) {
        let beyond = journal.beyond(bytes).unwrap_or(0);
        assert!(beyond <= before, "the more is kept, the less is beyond");
        seen += u32::from(beyond < before);
        before = beyond;
    }
    assert!(seen > 1);
    journal.purge(latest).unwrap();
    assert_eq!(journal.first(), latest + 1);
}

#[test]
fn a_real_disk_serves_as_well() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("journal");
    let mut journal = Journal::open(Arc::new(RealDisk), &folder, SEGMENT_BYTES).unwrap();
    let records: Vec<Bytes> = (0..100).map(|number| vec![number; 100].into()).collect();
    for record in &records {
        journal.append(std::slice::from_ref(record)).unwrap();
    }
    journal.sync().unwrap();
    assert!(RealDisk.list(&folder).unwrap().len() > 3, "segments");
    journal.purge(50).unwrap();
    journal.truncate(91).unwrap();
    drop(journal);
    let journal = Journal::open(Arc::new(RealDisk), &folder, SEGMENT_BYTES).unwrap();
    assert!(journal.first() > 1 && journal.first() <= 51);
    assert_eq!(journal.next(), 91);
    assert_eq!(journal.read(90).unwrap().unwrap(), records[89]);
    let too_long = Bytes::from(vec![0; 17 * 1024 * 1024]);
    let mut journal = journal;
    assert!(matches!(journal.append(&[too_long]), Err(JournalError::TooLong(_))));
}
