//! The gateway as a process: threads, readiness, and an end without a failed request.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use eddy_authz::feed::NatsError;
use eddy_gateway_api::DOOR_PORTS;
use eddy_router::{Port, Transport};
use eddy_telemetry::{Admin, AdminError, Health, Readiness, Shutdown, Tracer};
use eddy_tls::Watched;
use pingora_core::apps::HttpServerOptions;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::http_proxy;
use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, watch};

use crate::access_log::AccessLog;
use crate::compress::COMPRESSORS_MAX;
use crate::datagrams::{CLIENTS_MAX, Datagrams, DatagramsShared, GATEWAYS_CLIENTS_MAX, Whose};
use crate::listener::{self, Acceptor, Door, Drain, Gateways, Leads};
use crate::metrics::Metrics;
use crate::mirror;
use crate::options::{GatewayOptions, only};
use crate::persist::{self, PersistError};
use crate::pool::Pool;
use crate::proxy::Gateway;
use crate::rate::Rates;
use crate::snapshot::Snapshot;
use crate::tls::{self, Terminator, TerminatorError};
use crate::watch::{self as kubernetes, Compiler};

/// Idle connections to backends that each thread keeps.
const UPSTREAM_POOL: usize = 512;
/// Requests at once on a connection of HTTP/2.
const HTTP2_STREAMS: u32 = 64;
/// What is held of an answer that its client does not take.
const HTTP2_SEND_BYTES: usize = 32 * 1024;
/// A connection of HTTP/2 without a request for so long is closed.
const HTTP2_IDLE: Duration = Duration::from_secs(120);
/// More tries of one request than any route may ask for.
const RETRIES_MAX: usize = 16;

