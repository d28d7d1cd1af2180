//! Our own accept loop around Pingora's HTTP proxy: one a thread, so that listeners can come and go at run time.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use eddy_router::{AddressFilter, Port, Transport};
use eddy_telemetry::error_chain;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::{IO, Peek};
use pingora_proxy::HttpProxy;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::clients::LetIn;
use crate::datagrams::{Datagrams, DatagramsShared, Whose};
use crate::entry::RouteEntry;
use crate::gateway_api::Comes;
use crate::head::Head;
use crate::metrics::Metrics;
use crate::passthrough::pass;
use crate::proxy::Gateway;
use crate::proxy_protocol::{self, ProxyProtocolError};
use crate::snapshot::Snapshot;
use crate::stream::{CameTo, SocketStream};
use crate::tls::{Begins, HandshakeError, Terminator, TerminatorError, asked};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;
/// A handshake that has begun when the listeners close ends within this.
const HANDSHAKE_AT_END: Duration = Duration::from_secs(2);
/// Whoever takes nothing of what is sent for so long has gone.
pub(crate) const TAKES_NOTHING_MAX: Duration = Duration::from_secs(900);
/// Ports have this part of all connections at most, together.
const PORTS_SHARE: usize = 2;
/// The wait after a port could not be opened for a Gateway.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// The wait after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens a listener that others of this process share the address with: the kernel spreads connections over them.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The same for datagrams: of each client, they come to one of those who share the address.
pub(crate) fn bind_datagrams(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// How a listener is told to end.
pub(crate) struct Drain {
    /// True from the request to end: responses ask clients to close.
    pub(crate) announced: watch::Receiver<bool>,
    /// True when no more connections are taken, and idle ones are closed.
    pub(crate) closed: watch::Receiver<bool>,
}

/// One of a thread's listeners.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) leads: Leads,
}

/// Where a listener leads.
#[derive(Clone)]
pub(crate) enum Leads {
    /// To requests.
    Http,
    /// To requests by TLS, or on to backends that end TLS.
    Tls(Terminator),
    /// On to the backends of whichever Route has a port.
    Port(Port, Arc<ArcSwap<Snapshot>>),
    /// To what is served at a Gateway's port, by TLS or without.
    Gateway(SocketAddr, Terminator, Arc<ArcSwap<Snapshot>>),
}

/// The ports that are opened for Gateways, while everything else goes on.
pub(crate) struct Gateways {
    pub(crate) address: IpAddr,
    pub(crate) opened: watch::Receiver<BTreeSet<Port>>,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    /// What ends TLS at each, of all threads: who comes back to another is known there.
    pub(crate) terminators: Arc<Mutex<HashMap<u16, Terminator>>>,
    pub(crate) datagrams: DatagramsShared,
}

/// A port that was opened for a Gateway.
enum Opened {
    Connections(Door),
    Datagrams(Datagrams),
}

impl Gateways {
    fn open(&self, port: Port) -> Result<Opened, OpenError> {
        let address = SocketAddr::new(self.address, port.number);
        if port.transport == Transport::Udp {
            let socket = Arc::new(bind_datagrams(address)?);
            return Ok(Opened::Datagrams(Datagrams { port, whose: Whose::Gateways, socket, shared: self.datagrams.clone() }));
        }
        let terminator = match self.terminators.lock().unwrap_or_else(PoisonError::into_inner).entry(port.number) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => place.insert(Terminator::of_gateway(self.snapshot.clone(), port.number)?).clone(),
        };
        let leads = Leads::Gateway(address, terminator, self.snapshot.clone());
        Ok(Opened::Connections(Door { listener: bind(address)?, leads }))
    }
}

