//! What goes wrong: machines crash and processes die, cables are cut, one way or both, or delay what goes through them, disks rot, fill up,
//! fail to sync and are lost, clocks jump.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use eddy_disk::{Disk, SECTOR_BYTES, SimulatedDisk};
use fastrand::Rng;
use turmoil::Sim;

use crate::hosts::Host;
use crate::network::note_cut;
use crate::story::Story;

/// Room of a disk that is not full.
pub(crate) const CAPACITY: u64 = 256 * 1024 * 1024;
/// Clocks are wrong by no more milliseconds.
pub(crate) const WRONG_MAX_MS: i64 = 20_000;
/// Hosts with a disk that are down at once; the others, as they like.
const DOWN_MAX: usize = 2;

/// All kinds of faults: each must come, in some stories.
pub(crate) const KINDS: [&str; 10] =
    ["crash", "cut", "one-way cut", "delay", "rot", "bad sector", "lost disk", "failed sync", "full disk", "clock jump"];

/// A fault that ends at its time.
enum Lasting {
    Down(usize),
    /// Nothing goes either way.
    Cut(usize, usize),
    /// Nothing goes from one to the other.
    OneWay(usize, usize),
    /// What goes either way arrives when this ends.
    Delayed(usize, usize),
    Full(usize),
}

pub(crate) struct Faults {
    /// All but the client.
    hosts: Vec<Host>,
    client: String,
    /// The one whose chunks rot or are lost with the disk: of two that do, both could lose the same.
    rotting: usize,
    /// The one of three replicas whose disk is lost, if there are three.
    losing: Option<usize>,
    random: Rng,
    lasting: Vec<(Duration, Lasting)>,
    next: Duration,
    /// Milliseconds between faults at most: some stories are rough, some are not.
    pause_ms: u64,
    story: Story,
}

impl Faults {
    pub(crate) fn new(hosts: Vec<Host>, client: String, seed: u64, story: Story) -> Self {
        let mut random = Rng::with_seed(seed ^ 0xfa17);
        let chunkservers: Vec<usize> = (0..hosts.len()).filter(|at| hosts[*at].name.starts_with("chunk")).collect();
        let rotting = chunkservers[random.usize(..chunkservers.len())];
        let replicas: Vec<usize> = (0..hosts.len()).filter(|at| hosts[*at].name.starts_with("kv")).collect();
        let losing = (replicas.len() > 1).then(|| replicas[random.usize(..replicas.len())]);
        let pause_ms = [600, 1500, 4000][random.usize(..3)];
        Self { pause_ms, hosts, client, rotting, losing, random, lasting: Vec::new(), next: Duration::ZERO, story }
    }

    /// Ends what has lasted for its time, starts again what ended by itself, and makes another fault when it is time.
    pub(crate) fn step(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let calm = self.story.is_calm();
        let lasting = std::mem::take(&mut self.lasting);
        let (over, lasting): (Vec<_>, Vec<_>) = lasting.into_iter().partition(|(until, _)| calm || *until <= now);
        self.lasting = lasting;
        for (_, fault) in over {
            self.end(sim, &fault);
        }
        for at in 0..self.hosts.len() {
            let name = self.hosts[at].name.clone();
            if name.starts_with("master") && self.story.masters_are_to_stop() {
                if sim.is_host_running(&name[..]) {
                    sim.crash(&name[..]);
                }
            } else if !self.is_down(at) && !sim.is_host_running(&name[..]) {
                self.crash(sim, at);
                sim.bounce(&name[..]);
            }
        }
        if !calm && self.story.has_begun() && now >= self.next {
            self.next = now + Duration::from_millis(self.random.u64(self.pause_ms / 10..self.pause_ms));
            self.make(sim, now);
        }
    }

    fn has_disk(&self, host: usize) -> bool {
        ["kv", "chunks"].iter().any(|kind| self.hosts[host].name.starts_with(kind))
    }

    fn is_down(&self, host: usize) -> bool {
        self.lasting.iter().any(|(_, fault)| matches!(fault, Lasting::Down(at) if *at == host))
    }

    fn lasts(&mut self, now: Duration, fault: Lasting) {
        let until = now + Duration::from_millis(self.random.u64(100..12_000));
        self.lasting.push((until, fault));
    }

    fn make(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let host = self.random.usize(..self.hosts.len());
        match self.random.u32(..100) {
            0..32 => self.make_crash(sim, now, host),
            32..56 => self.make_network_fault(sim, now, host),
            56..71 => self.rot(),
            71..76 => {
                let host = self.losing.filter(|_| self.random.bool()).unwrap_or(self.rotting);
                if !self.is_down(host) {
                    self.story.fault("lost disk", self.name(host));
                    self.crash(sim, host);
                    self.hosts[host].disk.replace();
                    self.lasts(now, Lasting::Down(host));
                }
            }
            76..80 => {
                let wrong_ms = self.random.i64(-WRONG_MAX_MS..=WRONG_MAX_MS);
                self.hosts[host].wrong_ms.store(wrong_ms, Ordering::Relaxed);
                self.story.fault("clock jump", &format!("{} is wrong by {wrong_ms} ms", self.name(host)));
            }
            80..88 if self.has_disk(host) => {
                self.story.fault("failed sync", self.name(host));
                self.hosts[host].disk.fail_syncs(1);
            }
            _ => {
                let full = |fault: &Lasting| matches!(fault, Lasting::Full(full) if *full == host);
                if self.has_disk(host) && !self.lasting.iter().any(|(_, fault)| full(fault)) {
                    let disk = &self.hosts[host].disk;
                    disk.set_capacity(Some(used(disk) + self.random.u64(..50_000)));
                    self.story.fault("full disk", self.name(host));
                    self.lasts(now, Lasting::Full(host));
                }
            }
        }
    }

