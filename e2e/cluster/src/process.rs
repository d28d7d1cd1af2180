//! Long-running processes: started once, found again by a file, never confused with another of the same number.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a process may take to end after it was asked to.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How often to look whether something happened.
const POLL: Duration = Duration::from_millis(50);

/// The processes of one cluster: their files lie in `pids/`, what they print in `logs/`.
pub(crate) struct Processes {
    folder: PathBuf,
}

impl Processes {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Starts a process unless it runs; says whether it had to.
    pub(crate) fn ensure(
        &self,
        name: &str,
        network_namespace: Option<&str>,
        program: &Path,
        arguments: &[String],
    ) -> Result<bool> {
        if self.running(name).is_some() {
            return Ok(false);
        }
        fs::create_dir_all(self.folder.join("pids"))?;
        fs::create_dir_all(self.folder.join("logs"))?;
        let log = File::options().create(true).append(true).open(self.log(name))?;
        // `nsenter`, not `ip netns exec`: the latter mounts a fresh /sys, and the cgroup mounts are gone.
        let mut command = match network_namespace {
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{namespace}")).arg(program);
                command
            }
            None => Command::new(program),
        };
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("failed to start {name} ({})", program.display()))?;
        let identity = identity(child.id()).with_context(|| format!("{name} ended at once: see {}", self.log(name).display()))?;
        fs::write(self.file(name), identity)?;
        Ok(true)
    }

    /// The process number, if it runs.
    pub(crate) fn running(&self, name: &str) -> Option<u32> {
        let recorded = fs::read_to_string(self.file(name)).ok()?;
        let number: u32 = recorded.split_whitespace().next()?.parse().ok()?;
        (identity(number)? == recorded).then_some(number)
    }

    /// Asks a process to end, and does not wait.
    pub(crate) fn ask(&self, name: &str) {
        if let Some(number) = self.running(name) {
            signal(number, Signal::SIGTERM);
        }
    }

    /// Ends a process, by force if it does not heed the request.
    pub(crate) fn stop(&self, name: &str) {
        if let Some(number) = self.running(name) {
            terminate(number);
        }
        let _ = fs::remove_file(self.file(name));
    }

    /// Ends a process without warning, as a power cut would.
    pub(crate) fn kill(&self, name: &str) -> bool {
        let Some(number) = self.running(name) else { return false };
        signal(number, Signal::SIGKILL);
        wait_for_end(number, STOP_DEADLINE);
        true
    }

    /// The names of all that were started.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join("pids")).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join("pids").join(name)
    }
}

/// A process's number and start time: together they are never used twice. None if it has ended.
fn identity(number: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The second field is the name in brackets and may hold anything, so count from behind it (proc(5)).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, start_time) = (fields.first()?, fields.get(19)?);
    (*state != "Z").then(|| format!("{number} {start_time}"))
}

pub(crate) fn signal(number: u32, signal: Signal) {
    if let Ok(number) = i32::try_from(number) {
        let _ = kill(Pid::from_raw(number), signal);
    }
}

/// Asks a process to end, and after a while makes it.
pub(crate) fn terminate(number: u32) {
    signal(number, Signal::SIGTERM);
    if !wait_for_end(number, STOP_DEADLINE) {
        signal(number, Signal::SIGKILL);
        wait_for_end(number, STOP_DEADLINE);
    }
}

fn wait_for_end(number: u32, deadline: Duration) -> bool {
    let start = Instant::now();
    while identity(number).is_some() {
        if start.elapsed() > deadline {
            return false;
        }
        pause();
    }
    true
}

/// Waits until something holds.
pub(crate) fn wait_until(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !holds() {
        anyhow::ensure!(start.elapsed() < deadline, "{what}: not within {} s", deadline.as_secs());
        pause();
    }
    Ok(())
}

/// The one place where this tool waits by the clock: between two looks at a condition.
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(POLL);
}

/// The numbers of all processes whose command line says `holds`.
pub(crate) fn find(holds: impl Fn(&str) -> bool) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|number| {
            fs::read(format!("/proc/{number}/cmdline"))
                .is_ok_and(|line| holds(&String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .collect()
}

/// The numbers of a process's children.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_until_it_is_stopped() {
        let folder = std::env::temp_dir().join(format!("eddy-process-test-{}", std::process::id()));
        let processes = Processes::new(&folder);
        assert!(processes.ensure("sleeper", None, Path::new("sleep"), &["60".into()]).unwrap());
        assert!(!processes.ensure("sleeper", None, Path::new("sleep"), &["60".into()]).unwrap());
        assert!(processes.running("sleeper").is_some());
        processes.stop("sleeper");
        assert!(processes.running("sleeper").is_none());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn another_process_of_the_same_number_is_not_ours() {
        let folder = std::env::temp_dir().join(format!("eddy-process-reuse-test-{}", std::process::id()));
        let processes = Processes::new(&folder);
        fs::create_dir_all(folder.join("pids")).unwrap();
        fs::write(processes.file("other"), format!("{} 1", std::process::id())).unwrap();
        assert!(processes.running("other").is_none());
        fs::remove_dir_all(folder).unwrap();
    }
}
