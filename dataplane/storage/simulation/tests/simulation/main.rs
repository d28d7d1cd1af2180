//! All of storage in one thread: metadata's replicas, chunkservers, a master and clients, on disks, clocks and a network that
//! fail as real ones do, thousands of times differently.
//!
//! What holds, whatever happened: an object that was acknowledged is there with its bytes; what was deleted stays deleted; what goes by itself
//! goes, and not too early; what is written on a condition is written by one; lists say what is there; quotas count it, and hold; nothing that
//! is needed is collected, and all else is; every chunk has its copies.
//!
//! A seed is a process, and the same seed is the same story: `EDDY_SEEDS=17 EDDY_STORY=1 cargo test --release --workspace --test
//! simulation` tells it again, with what the code itself says where `RUST_LOG` asks for it. `dev/simulate FIRST LAST` runs many.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::large_futures, reason = "it is a test, and tells of itself")]

mod clock;
mod door;
mod faults;
mod hosts;
mod network;
mod oracle;
mod runner;
mod story;
mod workload;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use eddy_disk::SimulatedDisk;
use fastrand::Rng;
use turmoil::Builder;

use self::faults::{CAPACITY, Faults, WRONG_MAX_MS};
use self::hosts::{Host, kv_address};
use self::story::Story;
use self::workload::World;

/// For how long faults are made.
const FAULTS_FOR: Duration = Duration::from_secs(45);
/// One step of the simulation.
const TICK: Duration = Duration::from_millis(5);
/// A story that takes longer has no end.
const LONGEST: Duration = Duration::from_secs(3600);
/// Doors that work.
const DOORS: u64 = 3;

fn main() -> ExitCode {
    match std::env::var("EDDY_SEED").map(|seed| seed.parse()) {
        Ok(Ok(seed)) => {
            // A thread whose hashers have not begun.
            let story = std::thread::spawn(move || simulate(seed));
            match story.join() {
                Ok(summary) => {
                    println!("{summary}");
                    ExitCode::SUCCESS
                }
                Err(_) => ExitCode::FAILURE,
            }
        }
        Ok(Err(error)) => {
            eprintln!("EDDY_SEED is no number: {error}");
            ExitCode::FAILURE
        }
        Err(_) => runner::run(),
    }
}

/// Tells the story of a seed, and returns it in a line.
fn simulate(seed: u64) -> String {
    clock::begin(seed);
    let mut random = Rng::with_seed(seed);
    let aloud = std::env::var_os("EDDY_STORY").is_some();
    if aloud {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false).with_writer(std::io::stderr).init();
    }
    let story = Story::new(aloud);
    let mut builder = Builder::new();
    builder.rng_seed(seed).tick_duration(TICK).simulation_duration(LONGEST).tcp_capacity(100_000);
    builder.min_message_latency(Duration::from_millis(1)).max_message_latency(Duration::from_millis(random.u64(5..40)));
    let mut sim = builder.build();
    let mut host = |name: String| {
        let disk = SimulatedDisk::new();
        disk.set_capacity(Some(CAPACITY));
        let wrong_ms = Arc::new(AtomicI64::new(random.i64(-WRONG_MAX_MS..=WRONG_MAX_MS)));
        Host { name, disk, wrong_ms }
    };
    let replicas: Vec<Host> = (0..if seed.is_multiple_of(2) { 3 } else { 1 }).map(|at| host(format!("kv-{at}"))).collect();
    // With as many as are coded for in every fourth.
    let coded = seed % 4 == 3;
    let chunkservers: Vec<Host> = (0..if coded { 7 } else { 4 + seed % 2 }).map(|at| host(format!("chunks-{at}"))).collect();
    // Two that know nothing of each other in every other.
    let masters: Vec<Host> = (0..1 + seed / 4 % 2).map(|at| host(format!("master-{at}"))).collect();
    let doors: Vec<Host> = (0..DOORS).map(|at| host(format!("door-{at}"))).collect();
    let client = host("client".into());
    let servers: Vec<String> = replicas.iter().map(|host| kv_address(&host.name)).collect();
    for one in &replicas {
        let (host, servers) = (one.clone(), servers.clone());
        sim.host(&one.name[..], move || hosts::kv(host.clone(), servers.clone()));
    }
    for one in &chunkservers {
        let (host, servers) = (one.clone(), servers.clone());
        sim.host(&one.name[..], move || hosts::chunkserver(host.clone(), servers.clone()));
    }
    for one in &masters {
        let (host, servers) = (one.clone(), servers.clone());
        sim.host(&one.name[..], move || hosts::master(host.clone(), servers.clone()));
    }
    let world = World::default();
    for (number, one) in (0..).zip(&doors) {
        let (host, servers, world, story) = (one.clone(), servers.clone(), world.clone(), story.clone());
        sim.host(&one.name[..], move || door::run(host.clone(), servers.clone(), number, world.clone(), seed, story.clone()));
    }
    sim.client("client", workload::run(client, servers, doors.len(), world, seed, story.clone()));
    let hosts = [replicas, chunkservers, masters, doors].concat();
    let mut faults = Faults::new(hosts, "client".into(), seed, story.clone());
    let mut begun = None;
    loop {
        clock::set_elapsed(sim.elapsed());
        story.set_now(sim.elapsed());
        match sim.step() {
            Ok(true) => return format!("{}, {} s", story.summary(), sim.elapsed().as_secs()),
            Ok(false) => {}
            Err(error) => panic!("seed {seed}, after {:?}: {error}", sim.elapsed()),
        }
        if story.has_begun() {
            let since = *begun.get_or_insert(sim.elapsed());
            if !story.is_calm() && sim.elapsed() - since > FAULTS_FOR {
                story.tell("calm");
                story.calm();
            }
        }
        let now = sim.elapsed();
        faults.step(&mut sim, now);
    }
}
