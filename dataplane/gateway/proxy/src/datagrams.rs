//! Datagrams that are passed on from a port: each client's to one backend, and the answers back, until the client says nothing any more.
//!
//! Addresses of datagrams are easily made up: what one client costs is bounded, and so is what all do together. What a client said counts, not
//! what a backend answers, or one datagram with somebody else's address would bring them a stream for ever.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use eddy_router::Port;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, consume_budget};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::endpoints::InFlight;
use crate::entry::RouteEntry;
use crate::metrics::Metrics;
use crate::passthrough::{Heard, PassError};
use crate::snapshot::Snapshot;

/// No datagram is longer.
const BYTES_MAX: usize = 65_535;
/// Clients of Routes' ports that are remembered, of all ports and threads together: each has a port of this machine's, of which there are some
/// 28,000.
pub(crate) const CLIENTS_MAX: usize = 16_384;
/// The same of the ports of Gateways, which others open.
pub(crate) const GATEWAYS_CLIENTS_MAX: usize = 8192;
/// To make room, so many are looked at.
const LOOKED_AT: usize = 64;
/// A client whose backend never answered is forgotten after so long a silence.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);
/// Those that say nothing are looked for this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// After a failed read, which is mostly a refusal that is told late.
const PAUSE: Duration = Duration::from_millis(10);
/// Once no more connections are taken, datagrams are passed on for so long: those who send them are told nothing of the end.
const GOES_ON: Duration = Duration::from_secs(3);

thread_local! {
    /// What holds a datagram on its way back: there may be thousands of backends that are waited for.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A port that datagrams come at, of one thread.
pub(crate) struct Datagrams {
    pub(crate) port: Port,
    pub(crate) whose: Whose,
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) shared: DatagramsShared,
}

/// Whose Routes have a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Eddy's own: whoever runs the cluster has opened it, and each has this share of the room for clients.
    Routes(usize),
    /// Those of the Gateway that it is opened for.
    Gateways,
}

/// What the ports that datagrams come at have in common.
#[derive(Clone)]
pub(crate) struct DatagramsShared {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) metrics: Metrics,
    /// Room for clients, of all of them and by all threads.
    pub(crate) clients: Arc<Semaphore>,
    pub(crate) threads: usize,
    pub(crate) closed: watch::Receiver<bool>,
}

/// One client's datagrams.
struct Flow {
    backend: Arc<UdpSocket>,
    address: SocketAddr,
    heard: Heard,
    told: Arc<Told>,
    route: Arc<RouteEntry>,
    answers: JoinHandle<()>,
    _under_way: InFlight,
    _place: OwnedSemaphorePermit,
}

/// What is known of a backend by its answers.
#[derive(Default)]
struct Told {
    is_answered: AtomicBool,
    is_refused: AtomicBool,
}

impl Flow {
    fn is_answered(&self) -> bool {
        self.told.is_answered.load(Ordering::Relaxed)
    }

    /// Whether its backend, or its Route, is there no more.
    fn is_over(&self, route: Option<&Arc<RouteEntry>>) -> bool {
        self.told.is_refused.load(Ordering::Relaxed)
            || route.is_none_or(|route| !route.is_same(&self.route))
            || !self.route.backends.has(self.address)
    }

    /// Whether nothing has come for as long as it may.
    fn is_silent(&self) -> bool {
        let limit = if self.is_answered() { self.route.idle_timeout } else { self.route.idle_timeout.min(UNANSWERED_MAX) };
        self.heard.nothing_since(limit)
    }

    /// Sends on; what cannot be sent now is lost, as datagrams may be. False if the backend refuses.
    fn send(&self, datagram: &[u8]) -> bool {
        self.heard.now();
        !matches!(self.backend.try_send(datagram), Err(error) if error.kind() == ErrorKind::ConnectionRefused)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl Datagrams {
    /// Passes datagrams on until a moment after the listeners close.
    pub(crate) async fn run(self) {
        let mut closed = self.shared.closed.clone();
        let end = async {
            let _ = closed.wait_for(|closed| *closed).await;
            sleep(GOES_ON).await;
        };
        tokio::select! {
            () = self.pass_all() => {}
            () = end => {}
        }
    }

    async fn pass_all(&self) {
        let (mut flows, mut sweep) = (HashMap::new(), interval(SWEEP_EVERY));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                readable = self.socket.readable() => match readable.and_then(|()| self.take(&mut flows)) {
                    Ok(Some((client, datagram))) => self.begin_with(&mut flows, client, &datagram).await,
                    Ok(None) => consume_budget().await,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => sleep(PAUSE).await,
                },
                _ = sweep.tick(), if !flows.is_empty() => {
                    let route = self.route();
                    flows.retain(|_, flow: &mut Flow| !flow.is_over(route.as_ref()) && !flow.is_silent());
                }
            }
        }
    }

