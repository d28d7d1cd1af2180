//! The Gateway API: opens ports and addresses for Gateways, lets gateways read their certificates, and says what became of Gateways and Routes.
//! Gateways decide for themselves what they serve, by the same functions; nothing here is on a request's way.
//!
//! What becomes of one object hangs on most others, so all are decided about together, and only what differs is written.

mod certificates;
mod doors;
mod status;
mod stores;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eddy_gateway_api::types::{Gateway, GatewayClass, HttpRoute};
use eddy_gateway_api::{Decision, Place, World, decide, place_of};
use eddy_telemetry::error_chain;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, timeout};

use self::certificates::Certificates;
use self::stores::{Stores, World as Known};
use crate::context::Context;
use crate::error::ReconcileError;

/// Changes that come this soon after one another are decided about together.
const GATHER: Duration = Duration::from_millis(20);
/// More of them wait for the next time.
const GATHER_MAX: usize = 4096;
const NAME: &str = "GatewayApi";

/// Runs until the end is requested.
pub(crate) async fn run(client: Client, context: Arc<Context>, stop: impl Future<Output = ()> + Send) {
    let Some(service_type) = context.gateway_api.clone() else { return stop.await };
    let (stores, mut changes) = Stores::watch(&client);
    let mut engine = Engine { certificates: Certificates::new(client.clone()), client, context, service_type };
    let mut stop = std::pin::pin!(stop);
    let mut next: Option<Instant> = None;
    loop {
        tokio::select! {
            () = &mut stop => return,
            Some(()) = changes.next() => {}
            () = at(next) => {}
        }
        // A list of thousands is decided about once.
        let mut gathered = 0;
        while gathered < GATHER_MAX && matches!(timeout(GATHER, changes.next()).await, Ok(Some(()))) {
            gathered += 1;
        }
        if !stores.are_filled() {
            continue;
        }
        let began = Instant::now();
        let turned = tokio::select! {
            () = &mut stop => return,
            turned = engine.turn(&stores) => turned,
        };
        engine.context.metrics.reconciled(NAME, began.elapsed());
        next = match turned {
            Ok(pause) => {
                engine.context.backoff.succeeded(NAME);
                pause.map(|pause| Instant::now() + pause)
            }
            Err(error) => {
                let pause = engine.context.backoff.failed(NAME.to_owned());
                engine.context.metrics.failed(NAME, error.label());
                tracing::warn!(
                    error = error_chain(&error),
                    pause_s = pause.as_secs(),
                    "failed to act on the Gateway API's objects"
                );
                Some(Instant::now() + pause)
            }
        };
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

struct Engine {
    client: Client,
    context: Arc<Context>,
    certificates: Certificates,
    /// Of the Services that have Gateways' addresses.
    service_type: String,
}

impl Engine {
    /// Makes and says all that follows from what is there. Returns when to look again, if nothing changes before.
    async fn turn(&mut self, stores: &Stores) -> Result<Option<Duration>, ReconcileError> {
        let known = stores.known();
        let (gateways, routes) = (known.gateways(), known.routes());
        let grants = known.grants();
        let world = World {
            gateways: &gateways,
            http_routes: &routes,
            grants: &grants,
            namespaces: &known.namespaces,
            services: &known.services,
        };
        let decision = decide(&world);
        let mut failed = None;
        for class in known.classes.iter().filter(|class| status::is_ours(class)) {
            keep_first(&mut failed, self.write_class(class).await);
        }
        keep_first(&mut failed, self.certificates.grant(&decision, stores, &self.context).await);
        let pause = self.certificates.look(&decision).await;
        let opened = self.open(&known, &gateways, &decision, &mut failed).await;
        for gateway in &gateways {
            keep_first(&mut failed, self.write_gateway(gateway, &decision, &opened).await);
        }
        let decided: BTreeMap<&Place, _> = decision.http_routes.iter().map(|decided| (&decided.route, decided)).collect();
        for route in &routes {
            let after = status::route(route, decided.get(&place_of(*route)).copied(), Timestamp::now());
            if after != route.status.clone().unwrap_or_default() {
                let api = Api::<HttpRoute>::namespaced(self.client.clone(), &route.namespace().unwrap_or_default());
                keep_first(&mut failed, write(&api, *route, &after).await);
            }
        }
        failed.map_or(Ok(pause), Err)
    }

    /// Makes a Service for each Gateway, and removes those of Gateways that are gone. Returns them by Gateway.
    async fn open(
        &self,
        known: &Known,
        gateways: &[&Gateway],
        decision: &Decision,
        failed: &mut Option<ReconcileError>,
    ) -> BTreeMap<Place, Service> {
        let services = known.opened(&self.context.system_namespace);
        let mut plan = doors::Plan::new(services.iter().map(|(_, service)| &**service));
        let mut opened = BTreeMap::new();
        for gateway in gateways {
            let place = place_of(*gateway);
            let Some(decided) = decision.gateways.get(&place) else { continue };
            let name = doors::name(gateway);
            let observed = services.iter().find(|(_, service)| service.name_any() == name).map(|(_, service)| &**service);
            let ports = doors::ports(decided);
            let desired = match plan.service(gateway, &ports, &self.context.system_namespace, &self.service_type) {
                Some(desired) if !ports.is_empty() => desired,
                _ => continue,
            };
            match self.context.applier.apply(&desired, observed).await {
                Ok(applied) => drop(applied.or_else(|| observed.cloned()).map(|service| opened.insert(place, service))),
                Err(error) => keep_first(failed, Err(error)),
            }
        }
        for (of, service) in &services {
            if !opened.contains_key(of) && failed.is_none() {
                keep_first(failed, self.context.applier.delete(Some(&**service)).await);
            }
        }
        opened
    }

    async fn write_class(&self, class: &GatewayClass) -> Result<(), ReconcileError> {
        let after = status::class(class, Timestamp::now());
        if class.status.as_ref() == Some(&after) {
            return Ok(());
        }
        write(&Api::<GatewayClass>::all(self.client.clone()), class, &after).await
    }

    async fn write_gateway(
        &self,
        gateway: &Gateway,
        decision: &Decision,
        opened: &BTreeMap<Place, Service>,
    ) -> Result<(), ReconcileError> {
        let place = place_of(gateway);
        let Some(decided) = decision.gateways.get(&place) else { return Ok(()) };
        let addresses = opened.get(&place).map(doors::addresses).unwrap_or_default();
        let wrong = |secret: &Place| self.certificates.problem(secret);
        let after = status::gateway(gateway, decided, addresses, wrong, Timestamp::now());
        if gateway.status.as_ref() == Some(&after) {
            return Ok(());
        }
        let api = Api::<Gateway>::namespaced(self.client.clone(), &place.namespace);
        write(&api, gateway, &after).await
    }
}

/// Goes on with the others where one fails, and tells of the first that did.
fn keep_first(failed: &mut Option<ReconcileError>, result: Result<(), ReconcileError>) {
    if let Err(error) = result {
        failed.get_or_insert(error);
    }
}

/// Writes a status over the one that was seen, and over no other: parents of other controllers are in it as well.
async fn write<K>(api: &Api<K>, seen: &K, status: &impl Serialize) -> Result<(), ReconcileError>
where
    K: ResourceExt + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patch = json!({"metadata": {"resourceVersion": seen.resource_version()}, "status": status});
    match api.patch_status(&seen.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        // It is another by now, or gone, which will be seen in a moment.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(()),
        Err(source) => Err(ReconcileError::Status(Box::new(source))),
    }
}
