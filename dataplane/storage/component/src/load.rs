//! How busy a chunkserver's machine is.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eddy_chunkserver::{Load, Server};
use procfs::{Current, CurrentSI, DiskStats, KernelStats, Meminfo};

/// Over so long each share is taken.
const INTERVAL: Duration = Duration::from_secs(5);

/// Counters of the kernel at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    /// Milliseconds for which the disk has worked; none where the kernel does not count them.
    disk_ms: Option<u64>,
    /// Ticks in which processors worked, and all ticks.
    ticks: Option<(u64, u64)>,
    /// Bytes of memory that can be had, and all.
    memory: Option<(u64, u64)>,
}

/// Tells a server how busy its machine is, again and again.
pub(crate) async fn measure(server: Server, folder: PathBuf) {
    let mut interval = tokio::time::interval(INTERVAL);
    let mut before: Option<Sample> = None;
    loop {
        interval.tick().await;
        let folder = folder.clone();
        // /proc takes a moment on machines with many disks and processors.
        let Ok(now) = tokio::task::spawn_blocking(move || sample(&folder)).await else { return };
        if let Some(before) = before {
            server.set_load(load(&before, &now));
        }
        before = Some(now);
    }
}

fn sample(folder: &Path) -> Sample {
    let disk_ms = std::fs::metadata(folder).ok().and_then(|folder| {
        let (major, minor) = (rustix::fs::major(folder.dev()), rustix::fs::minor(folder.dev()));
        let disks = DiskStats::current().ok()?;
        let disk = disks.0.into_iter().find(|disk| (disk.major, disk.minor) == (major as i32, minor as i32))?;
        Some(disk.time_in_progress)
    });
    let ticks = KernelStats::current().ok().map(|stats| {
        let total = stats.total;
        let idle = total.idle + total.iowait.unwrap_or_default();
        let others = [total.irq, total.softirq, total.steal].into_iter().flatten().sum::<u64>();
        let busy = total.user + total.nice + total.system + others;
        (busy, busy + idle)
    });
    let memory = Meminfo::current().ok().and_then(|memory| Some((memory.mem_available?, memory.mem_total)));
    Sample { at: Instant::now(), disk_ms, ticks, memory }
}

fn load(before: &Sample, now: &Sample) -> Load {
    let elapsed_ms = u64::try_from(now.at.duration_since(before.at).as_millis()).unwrap_or(u64::MAX);
    let disk = before.disk_ms.zip(now.disk_ms).map(|(before, now)| share(now.saturating_sub(before), elapsed_ms));
    let ticks = before.ticks.zip(now.ticks);
    let processors = ticks.map(|(before, now)| share(now.0.saturating_sub(before.0), now.1.saturating_sub(before.1)));
    let memory = now.memory.map(|(available, total)| share(total.saturating_sub(available), total));
    Load { disk: disk.unwrap_or_default(), processors: processors.unwrap_or_default(), memory: memory.unwrap_or_default() }
}

/// In thousandths.
fn share(part: u64, whole: u64) -> u16 {
    let share = u128::from(part) * 1000 / u128::from(whole.max(1));
    u16::try_from(share.min(1000)).unwrap_or(1000)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_between_two_looks() {
        let at = Instant::now();
        let before = Sample { at, disk_ms: Some(1000), ticks: Some((100, 1000)), memory: Some((900, 1000)) };
        let later = at + Duration::from_secs(5);
        let now = Sample { at: later, disk_ms: Some(2250), ticks: Some((300, 2000)), memory: Some((100, 1000)) };
        assert_eq!(load(&before, &now), Load { disk: 250, processors: 200, memory: 900 });
        let unknown = Sample { at: later, disk_ms: None, ticks: None, memory: None };
        assert_eq!(load(&before, &unknown), Load::default());
        // A disk works on much at once, and counters begin anew.
        let odd = Sample { at: later, disk_ms: Some(99_000), ticks: Some((50, 900)), memory: Some((1001, 1000)) };
        assert_eq!(load(&before, &odd), Load { disk: 1000, processors: 0, memory: 0 });
    }

    #[test]
    fn this_machine_says_how_busy_it_is() {
        let sample = sample(Path::new("/proc"));
        let ((busy, all), (available, total)) = (sample.ticks.unwrap(), sample.memory.unwrap());
        assert!(busy > 0 && busy <= all && available > 0 && available <= total);
    }
}
