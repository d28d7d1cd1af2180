//! A replica as a process.

use std::sync::Arc;

use eddy_telemetry::prometheus::registry::Registry;
use eddy_telemetry::{Admin, Gauges, Health, Shutdown};

use super::KvComponentError;
use super::metrics::gauges;
use super::options::ServeOptions;
use crate::replicated::{Replicated, serve};

pub(super) async fn run(options: ServeOptions, shutdown: Shutdown) -> Result<(), KvComponentError> {
    let health = Health::default();
    let member = health.part("member");
    let admin = Admin::bind(options.admin_address).await?;
    let transport = options.transport.transport()?;
    let listening = transport.bind(options.bind).await;
    let listener = listening.map_err(|source| KvComponentError::Bind { address: options.bind, source })?;
    let replica = Arc::new(Replicated::open(options.replica(), Some(transport)).await?);
    let mut registry = Registry::default();
    let figures = replica.clone();
    registry.register_collector(Box::new(Gauges(move || gauges(&figures))));
    tokio::spawn(admin.serve(health, registry, shutdown.clone()));
    let serving = tokio::spawn(serve(listener, replica.clone()));
    tracing::info!(address = %options.bind, folder = %options.folder.display(), "serving rows");
    let take_part = async {
        replica.join().await;
        member.ready();
        tracing::info!("a member of the group");
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        () = take_part => Ok(()),
        () = shutdown.requested() => Ok(()),
        error = replica.broken() => Err(error.into()),
    };
    serving.abort();
    replica.close().await;
    ended
}