/// Why a port could not be opened for a Gateway.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("failed to listen")]
    Bind(#[from] std::io::Error),
    #[error(transparent)]
    Tls(#[from] TerminatorError),
}

/// One thread's accept loops.
pub(crate) struct Acceptor {
    pub(crate) proxy: Arc<HttpProxy<Gateway>>,
    pub(crate) metrics: Metrics,
    pub(crate) connections_max: usize,
    /// Who says first whom a connection is from; none if nobody does.
    pub(crate) balancers: Option<Arc<AddressFilter>>,
    /// A request of HTTP/1 comes within this, but for its body.
    pub(crate) head_within: Duration,
    pub(crate) drain: Drain,
}

impl Acceptor {
    /// Accepts at all doors until they are closed, then waits until every connection has ended.
    pub(crate) async fn run(self, doors: Vec<Door>, datagrams: Vec<Datagrams>, gateways: Gateways) {
        let permits = Arc::new(Semaphore::new(self.connections_max));
        let ports = Arc::new(Semaphore::new((self.connections_max / PORTS_SHARE).max(1)));
        let accepting = join_all(doors.into_iter().map(|door| self.accept(door, permits.clone(), &ports)));
        let datagrams = join_all(datagrams.into_iter().map(Datagrams::run));
        tokio::join!(accepting, datagrams, self.follow(gateways, &permits, &ports));
        self.proxy.http_cleanup().await;
        // All permits are back when the last connection has ended.
        let all = u32::try_from(self.connections_max).unwrap_or(u32::MAX);
        let _ = permits.acquire_many(all).await;
    }

    /// Opens and closes ports for Gateways as they come and go, until all are closed.
    async fn follow(&self, mut gateways: Gateways, permits: &Arc<Semaphore>, ports: &Arc<Semaphore>) {
        let (mut open, mut accepting) = (BTreeMap::new(), FuturesUnordered::new());
        let mut closed = self.drain.closed.clone();
        loop {
            let wanted = gateways.opened.borrow_and_update().clone();
            // To forget what keeps one open closes it; what came by it goes on.
            open.retain(|port, _| wanted.contains(port));
            let mut all_open = true;
            for port in wanted {
                if open.contains_key(&port) {
                    continue;
                }
                match gateways.open(port) {
                    Ok(opened) => {
                        let (keeper, gone) = oneshot::channel::<()>();
                        open.insert(port, keeper);
                        let served = async move {
                            match opened {
                                Opened::Connections(door) => self.accept(door, permits.clone(), ports).await,
                                Opened::Datagrams(datagrams) => datagrams.run().await,
                            }
                        };
                        accepting.push(async move {
                            tokio::select! {
                                () = served => {}
                                _ = gone => {}
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(
                            %port,
                            error = error_chain(&error),
                            "failed to open a port for a Gateway; it is tried again"
                        );
                        all_open = false;
                    }
                }
            }
            tokio::select! {
                changed = gateways.opened.changed() => if changed.is_err() { break },
                Some(()) = accepting.next() => {}
                () = tokio::time::sleep(OPEN_AGAIN), if !all_open => {}
                _ = closed.wait_for(|closed| *closed) => break,
            }
        }
        while accepting.next().await.is_some() {}
    }

    async fn accept(&self, door: Door, permits: Arc<Semaphore>, ports: &Arc<Semaphore>) {
        let Self { proxy, metrics, balancers, drain, head_within, .. } = self;
        let head_within = *head_within;
        let room = matches!(door.leads, Leads::Port(..)).then(|| ports.clone());
        let (Door { listener, leads }, mut drained) = (door, drain.closed.clone());
        loop {
            let accepted = tokio::select! {
                // What the kernel has taken already is served, even when it is time to close.
                biased;
                accepted = listener.accept() => accepted,
                _ = drained.wait_for(|closed| *closed) => break,
            };
            match accepted {
                Ok((stream, client)) => {
                    let Ok(place) = room.clone().map(Semaphore::try_acquire_owned).transpose() else {
                        // It is closed: ports leave room for requests.
                        metrics.not_passed("too_many");
                        continue;
                    };
                    // Not before there is somebody to use it: who waits for others to come has no place of theirs.
                    let permit = tokio::select! {
                        biased;
                        permit = permits.clone().acquire_owned() => permit,
                        _ = drained.wait_for(|closed| *closed) => break,
                    };
                    let Ok(permit) = permit else { break };
                    // Nothing else bounds how long what is flushed waits for whoever takes nothing.
                    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(TAKES_NOTHING_MAX));
                    let (proxy, announced, mut closed) = (proxy.clone(), drain.announced.clone(), drain.closed.clone());
                    let (leads, metrics, passing) = (leads.clone(), metrics.clone(), closed.clone());
                    let ports = ports.clone();
                    let counted = Counted::start(metrics.clone());
                    let is_balancer = balancers.as_ref().is_some_and(|balancers| balancers.lets_in(client.ip()));
                    tokio::spawn(async move {
                        let begin = begin(stream, client, is_balancer, &leads, &metrics);
                        // Who has said nothing until the end has nothing to lose; a handshake may be under way.
                        let grace =
                            if matches!(leads, Leads::Tls(_) | Leads::Gateway(..)) { HANDSHAKE_AT_END } else { Duration::ZERO };
                        let ended = async {
                            let _ = closed.wait_for(|closed| *closed).await;
                            tokio::time::sleep(grace).await;
                        };
                        let begun = tokio::select! {
                            biased;
                            begun = begin => begun,
                            () = ended => Ok(None),
                        };
                        match begun {
                            Ok(Some(Begun::Served(stream, None))) => serve(stream, &proxy, &announced).await,
                            Ok(Some(Begun::Served(stream, Some(head)))) => {
                                if head.watch(head_within, serve(stream, &proxy, &announced)).await.is_none() {
                                    metrics.late_heads.inc();
                                }
                            }
                            Ok(Some(Begun::Passed(stream, from, route))) => {
                                // At the ports of Gateways it is known only now that it is not requests.
                                let is_gateways = matches!(leads, Leads::Gateway(..));
                                let Ok(_place) = is_gateways.then(|| ports.try_acquire_owned()).transpose() else {
                                    metrics.not_passed("too_many");
                                    return;
                                };
                                if let Err(error) = pass(stream, from.ip(), &route, &metrics, passing).await {
                                    error.label().into_iter().for_each(|reason| metrics.not_passed(reason));
                                    tracing::debug!(%error, %from, route = route.id, "a connection was passed on no longer");
                                }
                            }
                            Ok(None) => {}
                            Err(error) => tracing::debug!(%error, %client, "a connection ended before it began"),
                        }
                        drop((permit, counted, place));
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Why a connection ended before it began.
#[derive(Debug, thiserror::Error)]
enum BeginError {
    #[error(transparent)]
    ProxyProtocol(#[from] ProxyProtocolError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("no Route has the port {0}")]
    NoRoute(Port),
    #[error("the connection broke")]
    Socket(#[from] std::io::Error),
}

/// What a connection is.
enum Begun {
    /// Requests, which are answered here; of HTTP/1, with what is known of how they come.
    Served(Box<dyn IO>, Option<Arc<Head>>),
    /// What is passed on, whoever it is from, by this Route.
    Passed(Box<dyn IO>, SocketAddr, Arc<RouteEntry>),
}

/// Waits until a connection says something, by TLS where that is spoken; whom it is from, a balancer says first. None where it says nothing
/// more.
async fn begin(
    mut stream: TcpStream,
    client: SocketAddr,
    is_balancer: bool,
    leads: &Leads,
    metrics: &Metrics,
) -> Result<Option<Begun>, BeginError> {
    let said = if is_balancer { proxy_protocol::read(&mut stream).await? } else { None };
    let from = said.unwrap_or(client);
    let gateways = match leads {
        Leads::Gateway(address, _, snapshot) => {
            let port = snapshot.load().api.get(&Port::tcp(address.port())).cloned();
            // It has just gone.
            let Some(port) = port else { return Ok(None) };
            Some((CameTo { port: address.port(), owner: port.owner }, port))
        }
        Leads::Http | Leads::Tls(_) | Leads::Port(..) => None,
    };
    let came_to = gateways.as_ref().map(|(came_to, _)| *came_to);
    let mut stream = SocketStream::at(stream, from, came_to)?;
    if let Leads::Port(port, snapshot) = leads {
        let route = snapshot.load().ports.get(port).cloned();
        return route.map(|route| Some(Begun::Passed(Box::new(stream), from, route))).ok_or(BeginError::NoRoute(*port));
    }
    if let Leads::Tls(tls) = leads {
        match tls.begun(&mut stream).await {
            Ok(Begins::Passed(route)) => return Ok(Some(Begun::Passed(Box::new(stream), from, route))),
            Ok(Begins::Looked(handshake)) => {
                counted(Terminator::show(stream, handshake).await, metrics)?;
                return Ok(None);
            }
            Ok(Begins::Ended) => {}
            Err(error) => {
                metrics.handshakes_failed.inc();
                return Err(error.into());
            }
        }
    }
    let ends = match (leads, gateways) {
        (Leads::Tls(tls), _) => Some((tls, false)),
        (Leads::Gateway(_, tls, snapshot), Some((came_to, port))) => {
            let comes = match port.comes() {
                Comes::Named => port.comes_for(asked(&mut stream).await?.as_deref()),
                other => other,
            };
            match comes {
                Comes::Requests | Comes::Named => None,
                // There is nobody who could be let in.
                Comes::Tls | Comes::Ended(_) if matches!(port.let_in, Some(LetIn::Nobody)) => return Ok(None),
                Comes::Tls => Some((tls, port.let_in.is_some())),
                Comes::Passed(route) => return Ok(route.map(|route| Begun::Passed(Box::new(stream), from, route))),
                Comes::Ended(None) => return Ok(None),
                Comes::Ended(Some(route)) => {
                    let stream = counted(tls.accept(stream, true, port.let_in.is_some()).await, metrics)?;
                    let now = snapshot.load().api.get(&Port::tcp(came_to.port)).map(|port| port.owner);
                    if now != Some(came_to.owner) {
                        return Ok(None);
                    }
                    return Ok(Some(Begun::Passed(Box::new(stream), from, route)));
                }
            }
        }
        _ => None,
    };
    if let Some((tls, asks)) = ends {
        let mut stream = counted(tls.accept(stream, false, asks).await, metrics)?;
        stream.begins().await?;
        let (head, is_http2) = stream.tell();
        return Ok(Some(Begun::Served(Box::new(stream), (!is_http2).then_some(head))));
    }
    // What it says is read again by whoever serves it.
    if stream.try_peek(&mut [0; 1]).await.is_err() {
        return Ok(None);
    }
    let (head, is_http2) = stream.tell();
    Ok(Some(Begun::Served(Box::new(stream), (!is_http2).then_some(head))))
}

/// Counts how a handshake ended.
fn counted<T>(accepted: Result<T, HandshakeError>, metrics: &Metrics) -> Result<T, HandshakeError> {
    let counter = if accepted.is_ok() { &metrics.handshakes } else { &metrics.handshakes_failed };
    counter.inc();
    accepted
}

async fn serve(stream: Box<dyn IO>, proxy: &Arc<HttpProxy<Gateway>>, announced: &watch::Receiver<bool>) {
    let mut next = Some(stream);
    while let Some(stream) = next {
        next = proxy.process_new(stream, announced).await;
    }
}

/// Counts a connection as open for as long as it lives.
struct Counted(Metrics);

impl Counted {
    fn start(metrics: Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
