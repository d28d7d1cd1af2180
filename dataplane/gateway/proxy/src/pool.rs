//! Connections to backends, kept for the next request.
//!
//! Pingora's own pool starts a task for each connection that becomes idle, and ends it when the connection is taken: with
//! hundreds of connections, a quarter of the processor time of a request (docs/benchmarks.md). Here nobody waits for
//! an idle connection to close: whether it did is seen when it is taken, and once a second for all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use pingora_core::protocols::Stream;
use pingora_core::{Error, ErrorType, Result};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::stream::SocketStream;

/// How long an idle connection to a backend is kept. Shorter than most servers' own limit, so that the
/// gateway closes first and no request meets a connection that is just being closed.
pub(crate) const UPSTREAM_KEEPALIVE: Duration = Duration::from_secs(30);
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The connections of one proxy thread.
pub(crate) struct Pool {
    idle: Mutex<Idle<Stream>>,
}

impl Pool {
    /// Keeps up to `capacity` idle connections.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { idle: Mutex::new(Idle::new(capacity)) }
    }

    /// An open connection, and whether it has served a request before.
    ///
    /// # Errors
    /// Where a new one cannot be opened in time.
    pub(crate) async fn connect(&self, address: SocketAddr, timeout: Duration) -> Result<(Stream, bool)> {
        if let Some(stream) = self.idle().take(address, is_open) {
            return Ok((stream, true));
        }
        let connected = tokio::time::timeout(timeout, TcpStream::connect(address)).await;
        let connected = connected.map_err(|_| Error::new_up(ErrorType::ConnectTimedout))?;
        let stream = connected.and_then(|stream| SocketStream::new(stream, address));
        let stream =
            stream.map_err(|error| Error::because(ErrorType::ConnectError, "connecting to a backend", error).into_up())?;
        Ok((Box::new(stream), false))
    }

    /// Keeps a connection on which nothing is under way.
    pub(crate) fn keep(&self, address: SocketAddr, stream: Stream) {
        self.idle().keep(address, stream, Instant::now());
    }

    /// Closes what the other end closed or nobody took for long, for as long as the pool is in use.
    pub(crate) async fn sweep(self: Arc<Self>) {
        let mut interval = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            interval.tick().await;
            if let Some(expired) = Instant::now().checked_sub(UPSTREAM_KEEPALIVE) {
                self.idle().sweep(expired, is_open);
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle<Stream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection is still silent. A backend that says something unasked is not to be trusted with a request.
/// Costs no system call, unless the kernel has told that there is something to read.
fn is_open(stream: &mut Stream) -> bool {
    tokio::task::unconstrained(stream.read(&mut [0])).now_or_never().is_none()
}

/// Idle connections, by whom they lead to, each list from the one that was kept first to the one kept last.
struct Idle<S> {
    lists: HashMap<SocketAddr, Vec<(Instant, S)>>,
    count: usize,
    capacity: usize,
}

impl<S> Idle<S> {
    fn new(capacity: usize) -> Self {
        Self { lists: HashMap::new(), count: 0, capacity }
    }

    /// The one that was kept last: the others may then expire.
    fn take(&mut self, address: SocketAddr, is_open: impl Fn(&mut S) -> bool) -> Option<S> {
        let list = self.lists.get_mut(&address)?;
        while let Some((_, mut connection)) = list.pop() {
            self.count -= 1;
            if is_open(&mut connection) {
                return Some(connection);
            }
        }
        None
    }

    /// Where there is no room, the one that was kept first goes.
    fn keep(&mut self, address: SocketAddr, connection: S, now: Instant) {
        if self.count >= self.capacity {
            let oldest = self.lists.values_mut().filter(|list| !list.is_empty()).min_by_key(|list| list[0].0);
            if let Some(list) = oldest {
                list.remove(0);
                self.count -= 1;
            }
        }
        self.lists.entry(address).or_default().push((now, connection));
        self.count += 1;
    }

    /// Forgets what was kept at `expired` or before, and what is not open.
    fn sweep(&mut self, expired: Instant, is_open: impl Fn(&mut S) -> bool) {
        self.lists.retain(|_, list| {
            list.retain_mut(|(kept, connection)| *kept > expired && is_open(connection));
            !list.is_empty()
        });
        self.count = self.lists.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
    const B: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2);

    fn all_open(_: &mut u8) -> bool {
        true
    }

    #[test]
    fn the_last_one_kept_that_is_still_open_is_taken() {
        let mut idle = Idle::new(8);
        let now = Instant::now();
        for connection in [1, 2, 3] {
            idle.keep(A, connection, now);
        }
        idle.keep(B, 9, now);
        assert_eq!(idle.take(A, |connection: &mut u8| *connection != 3), Some(2));
        assert_eq!(idle.take(A, all_open), Some(1));
        assert_eq!(idle.take(A, all_open), None);
        assert_eq!(idle.take(B, all_open), Some(9));
        assert_eq!(idle.count, 0);
    }

    #[test]
    fn where_there_is_no_room_the_oldest_goes() {
        let mut idle = Idle::new(2);
        let start = Instant::now();
        for (address, connection) in [(A, 1), (B, 2), (B, 3)] {
            idle.keep(address, connection, start + Duration::from_secs(u64::from(connection)));
        }
        assert_eq!((idle.take(A, all_open), idle.take(B, all_open), idle.take(B, all_open)), (None, Some(3), Some(2)));
        let mut none: Idle<u8> = Idle::new(0);
        none.keep(A, 1, start);
        assert_eq!(none.count, 1, "a pool of no connections still lends the last one");
    }

    #[test]
    fn a_sweep_forgets_what_expired_or_closed() {
        let mut idle = Idle::new(8);
        let start = Instant::now();
        for connection in [1, 2, 3] {
            idle.keep(A, connection, start + Duration::from_secs(u64::from(connection)));
        }
        idle.keep(B, 9, start);
        idle.sweep(start + Duration::from_secs(1), |connection| *connection != 3);
        assert_eq!((idle.count, idle.lists.len()), (1, 1));
        assert_eq!(idle.take(A, all_open), Some(2));
    }
}