    fn make_crash(&mut self, sim: &mut Sim<'_>, now: Duration, host: usize) {
        let with_disk = |fault: &Lasting| matches!(fault, Lasting::Down(down) if self.has_disk(*down));
        let down = self.lasting.iter().filter(|(_, fault)| with_disk(fault)).count();
        if self.is_down(host) || self.has_disk(host) && down >= DOWN_MAX {
            return;
        }
        self.story.fault("crash", self.name(host));
        self.crash(sim, host);
        self.lasts(now, Lasting::Down(host));
    }

    /// Between two hosts, one of which may be the client: at most one fault at once.
    fn make_network_fault(&mut self, sim: &mut Sim<'_>, now: Duration, host: usize) {
        // The last is the client.
        let other = self.random.usize(..=self.hosts.len());
        let between = |fault: &Lasting| match *fault {
            Lasting::Cut(left, right) | Lasting::OneWay(left, right) | Lasting::Delayed(left, right) => {
                (left, right) == (host, other) || (left, right) == (other, host)
            }
            Lasting::Down(_) | Lasting::Full(_) => false,
        };
        if other == host || self.lasting.iter().any(|(_, fault)| between(fault)) {
            return;
        }
        let (from, to) = (self.name(host).to_owned(), self.name(other).to_owned());
        let fault = match self.random.u32(..4) {
            0 => {
                self.story.fault("one-way cut", &format!("{from} to {to}"));
                sim.partition_oneway(&from[..], &to[..]);
                Lasting::OneWay(host, other)
            }
            1 => {
                self.story.fault("delay", &format!("{from} and {to}"));
                sim.hold(&from[..], &to[..]);
                Lasting::Delayed(host, other)
            }
            _ => {
                self.story.fault("cut", &format!("{from} and {to}"));
                sim.partition(&from[..], &to[..]);
                Lasting::Cut(host, other)
            }
        };
        if !matches!(fault, Lasting::Delayed(..)) {
            note_cut(sim.lookup(&from[..]), sim.lookup(&to[..]));
        }
        self.lasts(now, fault);
    }

    fn name(&self, host: usize) -> &str {
        self.hosts.get(host).map_or(&self.client, |host| &host.name)
    }

    fn end(&mut self, sim: &mut Sim<'_>, fault: &Lasting) {
        match *fault {
            Lasting::Down(host) => {
                self.story.tell(&format!("{} starts", self.name(host)));
                sim.bounce(self.name(host));
            }
            Lasting::Cut(left, right) => {
                self.story.tell(&format!("{} reaches {} again", self.name(left), self.name(right)));
                sim.repair(self.name(left), self.name(right));
            }
            Lasting::OneWay(from, to) => {
                self.story.tell(&format!("{} reaches {} again", self.name(from), self.name(to)));
                sim.repair_oneway(self.name(from), self.name(to));
            }
            Lasting::Delayed(left, right) => {
                self.story.tell(&format!("what went between {} and {} arrives", self.name(left), self.name(right)));
                sim.release(self.name(left), self.name(right));
            }
            Lasting::Full(host) => self.hosts[host].disk.set_capacity(Some(CAPACITY)),
        }
    }

    /// The power goes, or the process alone: first the disk's, so that nothing is tidied up.
    fn crash(&mut self, sim: &mut Sim<'_>, host: usize) {
        let disk = &self.hosts[host].disk;
        if self.random.bool() {
            disk.crash(&mut self.random);
        } else {
            disk.end_processes();
        }
        sim.crash(&self.hosts[host].name[..]);
        let all: Vec<IpAddr> = (0..=self.hosts.len()).map(|other| sim.lookup(self.name(other))).collect();
        for other in &all {
            note_cut(all[host], *other);
        }
    }

    /// A bit of a chunk flips, or some of it cannot be read any more.
    fn rot(&mut self) {
        let disk = self.hosts[self.rotting].disk.clone();
        let folder = Path::new("/chunks");
        let names = disk.list(folder).unwrap_or_default();
        let files: Vec<PathBuf> = names.iter().filter(|name| name.ends_with(".chunk")).map(|name| folder.join(name)).collect();
        let Some(file) = self.random.choice(&files) else { return };
        let length = disk.open(file).and_then(|file| file.len()).unwrap_or_default();
        if length == 0 {
            return;
        }
        let at = self.random.u64(..length);
        let (fault, done) = if self.random.u32(..4) == 0 {
            ("bad sector", disk.make_unreadable(file, at..at + SECTOR_BYTES as u64))
        } else {
            ("rot", disk.flip_bit(file, at * 8 + self.random.u64(..8)))
        };
        if done.is_ok() {
            self.story.fault(fault, &format!("{} on {}", file.display(), self.name(self.rotting)));
        }
    }
}

fn used(disk: &SimulatedDisk) -> u64 {
    disk.space(Path::new("/")).map_or(0, |space| space.total_bytes - space.available_bytes)
}
