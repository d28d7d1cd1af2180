//! One line of JSON for each request, on standard output.
//!
//! Proxy threads hand lines over to a thread that writes them in batches: a full disk or a slow reader costs
//! lines, which are counted, and never holds up a request. Query strings are left out, since they carry
//! secrets.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use crate::metrics::Metrics;

/// Lines that may wait to be written: about 4 MB.
const WAITING_MAX: usize = 16_384;
/// The most bytes in one write.
const BATCH_BYTES: usize = 64 * 1024;

/// What a line says.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) time: Timestamp,
    pub(crate) request_id: &'a str,
    pub(crate) client: Option<std::net::IpAddr>,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) response_bytes: usize,
    pub(crate) duration_us: u64,
    pub(crate) route: Option<&'a str>,
    pub(crate) upstream: Option<std::net::SocketAddr>,
    /// Why the gateway itself answered.
    pub(crate) refusal: Option<&'static str>,
}

/// Where proxy threads hand lines over.
#[derive(Clone)]
pub(crate) struct AccessLog {
    lines: SyncSender<Vec<u8>>,
    metrics: Metrics,
}

impl AccessLog {
    /// Starts the thread that writes. It ends when the last clone is gone.
    pub(crate) fn start(metrics: Metrics) -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING_MAX);
        std::thread::Builder::new().name("access-log".into()).spawn(move || write(&waiting, std::io::stdout()))?;
        Ok(Self { lines, metrics })
    }

    pub(crate) fn log(&self, line: &Line<'_>) {
        let mut bytes = Vec::with_capacity(320);
        if serde_json::to_writer(&mut bytes, line).is_ok() {
            bytes.push(b'\n');
            if let Err(TrySendError::Full(_)) = self.lines.try_send(bytes) {
                self.metrics.access_log_dropped.inc();
            }
        }
    }
}

/// Gathers what has come meanwhile into one write.
fn write(waiting: &Receiver<Vec<u8>>, mut output: impl Write) {
    // Long enough to gather a batch under load, short enough for someone who watches.
    const GATHER: Duration = Duration::from_millis(20);
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    while let Ok(line) = waiting.recv() {
        batch.extend_from_slice(&line);
        let until = Instant::now() + GATHER;
        while batch.len() < BATCH_BYTES
            && let Ok(line) = waiting.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            batch.extend_from_slice(&line);
        }
        // Nobody reads: the lines are lost, the service goes on.
        let _ = output.write_all(&batch).and_then(|()| output.flush());
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_in_order_and_hostile_text_stays_on_its_line() {
        let (lines, waiting) = sync_channel(8);
        for path in ["/a", "/b\n{\"status\":200}"] {
            let line = Line {
                time: Timestamp::UNIX_EPOCH,
                request_id: "1",
                client: None,
                method: "GET",
                host: "h",
                path,
                status: 404,
                response_bytes: 0,
                duration_us: 12,
                route: None,
                upstream: None,
                refusal: Some("no_route"),
            };
            let mut bytes = serde_json::to_vec(&line).unwrap();
            bytes.push(b'\n');
            lines.send(bytes).unwrap();
        }
        drop(lines);
        let mut output = Vec::new();
        write(&waiting, &mut output);
        let text = String::from_utf8(output).unwrap();
        let paths: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(paths, ["/a", "/b\n{\"status\":200}"]);
    }
}
