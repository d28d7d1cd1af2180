//! A replica as a process.

use std::sync::{Arc, OnceLock};

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
    // Before the replica is open, which may take long: whoever looks after this process must not take it for one that hangs.
    let figures = Arc::new(OnceLock::<Arc<Replicated>>::new());
    let mut registry = Registry::default();
    let scraped = figures.clone();
    registry.register_collector(Box::new(Gauges(move || scraped.get().map(|replica| gauges(replica)).unwrap_or_default())));
    tokio::spawn(admin.serve(health, registry, shutdown.clone()));
    let replica = Arc::new(Replicated::open(options.replica(), Some(transport)).await?);
    let replica = figures.get_or_init(|| replica).clone();
    let serving = tokio::spawn(serve(listener, replica.clone()));
    tracing::info!(address = %options.bind, folder = %options.folder.display(), "serving rows");
    let take_part = async {
        replica.join().await;
        // Whoever lets another replica go counts on this one: it has all that was acknowledged before it says so.
        while let Err(error) = replica.catch_up().await {
            member.not_ready(error.to_string());
        }
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
