//! Many seeds, each as a process, some at once.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::faults::KINDS;

/// As many as a test has time for.
const SEEDS: RangeInclusive<u64> = 0..=199;
/// A seed takes about a second.
const REAL_TIME_MAX: Duration = Duration::from_secs(180);
/// A seed that failed tells as much of its end.
const LINES: usize = 30;
/// In so many stories, all that can happen does.
const ENOUGH: usize = 100;
/// What doors do, each of which must have been done well in some stories.
const DEEDS: [&str; 17] = [
    "put",
    "delete",
    "get",
    "list",
    "change copies",
    "forget version",
    "drain",
    "rename",
    "complete",
    "abort",
    "put expiring",
    "get expiring",
    "count up",
    "come second",
    "refuse beyond quota",
    "put failed",
    "rename failed",
];

/// Runs the seeds of `EDDY_SEEDS`, `N` or `FIRST..LAST`, or some; and one of them twice, which must be the same.
pub(crate) fn run() -> ExitCode {
    let Ok(seeds) = std::env::var("EDDY_SEEDS").map_or(Ok(SEEDS), |said| parse(&said).ok_or(())) else {
        eprintln!("EDDY_SEEDS is a number, or two with .. between");
        return ExitCode::FAILURE;
    };
    let (first, count) = (*seeds.start(), seeds.clone().count());
    let (next, done) = (AtomicU64::new(first), AtomicUsize::new(0));
    let failed = Mutex::new(Vec::new());
    let (told, counts) = (Mutex::new(None), Mutex::new(BTreeMap::<String, u64>::new()));
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    match tell(seed) {
                        Ok(summary) => {
                            for (what, times) in counts_of(&summary) {
                                *counts.lock().unwrap().entry(what.to_owned()).or_default() += times;
                            }
                            if count <= 20 {
                                println!("seed {seed}: {summary}");
                            }
                            if seed == first {
                                *told.lock().unwrap() = Some(summary);
                            }
                        }
                        Err(end) => {
                            eprintln!("seed {seed} failed:\n{end}");
                            failed.lock().unwrap().push(seed);
                        }
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(100) {
                        println!("{done} of {count} seeds");
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    if let Some(before) = told.into_inner().unwrap()
        && tell(first).as_ref() != Ok(&before)
    {
        eprintln!("seed {first} is another story when it is told again: {before}\n{:?}", tell(first));
        failed.push(first);
    }
    let counts = counts.into_inner().unwrap();
    println!("{counts:?}");
    let mut never: Vec<&str> = DEEDS.into_iter().chain(KINDS).filter(|what| !counts.contains_key(*what)).collect();
    never.retain(|_| count >= ENOUGH);
    println!("simulation: {count} seeds, {} failed {failed:?}, never happened: {never:?}", failed.len());
    if failed.is_empty() && never.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How often what happened, of a story in a line.
fn counts_of(summary: &str) -> impl Iterator<Item = (&str, u64)> {
    let counts = summary.split_once(": ").map_or("", |(_, counts)| counts).split(", ");
    counts.filter_map(|count| count.rsplit_once(' ').and_then(|(what, times)| Some((what, times.parse().ok()?))))
}

fn parse(said: &str) -> Option<RangeInclusive<u64>> {
    match said.split_once("..") {
        Some((first, last)) => Some(first.parse().ok()?..=last.parse().ok()?),
        None => said.parse().ok().map(|seed| seed..=seed),
    }
}

/// A seed's story in a line, or its end.
fn tell(seed: u64) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.env("EDDY_SEED", seed.to_string()).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    let aloud = std::env::var_os("EDDY_STORY").is_some();
    command.stderr(if aloud { Stdio::inherit() } else { Stdio::piped() });
    let child = command.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let Output { status, stdout, stderr } = within(REAL_TIME_MAX, child).map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).trim().to_owned());
    }
    let end = String::from_utf8_lossy(&stderr);
    let lines: Vec<&str> = end.lines().collect();
    Err(format!("{status}\n{}", lines[lines.len().saturating_sub(LINES)..].join("\n")))
}

/// What a process says to its end, which comes within this time.
fn within(time: Duration, child: Child) -> std::io::Result<Output> {
    let process = Pid::from_raw(child.id().cast_signed());
    let (ended, wait) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if wait.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout) {
                // It may have ended this moment.
                let _ = kill(process, Signal::SIGKILL);
            }
        });
        let output = child.wait_with_output();
        drop(ended);
        output
    })
}
