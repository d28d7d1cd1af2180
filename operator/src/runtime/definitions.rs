//! Waiting for the custom resource definitions, so that chart and definitions may be installed in any order.

use std::time::Duration;

use eddy_telemetry::Readiness;
use kube::Client;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Waits until the API server serves every kind.
pub(super) async fn wait(client: &Client, readiness: &Readiness) {
    let mut told = false;
    loop {
        let missing = missing(client).await;
        if missing.is_empty() {
            readiness.ready();
            return;
        }
        let what = format!("not served by the Kubernetes API: {} (install the chart eddy-crds)", missing.join(", "));
        if !told {
            tracing::warn!(what, "waiting");
            told = true;
        }
        readiness.not_ready(what);
        tokio::time::sleep(PAUSE).await;
    }
}

/// The kinds that the API server does not serve. Discovery is open to every client, so this needs no right.
async fn missing(client: &Client) -> Vec<String> {
    let served: Vec<String> = match client.list_api_group_resources("eddy.cloud/v1alpha1").await {
        Ok(list) => list.resources.into_iter().map(|resource| resource.kind).collect(),
        Err(error) => {
            tracing::debug!(%error, "failed to discover eddy.cloud/v1alpha1");
            Vec::new()
        }
    };
    let wanted = eddy_crds::all().into_iter().map(|definition| definition.spec.names.kind);
    wanted.filter(|kind| !served.contains(kind)).collect()
}
