//! The listener for whoever runs the process: /healthz, /readyz and /metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::process_metrics::ProcessMetrics;
use crate::{Health, Shutdown};

/// The content type of the OpenMetrics text format, version 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The administrator's listener.
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why the administrator's listener failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken or not of this machine.
    #[error("failed to listen on {address} for health and metrics: choose another --admin-address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Serving ended.
    #[error("failed to serve health and metrics")]
    Serve(#[source] std::io::Error),
}

struct Served {
    health: Health,
    registry: Registry,
}

impl Admin {
    /// Opens the listener.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub async fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        let wrap = |source| AdminError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(wrap)?;
        let address = listener.local_addr().map_err(wrap)?;
        Ok(Self { listener, address })
    }

    /// The address listened on, with the port that was chosen where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the end is requested.
    ///
    /// # Errors
    /// Where the listener breaks.
    pub async fn serve(self, health: Health, mut registry: Registry, shutdown: Shutdown) -> Result<(), AdminError> {
        registry.register_collector(Box::new(ProcessMetrics));
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(Arc::new(Served { health, registry }));
        tracing::info!(address = %self.address, "serving health and metrics");
        axum::serve(self.listener, router)
            .with_graceful_shutdown(async move { shutdown.requested().await })
            .await
            .map_err(AdminError::Serve)
    }
}

async fn readyz(State(served): State<Arc<Served>>) -> Response {
    let obstacles = served.health.obstacles();
    if obstacles.is_empty() {
        return "ok\n".into_response();
    }
    let text: String = obstacles.iter().map(|(part, why)| format!("{part}: {why}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn metrics(State(served): State<Arc<Served>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &served.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readiness_and_metrics_are_answered_over_http() {
        let (health, shutdown) = (Health::default(), Shutdown::default());
        let part = health.part("routes");
        let admin = Admin::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let url = format!("http://{}", admin.address());
        let server = tokio::spawn(admin.serve(health, Registry::default(), shutdown.clone()));

        // The client of the graph asks for one, even without TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        assert_eq!(reqwest::get(format!("{url}/healthz")).await.unwrap().status(), 200);
        let refused = reqwest::get(format!("{url}/readyz")).await.unwrap();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.text().await.unwrap(), "routes: starting\n");
        part.ready();
        assert_eq!(reqwest::get(format!("{url}/readyz")).await.unwrap().status(), 200);
        let metrics = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
        assert!(metrics.contains("process_resident_memory_bytes") && metrics.ends_with("# EOF\n"), "{metrics}");

        shutdown.request();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let first = Admin::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let error = Admin::bind(first.address()).await.err().unwrap();
        assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    }
}
