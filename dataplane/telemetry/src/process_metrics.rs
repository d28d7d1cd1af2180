//! What the kernel says of this process, under the names that Prometheus clients use for it.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Clock ticks a second in /proc/PID/stat: USER_HZ, which Linux fixes at 100 on every architecture that Eddy runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads /proc at each scrape.
#[derive(Debug)]
pub(crate) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(sample) = sample() else { return Ok(()) };
        let mut write = |name: &str, help: &str, metric: &dyn EncodeMetricObject| metric.write(&mut encoder, name, help);
        write("process_cpu_seconds", "Processor time used", &ConstCounter::new(sample.cpu_seconds))?;
        write("process_resident_memory_bytes", "Memory held", &ConstGauge::new(sample.resident_bytes))?;
        write("process_threads", "Threads", &ConstGauge::new(sample.threads))?;
        write("process_open_fds", "Open file descriptors", &ConstGauge::new(sample.open_files))
    }
}

/// A metric of any type, written by reference.
trait EncodeMetricObject {
    fn write(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> std::fmt::Result;
}

impl<M: EncodeMetric> EncodeMetricObject for M {
    fn write(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> std::fmt::Result {
        let metric = encoder.encode_descriptor(name, help, None, self.metric_type())?;
        self.encode(metric)
    }
}

struct Sample {
    cpu_seconds: f64,
    resident_bytes: i64,
    threads: i64,
    open_files: i64,
}

fn sample() -> Option<Sample> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse(&stat, &status, std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count))
}

/// Reads the forms that proc(5) describes.
fn parse(stat: &str, status: &str, open_files: usize) -> Option<Sample> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let kilobytes: i64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Sample {
        cpu_seconds: ticks / TICKS_PER_SECOND,
        resident_bytes: kilobytes * 1024,
        threads: fields.get(17)?.parse().ok()?,
        open_files: i64::try_from(open_files).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_own_figures_are_read() {
        let sample = sample().expect("/proc is there");
        assert!(sample.resident_bytes > 0 && sample.threads > 0 && sample.open_files > 0);
    }

    #[test]
    fn a_name_with_a_bracket_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 100 1000 10";
        let sample = parse(stat, "Name:\ta\nVmRSS:\t     12 kB\n", 4).expect("well-formed");
        assert!((sample.cpu_seconds - 2.0).abs() < f64::EPSILON);
        assert_eq!((sample.resident_bytes, sample.threads), (12 * 1024, 3));
    }
}
