//! The Gateway API: opens ports and addresses for Gateways, lets gateways read their certificates, and says what became of Gateways and Routes.
//! Gateways decide for themselves what they serve, by the same functions; nothing here is on a request's way.
//!
//! What becomes of one object hangs on most others, so all are decided about together, and only what differs is written.

mod certificates;
mod conditions;
mod doors;
mod listener_status;
mod policy_status;
mod status;
mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use eddy_gateway_api::types::{BackendTlsPolicy, Gateway, GatewayClass, ListenerSet, PolicyStatus, RouteStatus};
use eddy_gateway_api::{Decision, ListenerSetDecision, Place, PolicyDecision, RouteDecision, RouteKind, World, decide, place_of};
use eddy_router::Port;
use eddy_telemetry::error_chain;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, timeout};

use self::certificates::{Certificates, Named};
use self::doors::Plan;
use self::listener_status::Opening;
use self::stores::{Stores, World as Known};
use crate::context::{Context, GatewayApi};
use crate::error::ReconcileError;
use crate::reconcile;

/// Changes that come this soon after one another are decided about together.
const GATHER: Duration = Duration::from_millis(20);
/// No longer than this.
const GATHER_MAX: Duration = Duration::from_millis(500);
/// Between two looks whether everything has been listed.
const FILLED_AGAIN: Duration = Duration::from_millis(200);
/// A turn ends within this.
const TURN_WITHIN: Duration = Duration::from_secs(60);
const NAME: &str = "GatewayApi";

/// Runs until the end is requested.
pub(crate) async fn run(client: Client, context: Arc<Context>, stop: impl Future<Output = ()> + Send) {
    let Some(settings) = context.gateway_api.clone() else { return stop.await };
    let (stores, mut changes) = Stores::watch(&client);
    let (certificates, plan) = (Certificates::new(client.clone()), Plan::default());
    let mut engine = Engine { client, context, certificates, plan, settings, own_sets: BTreeSet::new() };
    let mut stop = std::pin::pin!(stop);
    let mut next: Option<Instant> = None;
    loop {
        tokio::select! {
            () = &mut stop => return,
            Some(()) = changes.next() => {}
            () = at(next) => {}
        }
        // A list of thousands is decided about once; whoever changes something all the time keeps nobody waiting.
        let gathered = Instant::now() + GATHER_MAX;
        while Instant::now() < gathered && matches!(timeout(GATHER, changes.next()).await, Ok(Some(()))) {}
        if !stores.are_filled() {
            // A list of nothing is no change that anybody would be told of.
            next = Some(Instant::now() + FILLED_AGAIN);
            continue;
        }
        let began = Instant::now();
        let turned = tokio::select! {
            () = &mut stop => return,
            turned = guarded(&mut engine, &stores) => turned,
        };
        engine.context.metrics.reconciled(NAME, began.elapsed());
        next = turned.pause.map(|pause| Instant::now() + pause);
        match turned.failed {
            None => engine.context.backoff.succeeded(NAME),
            Some(error) => {
                let pause = engine.context.backoff.failed(NAME.to_owned());
                engine.context.metrics.failed(NAME, error.label());
                tracing::warn!(
                    error = error_chain(&error),
                    pause_s = pause.as_secs(),
                    "failed to act on the Gateway API's objects"
                );
                let again = Instant::now() + pause;
                next = Some(next.map_or(again, |next| next.min(again)));
            }
        }
    }
}

/// What a turn came to.
#[derive(Default)]
struct Turned {
    /// When to look again, if nothing changes before.
    pause: Option<Duration>,
    /// The first thing that failed.
    failed: Option<ReconcileError>,
}