/// Why the gateway ended.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address is taken or not of this machine.
    #[error("failed to listen on {address} for clients: choose another --listen")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A port is given twice, or is the gateway's own, or one of those that are opened for Gateways.
    #[error("{0} is there already, or is for Gateways (20000 to 29999): choose another --port")]
    Port(Port),
    /// A thread could not be started.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
    /// There is no way to the Kubernetes API.
    #[error("failed to find the Kubernetes API: run in a cluster, or set KUBECONFIG")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file of `--static-file` is not there.
    #[error("there is no file {0}")]
    NoFile(PathBuf),
    /// A snapshot file cannot be used.
    #[error(transparent)]
    Persist(#[from] PersistError),
    /// NATS cannot be reached as it was said.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// A network is none.
    #[error(transparent)]
    Network(#[from] eddy_router::NetworkError),
    /// Clients cannot speak TLS.
    #[error(transparent)]
    Tls(#[from] TerminatorError),
    /// Health and metrics cannot be served.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Requests were under way for longer than they may be.
    #[error(transparent)]
    Shutdown(#[from] eddy_telemetry::ShutdownError),
}

/// Serves until the end is requested, then drains. Requests become spans of `tracer`, if there is one.
///
/// # Errors
/// Where it cannot start, or requests are cut off at the deadline.
pub async fn run(options: GatewayOptions, tracer: Option<Tracer>, shutdown: Shutdown) -> Result<(), GatewayError> {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let health = Health::default();
    let (routes, draining) = (health.part("routes"), health.part("listener"));
    let admin = Admin::bind(options.admin_address).await?;
    let permissions = options.permissions.open("eddy-gateway", &mut registry).await?;
    // Health and metrics are there to the very end, so they do not heed the request to end.
    tokio::spawn(admin.serve(health, registry, Shutdown::default()));

    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let system_namespace = options.gateway_api.then(|| options.platform.namespace().to_owned());
    let compiler = Compiler::new(options.platform.routes(), system_namespace, snapshot.clone(), metrics.clone());
    let opened = compiler.opened();
    let watches = feed(&options, compiler, routes).await?;

    let (announce, announced) = watch::channel(false);
    let (close, closed) = watch::channel(false);
    let log = options.access_log.then(|| AccessLog::start(metrics.clone())).transpose().map_err(GatewayError::Thread)?;
    let (access_log, log_writer) = log.unzip();
    let (believed, rates) = (only(&options.trusted_proxies)?, Arc::new(Rates::default()));
    let compressors = Arc::new(Semaphore::new(COMPRESSORS_MAX));
    let gateway = || Gateway {
        snapshot: snapshot.clone(),
        metrics: metrics.clone(),
        access_log: access_log.clone(),
        tracer: tracer.clone(),
        pool: Arc::new(Pool::new(UPSTREAM_POOL)),
        permissions: permissions.clone(),
        believed: believed.clone(),
        tls_public_port: options.tls_public_port,
        rates: rates.clone(),
        copies: mirror::room(),
        bridges: Arc::default(),
        compressors: compressors.clone(),
    };
    check_ports(&options)?;
    let tls = terminator(&options, &snapshot)?;
    let threads = start_threads(&options, gateway, tls, (&snapshot, &metrics, &opened), &announced, &closed)?;
    tracing::info!(address = %options.listen, threads = threads.len(), "serving HTTP");
    if let Some(permissions) = &permissions {
        // One that knows nobody yet would refuse whom others know; without NATS it serves what everyone may see all the same.
        tokio::select! {
            () = permissions.filled_soon() => {}
            () = shutdown.requested() => {}
        }
    }
    draining.ready();

    shutdown.requested().await;
    draining.not_ready("draining");
    announce.send_replace(true);
    tokio::time::sleep(Duration::from_secs(options.drain_delay_seconds)).await;
    close.send_replace(true);
    tracing::info!(connections = metrics.connections.get(), "listeners closed, waiting for requests under way");
    let ended = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
    let drained = shutdown.run(Duration::from_secs(options.drain_deadline_seconds), ended).await;
    if let Some(writer) = log_writer {
        writer.finish().await;
    }
    watches.abort();
    let _ = drained?;
    tracing::info!("drained");
    Ok(())
}

/// Where TLS ends, if clients may speak it.
fn terminator(options: &GatewayOptions, snapshot: &Arc<ArcSwap<Snapshot>>) -> Result<Option<Terminator>, TerminatorError> {
    let (Some(_), Some(folder)) = (options.listen_tls, &options.tls_folder) else { return Ok(None) };
    Terminator::new(snapshot.clone(), Watched::open(folder, tls::own)?).map(Some)
}

/// Starts what keeps the snapshot up to date.
async fn feed(
    options: &GatewayOptions,
    mut compiler: Compiler,
    routes: Readiness,
) -> Result<tokio::task::JoinHandle<()>, GatewayError> {
    if let Some(path) = &options.static_file {
        let inputs = persist::load(path)?.ok_or_else(|| GatewayError::NoFile(path.clone()))?;
        compiler.restore(inputs);
        routes.ready();
        return Ok(tokio::spawn(std::future::pending()));
    }
    if let Some(path) = &options.state_file {
        match persist::load(path) {
            Ok(Some(inputs)) => {
                tracing::info!(routes = inputs.routes.len(), "serving what was served before the restart");
                compiler.restore(inputs);
                routes.ready();
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "starting without the last snapshot"),
        }
    }
    let client = kube::Client::try_default().await.map_err(|error| GatewayError::Client(Box::new(error)))?;
    Ok(tokio::spawn(kubernetes::run(client, compiler, options.state_file.clone(), routes)))
}

/// One thread a processor, each with a runtime, a listener and a pool of its own: a request never crosses threads.
fn start_threads(
    options: &GatewayOptions,
    gateway: impl Fn() -> Gateway,
    tls: Option<Terminator>,
    (snapshot, metrics, opened): (&Arc<ArcSwap<Snapshot>>, &Metrics, &watch::Receiver<BTreeSet<Port>>),
    announced: &watch::Receiver<bool>,
    closed: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, GatewayError> {
    let count = options.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1).max(1);
    let mut threads = Vec::with_capacity(count);
    let room = |clients_max| Arc::new(Semaphore::new(clients_max));
    let (clients, gateways_clients) = (room(CLIENTS_MAX), room(GATEWAYS_CLIENTS_MAX));
    let shared = |clients: &Arc<Semaphore>| DatagramsShared {
        snapshot: snapshot.clone(),
        metrics: metrics.clone(),
        clients: clients.clone(),
        threads: count,
        closed: closed.clone(),
    };
    let balancers = only(&options.proxy_protocol_from)?;
    let terminators = Arc::<Mutex<HashMap<u16, Terminator>>>::default();
    for number in 0..count {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(GatewayError::Thread)?;
        let (doors, datagrams) = {
            let _entered = runtime.enter();
            (doors(options, tls.as_ref(), snapshot)?, datagrams(options, &shared(&clients))?)
        };
        let gateway = gateway();
        let (metrics, connections_max) = (gateway.metrics.clone(), options.max_connections.div_ceil(count).max(1));
        let (balancers, head_within) = (balancers.clone(), Duration::from_secs(options.request_head_seconds));
        let gateways = Gateways {
            address: options.listen.ip(),
            opened: opened.clone(),
            snapshot: snapshot.clone(),
            terminators: terminators.clone(),
            datagrams: shared(&gateways_clients),
        };
        let drain = Drain { announced: announced.clone(), closed: closed.clone() };
        let thread = std::thread::Builder::new().name(format!("proxy-{number}")).spawn(move || {
            runtime.block_on(async move {
                tokio::spawn(gateway.pool.clone().sweep());
                let mut proxy = http_proxy(&Arc::new(configuration()), gateway);
                proxy.server_options = Some(server_options());
                proxy.h2_options = Some(http2_options());
                let proxy = Arc::new(proxy);
                Acceptor { proxy, metrics, connections_max, balancers, head_within, drain }.run(doors, datagrams, gateways).await;
            });
        });
        threads.push(thread.map_err(GatewayError::Thread)?);
    }
    Ok(threads)
}

/// A thread's listeners for connections.
fn doors(
    options: &GatewayOptions,
    tls: Option<&Terminator>,
    snapshot: &Arc<ArcSwap<Snapshot>>,
) -> Result<Vec<Door>, GatewayError> {
    let ports = options.ports.iter().filter(|port| port.transport == Transport::Tcp);
    let ports = ports.map(|port| (at(options, *port), Leads::Port(*port, snapshot.clone())));
    let tls = options.listen_tls.zip(tls).map(|(address, tls)| (address, Leads::Tls(tls.clone())));
    let all = std::iter::once((options.listen, Leads::Http)).chain(tls).chain(ports);
    let bind = |(address, leads)| {
        let listener = listener::bind(address).map_err(|source| GatewayError::Bind { address, source })?;
        Ok(Door { listener, leads })
    };
    all.map(bind).collect()
}

/// A thread's ports for datagrams.
fn datagrams(options: &GatewayOptions, shared: &DatagramsShared) -> Result<Vec<Datagrams>, GatewayError> {
    let ports: Vec<&Port> = options.ports.iter().filter(|port| port.transport == Transport::Udp).collect();
    // Each port, and each thread, has its share; with few ports, they leave room for others.
    let share = (CLIENTS_MAX / shared.threads / ports.len().max(2)).max(1);
    let bind = |port: &Port| {
        let address = at(options, *port);
        let socket = listener::bind_datagrams(address).map_err(|source| GatewayError::Bind { address, source })?;
        Ok(Datagrams { port: *port, whose: Whose::Routes(share), socket: Arc::new(socket), shared: shared.clone() })
    };
    ports.into_iter().map(bind).collect()
}

/// Where a port is, beside the one for HTTP.
fn at(options: &GatewayOptions, port: Port) -> SocketAddr {
    SocketAddr::new(options.listen.ip(), port.number)
}

/// Ports are shared by the threads, and so would be one that is given twice, or the gateway's own.
fn check_ports(options: &GatewayOptions) -> Result<(), GatewayError> {
    let own = [Some(options.listen), options.listen_tls, Some(options.admin_address)];
    let mut taken: HashSet<Port> =
        own.into_iter().flatten().map(|address| Port { transport: Transport::Tcp, number: address.port() }).collect();
    let is_gateways = |port: &Port| options.gateway_api && DOOR_PORTS.contains(&port.number);
    match options.ports.iter().find(|port| !taken.insert(**port) || is_gateways(port)) {
        Some(port) => Err(GatewayError::Port(*port)),
        None => Ok(()),
    }
}

/// What one connection of HTTP/2 may cost: whoever asks for much and takes nothing holds so much of each answer.
fn http2_options() -> H2Options {
    let mut options = default_h2_options();
    options.max_concurrent_streams(HTTP2_STREAMS).max_send_buffer_size(HTTP2_SEND_BYTES);
    options
}

/// HTTP/2 is spoken with whoever begins with it, also without TLS.
fn server_options() -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    // Without it, connections that nobody uses stay for ever.
    options.h2_idle_timeout = Some(HTTP2_IDLE);
    options
}

fn configuration() -> ServerConf {
    ServerConf { threads: 1, upstream_keepalive_pool_size: UPSTREAM_POOL, max_retries: RETRIES_MAX, ..ServerConf::default() }
}