    fn route(&self) -> Option<Arc<RouteEntry>> {
        let snapshot = self.shared.snapshot.load();
        match self.whose {
            Whose::Routes(_) => snapshot.ports.get(&self.port).cloned(),
            Whose::Gateways => snapshot.api.get(&self.port)?.passed(""),
        }
    }

    /// Passes one on. Returns it where its client has none to pass it on to yet, or no more.
    fn take(&self, flows: &mut HashMap<SocketAddr, Flow>) -> std::io::Result<Option<(SocketAddr, Vec<u8>)>> {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(BYTES_MAX, 0);
            let (count, client) = self.socket.try_recv_from(buffer)?;
            let datagram = &buffer[..count];
            let flow = flows.get(&client).filter(|flow| !flow.is_over(self.route().as_ref()));
            let is_passed = flow.is_some_and(|flow| flow.send(datagram));
            Ok((!is_passed).then(|| (client, datagram.to_vec())))
        })
    }

    /// Begins with a client, anew if there was one before, and with another backend if there is one.
    async fn begin_with(&self, flows: &mut HashMap<SocketAddr, Flow>, client: SocketAddr, datagram: &[u8]) {
        let refused = flows.remove(&client).map(|flow| flow.address);
        let Some(route) = self.route() else { return };
        match self.begin(client, route, refused, flows).await {
            Ok(flow) => {
                flow.send(datagram);
                flows.insert(client, flow);
            }
            Err(error) => {
                error.label().into_iter().for_each(|reason| self.shared.metrics.not_passed(reason));
                tracing::debug!(%error, %client, port = %self.port, "a datagram was not passed on");
            }
        }
    }

    /// How many clients this port has room for, by this thread.
    fn clients_max(&self) -> usize {
        match self.whose {
            Whose::Routes(share) => share,
            Whose::Gateways => {
                let parts = self.shared.snapshot.load().datagram_shares.get(&self.port).copied().unwrap_or(1);
                (GATEWAYS_CLIENTS_MAX / self.shared.threads / parts).max(1)
            }
        }
    }

    /// A place for one more client; who is here already makes room, of this port only.
    fn place(&self, flows: &mut HashMap<SocketAddr, Flow>) -> Option<OwnedSemaphorePermit> {
        // Its share may be smaller than it was.
        while flows.len() >= self.clients_max() {
            forget_one(flows);
        }
        let place = || self.shared.clients.clone().try_acquire_owned().ok();
        place().or_else(|| {
            forget_one(flows);
            place()
        })
    }

    async fn begin(
        &self,
        client: SocketAddr,
        route: Arc<RouteEntry>,
        refused: Option<SocketAddr>,
        flows: &mut HashMap<SocketAddr, Flow>,
    ) -> Result<Flow, PassError> {
        route.lets_in(client.ip())?;
        let endpoint = route.backends.choose(refused).map_err(|_| PassError::NoEndpoint)?.endpoint;
        let place = self.place(flows).ok_or(PassError::TooMany)?;
        let own: SocketAddr = if endpoint.address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let backend = Arc::new(UdpSocket::bind(own).await?);
        backend.connect(endpoint.address).await?;
        // So that what comes first can be sent at once.
        backend.writable().await?;
        self.shared.metrics.passed.inc();
        let (told, address) = (Arc::new(Told::default()), endpoint.address);
        let answers = tokio::spawn(answer(backend.clone(), self.socket.clone(), client, told.clone()));
        let under_way = InFlight::start(endpoint);
        Ok(Flow { backend, address, heard: Heard::new(), told, route, answers, _under_way: under_way, _place: place })
    }
}

/// Makes room: of some, forgets who has said nothing for longest, those first whose backend never answered.
fn forget_one(flows: &mut HashMap<SocketAddr, Flow>) {
    let some = flows.iter().take(LOOKED_AT);
    let silent = some.min_by_key(|(_, flow)| (flow.is_answered(), flow.heard.last())).map(|(client, _)| *client);
    silent.into_iter().for_each(|client| drop(flows.remove(&client)));
}

/// Passes a backend's datagrams back.
async fn answer(backend: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr, told: Arc<Told>) {
    let pass_one = |buffer: &mut Vec<u8>| {
        buffer.resize(BYTES_MAX, 0);
        let count = backend.try_recv(buffer)?;
        told.is_answered.store(true, Ordering::Relaxed);
        // It is lost where it cannot be sent now, as datagrams may be.
        let _ = socket.try_send_to(&buffer[..count], client);
        Ok::<_, std::io::Error>(())
    };
    while backend.readable().await.is_ok() {
        match BUFFER.with_borrow_mut(pass_one) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return told.is_refused.store(true, Ordering::Relaxed),
            Ok(()) | Err(_) => {}
        }
        // A backend that always has something to say leaves others their turn.
        consume_budget().await;
    }
}
