//! Pingora's connections to backends that are reached by TLS.
//!
//! Pingora is given one end of a pair of sockets, whose other end speaks TLS with the backend: what it could be given of TLS itself checks no names
//! but the one that TLS is begun for.

use std::collections::HashMap;
use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddress;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::upstreams::peer::{Tracer, Tracing};
use pingora_core::{Error, ErrorType, OrErr, Result};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;

use crate::passthrough::{Heard, one_way};
use crate::secured::{Secured, Speaks};

/// Once Pingora has dropped its end: to pass on what it wrote before, and to tell the backend that this is the end, which it may not take.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The bridges of a thread that are open, by Pingora's end of each.
#[derive(Debug, Default)]
pub(crate) struct Bridges {
    open: Mutex<HashMap<RawFd, Arc<Bridge>>>,
    keys: RandomState,
}

/// What is known of a bridge.
#[derive(Debug, Default)]
pub(crate) struct Bridge {
    /// The backend's end broke, or ended without saying so, as TLS does (RFC 8446, section 6.1).
    is_broken: AtomicBool,
    /// Pingora has dropped its end.
    hung_up: Notify,
}

impl Bridge {
    /// Whether what came of the backend may not have been all.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }
}

impl Bridges {
    /// The bridge that Pingora has this end of.
    pub(crate) fn at(&self, end: RawFd) -> Option<Arc<Bridge>> {
        self.open().get(&end).cloned()
    }

    /// What connections to an address are told apart by, of those who are to be somebody else there.
    pub(crate) fn key(&self, secured: &Secured, address: SocketAddr) -> u64 {
        self.keys.hash_one((secured.id(), address))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<RawFd, Arc<Bridge>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes Pingora's connections to a backend. The address that Pingora asks for is none: it would look whether it has a connection to that one.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) secured: Arc<Secured>,
    pub(crate) address: SocketAddr,
    pub(crate) speaks: Speaks,
    pub(crate) bridges: Arc<Bridges>,
}

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, _: &PingoraAddress) -> Result<Stream> {
        let connected = self.secured.connect(self.address, self.speaks).await;
        let backend = connected.or_err(ErrorType::TLSHandshakeFailure, "connecting to a backend by TLS");
        let backend = backend.map_err(Error::into_up)?;
        let (ours, theirs) = UnixStream::pair().or_err(ErrorType::ConnectError, "making a pair of sockets")?;
        let (end, bridge) = (ours.as_raw_fd(), Arc::new(Bridge::default()));
        let mut stream = Stream::from(ours);
        stream.tracer = Some(Tracer(Box::new(End { bridges: self.bridges.clone(), end, bridge: bridge.clone() })));
        self.bridges.open().insert(end, bridge.clone());
        tokio::spawn(join(theirs, backend, bridge));
        Ok(stream)
    }
}

/// Tells when Pingora drops its end.
#[derive(Clone, Debug)]
struct End {
    bridges: Arc<Bridges>,
    end: RawFd,
    bridge: Arc<Bridge>,
}

impl Tracing for End {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        self.bridges.open().remove(&self.end);
        self.bridge.hung_up.notify_one();
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

/// Passes on what is said both ways, until whoever asks has ended: no request is half a connection.
async fn join(asks: UnixStream, backend: TlsStream<TcpStream>, bridge: Arc<Bridge>) {
    let (mut asking, mut backend, heard) = (asks.into_split(), tokio::io::split(backend), Heard::new());
    let answers = async {
        if one_way(&mut backend.0, &mut asking.1, &heard).await.is_err() {
            bridge.is_broken.store(true, Ordering::Release);
            let _ = asking.1.shutdown().await;
        }
        pending::<()>().await;
    };
    let requests = async {
        if one_way(&mut asking.0, &mut backend.1, &heard).await.is_err() {
            // A backend that takes no more may have answered.
            pending::<()>().await;
        }
    };
    let dropped = async {
        bridge.hung_up.notified().await;
        // What was written before is still passed on, if the backend takes it.
        sleep(END_WITHIN).await;
    };
    tokio::select! {
        () = requests => {}
        () = answers => {}
        () = dropped => {}
    }
}
