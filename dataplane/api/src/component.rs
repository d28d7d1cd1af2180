//! The API as a process.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use eddy_audit::Recorder;
use eddy_authz::feed::{FeedOptions, NatsError};
use eddy_http::{HEAD_WITHIN, connection, hearing, listen};
use eddy_telemetry::prometheus::registry::Registry;
use eddy_telemetry::{Admin, AdminError, Gauges, Health, Shutdown, figure};
use tokio::net::{TcpListener, TcpStream};

use crate::follow::Followed;
use crate::kubernetes_audit::Audits;
use crate::metrics::ApiMetrics;
use crate::router::Api;
use crate::token_review::{TokenReviewError, TokenReviewOptions};
use crate::{kinds, openapi};

/// Whoever takes nothing of what is sent for so long has gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Options of the API.
#[derive(clap::Args, Clone, Debug)]
pub struct ApiOptions {
    /// Where clients connect
    #[arg(long, default_value = "0.0.0.0:7700")]
    bind: SocketAddr,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, default_value = "0.0.0.0:9090")]
    admin_address: SocketAddr,

    /// More connections at once wait
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections_max: u32,

    #[command(flatten)]
    permissions: FeedOptions,

    #[command(flatten)]
    token_reviews: TokenReviewOptions,
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
    /// Tokens cannot be reviewed as it was said.
    #[error(transparent)]
    TokenReviews(#[from] TokenReviewError),
    /// Nobody is known.
    #[error("the API asks who may what: give --permissions-file and --nats-servers")]
    NoPermissions,
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
    let reviews = options.token_reviews.open().await?;
    let client = eddy_watch::client().await.map_err(|error| ApiError::Kubernetes(Box::new(error)))?;
    let feed = options.permissions.open("eddy-api", &mut registry).await?.ok_or(ApiError::NoPermissions)?;
    let (recorder, writing) = Recorder::open(&options.permissions.nats.connect("eddy-api-audit").await?, &mut registry);
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
        () = feed.filled_soon() => permissions.ready(),
        () = shutdown.requested() => return Ok(()),
    }
    if let Some(reviews) = reviews {
        let core = client.default_namespace().to_owned();
        let audits = options.token_reviews.kubernetes_audit_token_file;
        let audits = audits.map(|file| Audits::new(file, core, feed.clone(), recorder.clone(), metrics.clone()));
        tokio::spawn(reviews.serve(feed.clone(), metrics.clone(), audits, shutdown.clone()));
    }
    tracing::info!(address = %options.bind, "serving the API");
    let document = openapi::document().to_string().into();
    let router = Api::new(feed, client, kinds, metrics.clone(), document, shutdown.clone(), recorder).router();
    let serve = |stream| {
        let (router, open, shutdown) = (router.clone(), metrics.connections.clone(), shutdown.clone());
        async move {
            open.inc();
            served(stream, router, &shutdown).await;
            open.dec();
        }
    };
    listen(listener, options.connections_max as usize, &shutdown, serve).await;
    writing.end().await;
    Ok(())
}

async fn served(stream: TcpStream, router: Router, shutdown: &Shutdown) {
    let socket = socket2::SockRef::from(&stream);
    if let Err(error) = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_user_timeout(Some(SILENCE_MAX))) {
        tracing::debug!(%error, "a connection was gone at once");
        return;
    }
    let Ok(peer) = stream.peer_addr() else { return };
    let router = router.layer(Extension(ConnectInfo(peer)));
    connection(stream, hearing(router), HEAD_WITHIN, shutdown).await;
}
