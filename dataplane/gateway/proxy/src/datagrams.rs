//! Datagrams that are passed on from a port: each client's to one backend, and the answers back, until nobody says anything.

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
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::endpoints::InFlight;
use crate::entry::RouteEntry;
use crate::metrics::Metrics;
use crate::passthrough::{Heard, IDLE_AT_END, PassError};
use crate::snapshot::Snapshot;

/// No datagram is longer.
const BYTES_MAX: usize = 65_535;
/// Clients that a thread remembers of one port. Whoever comes besides is not heard: addresses are easily made up.
const CLIENTS_MAX: usize = 4096;
/// Those that say nothing are looked for this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// After a failed read, which is mostly a backend's refusal told late.
const PAUSE: Duration = Duration::from_millis(10);

thread_local! {
    /// What holds a datagram on its way back: there may be thousands of backends that are waited for.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A port that datagrams come at, of one thread.
pub(crate) struct Datagrams {
    pub(crate) port: Port,
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) metrics: Metrics,
    pub(crate) closed: watch::Receiver<bool>,
}

/// One client's datagrams.
struct Flow {
    backend: Arc<UdpSocket>,
    address: SocketAddr,
    heard: Arc<Heard>,
    /// Its backend refuses it.
    is_refused: Arc<AtomicBool>,
    route: Arc<RouteEntry>,
    answers: JoinHandle<()>,
    _under_way: InFlight,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl Datagrams {
    /// Passes datagrams on until the listeners close, and then until nobody says anything any more.
    pub(crate) async fn run(self) {
        let (mut flows, mut buffer, mut sweep) = (HashMap::new(), vec![0; BYTES_MAX], interval(SWEEP_EVERY));
        let (mut is_closed, mut closed) = (false, self.closed.clone());
        while !is_closed || !flows.is_empty() {
            tokio::select! {
                came = self.socket.recv_from(&mut buffer) => match came {
                    Ok((count, client)) => self.pass(&mut flows, client, &buffer[..count], is_closed).await,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
                _ = sweep.tick() => {
                    let limit = |flow: &Flow| if is_closed { IDLE_AT_END } else { flow.route.idle_timeout };
                    // One whose backend has gone is begun with another.
                    flows.retain(|_, flow| !flow.heard.nothing_since(limit(flow)) && flow.route.backends.has(flow.address));
                }
                _ = closed.wait_for(|closed| *closed), if !is_closed => is_closed = true,
            }
        }
    }

    async fn pass(&self, flows: &mut HashMap<SocketAddr, Flow>, client: SocketAddr, datagram: &[u8], is_closed: bool) {
        let route = self.snapshot.load().ports.get(&self.port).cloned();
        // What a client began with a Route that is another by now, or with a backend that refuses it, it begins anew.
        let is_over = |flow: &Flow| {
            flow.is_refused.load(Ordering::Relaxed) || route.as_ref().is_none_or(|route| !Arc::ptr_eq(route, &flow.route))
        };
        if flows.get(&client).is_some_and(is_over) {
            flows.remove(&client);
        }
        if let Some(flow) = flows.get(&client) {
            flow.heard.now();
            // It is lost where it cannot be sent now, as datagrams may be.
            let _ = flow.backend.try_send(datagram);
            return;
        }
        let Some(route) = route.filter(|_| !is_closed && flows.len() < CLIENTS_MAX) else { return };
        match self.begin(client, route).await {
            Ok(flow) => {
                let _ = flow.backend.send(datagram).await;
                flows.insert(client, flow);
            }
            Err(error) => {
                error.label().into_iter().for_each(|reason| self.metrics.not_passed(reason));
                tracing::debug!(%error, %client, port = %self.port, "a datagram was not passed on");
            }
        }
    }

    async fn begin(&self, client: SocketAddr, route: Arc<RouteEntry>) -> Result<Flow, PassError> {
        route.lets_in(client.ip())?;
        let endpoint = route.backends.choose(None).ok_or(PassError::NoEndpoint)?;
        let own: SocketAddr = if endpoint.address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let backend = Arc::new(UdpSocket::bind(own).await?);
        backend.connect(endpoint.address).await?;
        self.metrics.passed.inc();
        let (heard, is_refused, address) = (Arc::new(Heard::new()), Arc::new(AtomicBool::new(false)), endpoint.address);
        let answers = answer(backend.clone(), self.socket.clone(), client, heard.clone(), is_refused.clone());
        let answers = tokio::spawn(answers);
        Ok(Flow { backend, address, heard, is_refused, route, answers, _under_way: InFlight::start(endpoint) })
    }
}

/// Passes a backend's datagrams back.
async fn answer(
    backend: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    heard: Arc<Heard>,
    is_refused: Arc<AtomicBool>,
) {
    let pass_one = |buffer: &mut Vec<u8>| {
        buffer.resize(BYTES_MAX, 0);
        let count = backend.try_recv(buffer)?;
        heard.now();
        // It is lost where it cannot be sent now, as datagrams may be.
        let _ = socket.try_send_to(&buffer[..count], client);
        Ok::<_, std::io::Error>(())
    };
    while backend.readable().await.is_ok() {
        match BUFFER.with_borrow_mut(pass_one) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return is_refused.store(true, Ordering::Relaxed),
            Ok(()) | Err(_) => {}
        }
    }
}
