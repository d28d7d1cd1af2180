//! What goes wrong: machines crash and processes die, cables are cut, disks rot, fill up and fail to sync.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eddy_disk::{Disk, SimulatedDisk};
use fastrand::Rng;
use turmoil::Sim;

use crate::hosts::Host;
use crate::network::note_cut;
use crate::story::Story;

/// Room of a disk that is not full.
pub(crate) const CAPACITY: u64 = 256 * 1024 * 1024;
/// Chunkservers, or hosts in all, that are down at once.
const DOWN_MAX: usize = 2;

/// A fault that ends at its time.
enum Lasting {
    Down(usize),
    Cut(usize, usize),
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
            let stopped = self.hosts[at].name == "master" && self.story.master_is_to_stop();
            if stopped {
                if sim.is_host_running("master") {
                    sim.crash("master");
                }
            } else if !self.is_down(at) && !sim.is_host_running(&self.hosts[at].name[..]) {
                self.crash(sim, at);
                sim.bounce(&self.hosts[at].name[..]);
            }
        }
        if !calm && self.story.has_begun() && now >= self.next {
            self.next = now + Duration::from_millis(self.random.u64(self.pause_ms / 10..self.pause_ms));
            self.make(sim, now);
        }
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
        let name = self.hosts[host].name.clone();
        match self.random.u32(..100) {
            0..35 => {
                let down = self.lasting.iter().filter(|(_, fault)| matches!(fault, Lasting::Down(_))).count();
                if down < DOWN_MAX && !self.is_down(host) {
                    self.story.fault(&format!("{name} crashes"));
                    self.crash(sim, host);
                    self.lasts(now, Lasting::Down(host));
                }
            }
            35..60 => {
                // The last is the client.
                let other = self.random.usize(..=self.hosts.len());
                let cut = |fault: &Lasting| matches!(fault, Lasting::Cut(left, right) if (*left, *right) == (host, other));
                if other != host && !self.lasting.iter().any(|(_, fault)| cut(fault)) {
                    self.story.fault(&format!("{name} is cut off from {}", self.name(other)));
                    sim.partition(&name[..], self.name(other));
                    note_cut(sim.lookup(&name[..]), sim.lookup(self.name(other)));
                    self.lasts(now, Lasting::Cut(host, other));
                }
            }
            60..75 => self.rot(),
            75..80 => {
                let host = self.losing.filter(|_| self.random.bool()).unwrap_or(self.rotting);
                if !self.is_down(host) {
                    self.story.fault(&format!("{} loses its disk", self.name(host)));
                    self.crash(sim, host);
                    self.hosts[host].disk.replace();
                    self.lasts(now, Lasting::Down(host));
                }
            }
            80..88 => {
                self.story.fault(&format!("{name} is to fail to sync"));
                self.hosts[host].disk.fail_syncs(1);
            }
            _ => {
                if !self.lasting.iter().any(|(_, fault)| matches!(fault, Lasting::Full(full) if *full == host)) {
                    let disk = &self.hosts[host].disk;
                    disk.set_capacity(Some(used(disk) + self.random.u64(..50_000)));
                    self.story.fault(&format!("the disk of {name} is full"));
                    self.lasts(now, Lasting::Full(host));
                }
            }
        }
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
            Lasting::Full(host) => self.hosts[host].disk.set_capacity(Some(CAPACITY)),
        }
    }

    /// The power goes: first the disk's, so that nothing is tidied up.
    fn crash(&mut self, sim: &mut Sim<'_>, host: usize) {
        self.hosts[host].disk.crash(&mut self.random);
        sim.crash(&self.hosts[host].name[..]);
        let all: Vec<IpAddr> = (0..=self.hosts.len()).map(|other| sim.lookup(self.name(other))).collect();
        for other in &all {
            note_cut(all[host], *other);
        }
    }

    /// A bit of a chunk flips.
    fn rot(&mut self) {
        let disk = self.hosts[self.rotting].disk.clone();
        let folder = Path::new("/chunks");
        let names = disk.list(folder).unwrap_or_default();
        let files: Vec<PathBuf> = names.iter().filter(|name| name.ends_with(".chunk")).map(|name| folder.join(name)).collect();
        let Some(file) = self.random.choice(&files) else { return };
        let length = disk.open(file).and_then(|file| file.len()).unwrap_or_default();
        if length > 0 && disk.flip_bit(file, self.random.u64(..length * 8)).is_ok() {
            self.story.fault(&format!("a bit of {} flips on {}", file.display(), self.name(self.rotting)));
        }
    }
}

fn used(disk: &SimulatedDisk) -> u64 {
    disk.space(Path::new("/")).map_or(0, |space| space.total_bytes - space.available_bytes)
}
