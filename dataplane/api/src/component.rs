//! The API as a process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use eddy_authz::feed::{Ages, Feed, NatsError, NatsOptions};
use eddy_listen::listen;
use eddy_telemetry::prometheus::registry::Registry;
use eddy_telemetry::{Admin, AdminError, Gauges, Health, Shutdown, figure};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::follow::Followed;
use crate::metrics::ApiMetrics;
use crate::router::Api;
use crate::{kinds, openapi};

/// The head of a request must come within this.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Whoever takes nothing of what is sent for so long has gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Who may what is known by then, or is not to be known just now.
const FILLED_WITHIN: Duration = Duration::from_secs(10);

/// Options of the API.
#[derive(clap::Args, Clone, Debug)]
pub struct ApiOptions {
    /// Where clients connect
    #[arg(long, default_value = "0.0.0.0:7700")]
    bind: SocketAddr,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, default_value = "0.0.0.0:9090")]
    admin_address: SocketAddr,

    /// A file for what is known of permissions, for when this starts anew while NATS is away
    #[arg(long)]
    permissions_file: PathBuf,

    /// Seconds that permissions may be old for changing anything
    #[arg(long, default_value_t = Ages::default().writes_max.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    writes_age_seconds_max: u64,

    /// Seconds that permissions may be old for reading
    #[arg(long, default_value_t = Ages::default().reads_max.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    reads_age_seconds_max: u64,

    /// More connections at once wait
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections_max: u32,

    #[command(flatten)]
    nats: NatsOptions,
}

/// Why the API ended.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is no Kubernetes to ask.
    #[error("failed to find the Kubernetes API: run in a cluster, or set KUBECONFIG")]
    Kubernetes(#[source] Box<kube::Error>),
    /// Health and metrics cannot be served.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// NATS cannot be reached as it was said.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// The address cannot be listened on.
    #[error("failed to listen on {address}: choose another --bind")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Serves until the end is requested.
///
/// # Errors
/// See [`ApiError`].
pub async fn run(options: ApiOptions, shutdown: Shutdown) -> Result<(), ApiError> {
    let health = Health::default();
    let permissions = health.part("permissions");
    let mut registry = Registry::default();
    let metrics = ApiMetrics::register(&mut registry);
    let admin = Admin::bind(options.admin_address).await?;
    let bound = TcpListener::bind(options.bind).await;
    let listener = bound.map_err(|source| ApiError::Bind { address: options.bind, source })?;
    let client = eddy_watch::client().await.map_err(|error| ApiError::Kubernetes(Box::new(error)))?;
    let ages = Ages {
        writes_max: Duration::from_secs(options.writes_age_seconds_max),
        reads_max: Duration::from_secs(options.reads_age_seconds_max),
    };
    let feed = Feed::open(options.nats.connect("eddy-api").await?, options.permissions_file, ages);
    feed.register(&mut registry);
    let kinds: Vec<_> = kinds::all().into_iter().map(|kind| (kind, Followed::new())).collect();
    let all: Vec<_> = kinds.iter().map(|(_, followed)| followed.clone()).collect();
    let objects = move || {
        let count: usize = all.iter().map(|followed| followed.read().len()).sum();
        vec![("eddy_api_objects", "Objects that are known", figure(count))]
    };
    registry.register_collector(Box::new(Gauges(objects)));
    for (kind, followed) in &kinds {
        let ready = health.part(kind.scope.as_str());
        tokio::spawn(followed.clone().follow(client.clone(), kind.clone(), ready));
    }
    tokio::spawn(admin.serve(health, registry, shutdown.clone()));
    tokio::select! {
        _ = tokio::time::timeout(FILLED_WITHIN, feed.filled()) => permissions.ready(),
        () = shutdown.requested() => return Ok(()),
    }
    tracing::info!(address = %options.bind, "serving the API");
    let document = openapi::document().to_string().into();
    let router = Api::new(feed, client, kinds, metrics.clone(), document, shutdown.clone()).router();
    let serve = |stream| {
        let (router, open, shutdown) = (router.clone(), metrics.connections.clone(), shutdown.clone());
        async move {
            open.inc();
            connection(stream, router, &shutdown).await;
            open.dec();
        }
    };
    listen(listener, options.connections_max as usize, &shutdown, serve).await;
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, shutdown: &Shutdown) {
    let socket = socket2::SockRef::from(&stream);
    if let Err(error) = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_user_timeout(Some(SILENCE_MAX))) {
        tracing::debug!(%error, "a connection was gone at once");
        return;
    }
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(64 * 1024);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = shutdown.requested() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection was cut off");
    }
}