/// One turn. Neither a fault of ours nor an API server that does not answer ends what comes after.
async fn guarded(engine: &mut Engine, stores: &Stores) -> Turned {
    let failed = |error| Turned { pause: None, failed: Some(error) };
    match timeout(TURN_WITHIN, AssertUnwindSafe(engine.turn(stores)).catch_unwind()).await {
        Ok(Ok(turned)) => turned,
        Ok(Err(panic)) => failed(ReconcileError::Panicked(reconcile::text(&*panic))),
        Err(_) => failed(ReconcileError::Timeout(TURN_WITHIN)),
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
    plan: Plan,
    settings: GatewayApi,
    /// ListenerSets that were for Gateways that are run here.
    own_sets: BTreeSet<Place>,
}

impl Engine {
    /// Makes and says all that follows from what is there.
    async fn turn(&mut self, stores: &Stores) -> Turned {
        let known = stores.known();
        let (gateways, listener_sets) = (known.gateways(), known.listener_sets());
        let (grants, tls_policies) = (known.grants(), known.tls_policies());
        let (http_routes, grpc_routes) = (known.http_routes(), known.grpc_routes());
        let (tls_routes, tcp_routes, udp_routes) = (known.tls_routes(), known.tcp_routes(), known.udp_routes());
        let world = World {
            gateways: &gateways,
            listener_sets: &listener_sets,
            http_routes: &http_routes,
            grpc_routes: &grpc_routes,
            tls_routes: &tls_routes,
            tcp_routes: &tcp_routes,
            udp_routes: &udp_routes,
            tls_policies: Some(&tls_policies),
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
        for set in &listener_sets {
            keep_first(&mut failed, self.write_listener_set(set, &known, &decision, &opened).await);
        }
        let policies: BTreeMap<&Place, _> = decision.policies.iter().map(|decided| (&decided.policy, decided)).collect();
        for policy in &tls_policies {
            keep_first(&mut failed, self.write_policy(policy, policies.get(&place_of(*policy)).copied()).await);
        }
        let decided: BTreeMap<(RouteKind, &Place), _> =
            decision.routes.iter().map(|decided| ((decided.kind, &decided.route), decided)).collect();
        macro_rules! write_all {
            ($routes:expr, $kind:expr) => {
                for route in $routes {
                    let decided = decided.get(&($kind, &place_of(route))).copied();
                    keep_first(&mut failed, self.write_route(route, route.status.as_ref(), decided).await);
                }
            };
        }
        write_all!(http_routes, RouteKind::Http);
        write_all!(grpc_routes, RouteKind::Grpc);
        write_all!(tls_routes, RouteKind::Tls);
        write_all!(tcp_routes, RouteKind::Tcp);
        write_all!(udp_routes, RouteKind::Udp);
        Turned { pause, failed }
    }

    /// Makes a Service for each Gateway, and removes those of Gateways that are gone. Returns what is open.
    async fn open(
        &mut self,
        known: &Known,
        gateways: &[&Gateway],
        decision: &Decision,
        failed: &mut Option<ReconcileError>,
    ) -> Opened {
        let services = known.opened(&self.context.system_namespace);
        let kept: BTreeSet<String> = known.kept().map(doors::name).collect();
        self.plan.learn(&services, &kept);
        let mut opened = Opened::default();
        for gateway in gateways {
            let place = place_of(*gateway);
            let Some(decided) = decision.gateways.get(&place) else { continue };
            let name = doors::name(gateway);
            let observed = services.iter().find(|service| service.name_any() == name).copied();
            let planned = self.plan.service(gateway, decided, &self.context.system_namespace, &self.settings);
            opened.missing.insert(place.clone(), planned.missing);
            let applied = match &planned.service {
                Some(desired) => self.context.applier.apply(desired, observed).await,
                // Its addresses stay while it is mended.
                None => Ok(None),
            };
            match applied {
                Ok(applied) => drop(applied.or_else(|| observed.cloned()).map(|service| opened.services.insert(place, service))),
                Err(error) => {
                    // It goes on to be served as it was.
                    observed.cloned().into_iter().for_each(|service| drop(opened.services.insert(place.clone(), service)));
                    keep_first(failed, Err(error));
                }
            }
        }
        for service in services.into_iter().filter(|service| !kept.contains(&service.name_any())) {
            keep_first(failed, self.context.applier.delete(Some(service)).await);
        }
        opened
    }

    async fn write_route<K>(
        &self,
        route: &K,
        before: Option<&RouteStatus>,
        decided: Option<&RouteDecision>,
    ) -> Result<(), ReconcileError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let none = RouteStatus::default();
        let before = before.unwrap_or(&none);
        let after = status::route(before, route.meta().generation, decided, Timestamp::now());
        if after == *before {
            return Ok(());
        }
        write(&Api::namespaced(self.client.clone(), &route.namespace().unwrap_or_default()), route, &after).await
    }

    async fn write_class(&self, class: &GatewayClass) -> Result<(), ReconcileError> {
        let after = status::class(class, Timestamp::now());
        if class.status.as_ref() == Some(&after) {
            return Ok(());
        }
        write(&Api::<GatewayClass>::all(self.client.clone()), class, &after).await
    }

    async fn write_gateway(&self, gateway: &Gateway, decision: &Decision, opened: &Opened) -> Result<(), ReconcileError> {
        let place = place_of(gateway);
        let Some(decided) = decision.gateways.get(&place) else { return Ok(()) };
        let wrong = |named: &Named| self.certificates.problem(named);
        let of_gateway = |set: &&ListenerSetDecision| set.gateway == place && set.problem.is_none();
        let sets = decision.listener_sets.iter().filter(|(_, set)| of_gateway(set));
        let sets = sets.filter(|(set, _)| status::has_good_listener(decided, set, &wrong)).count();
        let opening = opened.of(&place);
        let after = status::gateway(gateway, decided, sets, &opening, &wrong, Timestamp::now());
        if gateway.status.as_ref() == Some(&after) {
            return Ok(());
        }
        let api = Api::<Gateway>::namespaced(self.client.clone(), &place.namespace);
        write(&api, gateway, &after).await
    }

    async fn write_listener_set(
        &mut self,
        set: &ListenerSet,
        known: &Known,
        decision: &Decision,
        opened: &Opened,
    ) -> Result<(), ReconcileError> {
        let place = place_of(set);
        let decided = decision.listener_sets.get(&place).and_then(|set| Some((set, decision.gateways.get(&set.gateway)?)));
        let Some((decided, gateway)) = decided else {
            return if self.own_sets.remove(&place) { self.write_parentless(set, known).await } else { Ok(()) };
        };
        self.own_sets.insert(place.clone());
        let wrong = |named: &Named| self.certificates.problem(named);
        let after = status::listener_set(set, (decided, gateway), &opened.of(&decided.gateway), &wrong, Timestamp::now());
        if set.status.as_ref() == Some(&after) {
            return Ok(());
        }
        write(&Api::<ListenerSet>::namespaced(self.client.clone(), &place.namespace), set, &after).await
    }
}

impl Engine {
    async fn write_policy(&self, policy: &BackendTlsPolicy, decided: Option<&PolicyDecision>) -> Result<(), ReconcileError> {
        let none = PolicyStatus::default();
        let before = policy.status.as_ref().unwrap_or(&none);
        let wrong = |map: &Place| self.certificates.problem(&Named::Authorities(map.clone()));
        let after = policy_status::policy(before, policy.metadata.generation, decided, wrong, Timestamp::now());
        if after == *before {
            return Ok(());
        }
        write(&Api::namespaced(self.client.clone(), &policy.namespace().unwrap_or_default()), policy, &after).await
    }

    /// Of a ListenerSet whose Gateway is gone nobody says any more that it is served. Those of Gateways that others run are theirs.
    async fn write_parentless(&self, set: &ListenerSet, known: &Known) -> Result<(), ReconcileError> {
        let Some(after) =
            set.status.as_ref().filter(|_| !known.has_parent(set)).and_then(|_| status::parentless(set, Timestamp::now()))
        else {
            return Ok(());
        };
        write(&Api::<ListenerSet>::namespaced(self.client.clone(), &place_of(set).namespace), set, &after).await
    }
}

/// What is open for Gateways.
#[derive(Default)]
struct Opened {
    services: BTreeMap<Place, Service>,
    /// The ports that cannot be.
    missing: BTreeMap<Place, BTreeSet<Port>>,
}

impl Opened {
    fn of(&self, gateway: &Place) -> Opening {
        let addresses = self.services.get(gateway).map(doors::addresses).unwrap_or_default();
        Opening { addresses, missing: self.missing.get(gateway).cloned().unwrap_or_default() }
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
