//! One line of JSON for each request, on standard output.
//!
//! Proxy threads append lines to a buffer that a thread of its own writes in batches: waking it for each line
//! would cost more than the request. A full disk or a slow reader costs lines, which are counted, and never holds
//! up a request. Query strings are left out, since they carry secrets.

use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::metrics::Metrics;

/// The most bytes that may wait to be written.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Between a first line and its write: long enough to gather a batch under load, short enough for someone who watches.
const GATHER: Duration = Duration::from_millis(20);
/// How long the last lines may take when the process ends.
const FINISH_DEADLINE: Duration = Duration::from_secs(1);

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
    buffer: Arc<Buffer>,
    metrics: Metrics,
}

/// The thread that writes.
pub(crate) struct Writer {
    buffer: Arc<Buffer>,
    finished: oneshot::Receiver<()>,
}

#[derive(Default)]
struct Buffer {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    closed: bool,
}

impl AccessLog {
    /// Starts the thread that writes to standard output.
    pub(crate) fn start(metrics: Metrics) -> std::io::Result<(Self, Writer)> {
        let buffer = Arc::new(Buffer::default());
        let (finish, finished) = oneshot::channel();
        let source = buffer.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || {
            source.write(std::io::stdout());
            // Nobody may be waiting for it.
            let _ = finish.send(());
        })?;
        Ok((Self { buffer: buffer.clone(), metrics }, Writer { buffer, finished }))
    }

    pub(crate) fn log(&self, line: &Line<'_>) {
        thread_local! {
            static SCRATCH: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(512));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            if serde_json::to_writer(&mut *scratch, line).is_err() {
                return;
            }
            scratch.push(b'\n');
            if !self.buffer.append(scratch) {
                self.metrics.access_log_dropped.inc();
            }
        });
    }
}

impl Writer {
    /// Writes what is still waiting, for at most a second.
    pub(crate) async fn finish(self) {
        self.buffer.lock().closed = true;
        self.buffer.news.notify_one();
        // Where nobody reads standard output, the last lines are lost.
        let _ = tokio::time::timeout(FINISH_DEADLINE, self.finished).await;
    }
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False if there is no room.
    fn append(&self, line: &[u8]) -> bool {
        let mut waiting = self.lock();
        let first = waiting.lines.is_empty();
        let room = waiting.lines.len() + line.len() <= WAITING_BYTES_MAX;
        if room {
            waiting.lines.extend_from_slice(line);
        }
        drop(waiting);
        if first {
            self.news.notify_one();
        }
        room
    }

    /// Writes batches until it is closed and empty.
    fn write(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        loop {
            let idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.closed;
            drop(self.news.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner));
            let gathered = self.news.wait_timeout_while(self.lock(), GATHER, |waiting| !waiting.closed);
            let mut waiting = gathered.unwrap_or_else(PoisonError::into_inner).0;
            std::mem::swap(&mut batch, &mut waiting.lines);
            let closed = waiting.closed;
            drop(waiting);
            // Nobody reads: the lines are lost, the service goes on.
            let _ = output.write_all(&batch).and_then(|()| output.flush());
            batch.clear();
            if closed {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Line<'_> {
        Line {
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
        }
    }

    fn log() -> AccessLog {
        let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
        AccessLog { buffer: Arc::default(), metrics }
    }

    #[test]
    fn lines_arrive_in_order_and_hostile_text_stays_on_its_line() {
        let log = log();
        log.log(&line("/a"));
        log.log(&line("/b\n{\"status\":200}"));
        log.buffer.lock().closed = true;
        let mut output = Vec::new();
        log.buffer.write(&mut output);
        let text = String::from_utf8(output).unwrap();
        let paths: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(paths, ["/a", "/b\n{\"status\":200}"]);
    }

    #[test]
    fn where_nobody_reads_lines_are_counted_and_memory_is_bounded() {
        let log = log();
        let long = "x".repeat(64 * 1024);
        for _ in 0..100 {
            log.log(&line(&long));
        }
        assert!(log.buffer.lock().lines.len() <= WAITING_BYTES_MAX);
        assert!((30..100).contains(&log.metrics.access_log_dropped.get()));
    }

    #[test]
    fn a_thread_that_waits_hears_of_a_line() {
        let log = log();
        let buffer = log.buffer.clone();
        let thread = std::thread::spawn(move || {
            let mut output = Vec::new();
            buffer.write(&mut output);
            output
        });
        log.log(&line("/a"));
        log.buffer.lock().closed = true;
        log.buffer.news.notify_one();
        assert!(String::from_utf8(thread.join().unwrap()).unwrap().contains("\"/a\""));
    }
}
