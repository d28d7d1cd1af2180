//! Keeping the snapshot up to date from two watches of the Kubernetes API.
//!
//! The last good snapshot goes on being served while the API server is away: a watch that fails is tried again
//! with growing pauses, and nothing is forgotten until a complete new list is there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use eddy_crds::{CONTAINER_LABEL, Domain, Route};
use eddy_router::{Claimant, Claims, Port};
use eddy_telemetry::Readiness;
use eddy_watch::watch;
use futures::future::OptionFuture;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::{mpsc, watch as notice};

use crate::authorities::KnownAuthorities;
use crate::challenges::KnownChallenges;
use crate::endpoints::Registry;
use crate::gateway_api::{self, ApiChange, ApiInputs, Kinds};
use crate::inputs::{AuthorityInput, DomainInput, Inputs, Place, RouteInput, SecretInput, SliceInput, place_of};
use crate::metrics::Metrics;
use crate::named::{Seen, Watches};
use crate::persist;
use crate::secrets::Secrets;
use crate::snapshot::{Snapshot, compile};

/// Changes that come this soon after one another are compiled together: a list of thousands is one compilation.
const GATHER: Duration = Duration::from_millis(2);
/// The least time between two writes of the state file.
const SAVE_PAUSE: Duration = Duration::from_secs(2);
/// A gateway that has just started waits no longer for certificates before it serves what it knows.
const CERTIFICATES_WITHIN: Duration = Duration::from_secs(5);
/// Changes that may wait for the compiler; the watches pause when it is this far behind.
const WAITING_MAX: usize = 1024;

/// A change to what is served.
#[derive(Debug)]
pub(crate) enum Change {
    Route(Box<RouteInput>),
    RouteGone(Place),
    AllRoutes(Vec<RouteInput>),
    Domain(DomainInput),
    DomainGone(Place),
    AllDomains(Vec<DomainInput>),
    Slice(SliceInput),
    SliceGone(Place),
    AllSlices(Vec<SliceInput>),
    Secret(Place, Seen<SecretInput>),
    Authorities(Place, Seen<AuthorityInput>),
    GatewayApi(Box<ApiChange>),
}

/// Compiles changes into the snapshot.
pub(crate) struct Compiler {
    /// The platform's own.
    platform: Vec<RouteInput>,
    routes: BTreeMap<Place, RouteInput>,
    domains: BTreeMap<Place, DomainInput>,
    challenges: KnownChallenges,
    registry: Registry,
    secrets: Secrets,
    authorities: KnownAuthorities,
    /// The Gateway API's objects, and the namespace of the Services that say what is opened for Gateways; none if those are not served.
    gateway_api: Option<(ApiInputs, String)>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// The ports that are to be open for Gateways.
    opened: notice::Sender<BTreeSet<Port>>,
    metrics: Metrics,
}

/// What is served from, and is watched by its name.
struct Named {
    secrets: HashSet<Place>,
    config_maps: HashSet<Place>,
}

impl Compiler {
    /// One that knows nothing yet but the platform's own Routes. `system_namespace` is where it is told what to open for Gateways, if those of the
    /// Gateway API are served.
    pub(crate) fn new(
        platform: Vec<RouteInput>,
        system_namespace: Option<String>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        metrics: Metrics,
    ) -> Self {
        let (routes, domains, registry) = (BTreeMap::new(), BTreeMap::new(), Registry::default());
        let (secrets, authorities) = (Secrets::default(), KnownAuthorities::default());
        let gateway_api = system_namespace.map(|namespace| (ApiInputs::default(), namespace));
        let (opened, _) = notice::channel(BTreeSet::new());
        let challenges = KnownChallenges::default();
        Self { platform, routes, domains, challenges, registry, secrets, authorities, gateway_api, snapshot, opened, metrics }
    }

    /// The ports that are to be open for Gateways, as they come and go.
    pub(crate) fn opened(&self) -> notice::Receiver<BTreeSet<Port>> {
        self.opened.subscribe()
    }

    /// Starts from what was served before.
    pub(crate) fn restore(&mut self, inputs: Inputs) {
        self.registry.replace(inputs.slices);
        self.secrets.restore(inputs.secrets);
        self.authorities.restore(inputs.authorities);
        if let Some((known, _)) = &mut self.gateway_api {
            *known = inputs.gateway_api;
        }
        self.routes = inputs.routes.into_iter().map(|route| (route.place.clone(), route)).collect();
        self.domains = inputs.domains.into_iter().map(|domain| (domain.place.clone(), domain)).collect();
        self.compile();
    }

    /// Takes in a change; true if routes have to be compiled anew. Endpoints are live at once.
    fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Route(route) => self.routes.insert(route.place.clone(), *route.clone()).as_ref() != Some(&*route),
            Change::RouteGone(place) => self.routes.remove(&place).is_some(),
            Change::AllRoutes(routes) => {
                self.routes = routes.into_iter().map(|route| (route.place.clone(), route)).collect();
                true
            }
            Change::Domain(domain) => self.domains.insert(domain.place.clone(), domain.clone()).as_ref() != Some(&domain),
            Change::DomainGone(place) => self.domains.remove(&place).is_some(),
            Change::AllDomains(domains) => {
                self.domains = domains.into_iter().map(|domain| (domain.place.clone(), domain)).collect();
                true
            }
            Change::Slice(slice) => {
                self.registry.apply(slice);
                false
            }
            Change::SliceGone(place) => {
                self.registry.delete(&place);
                false
            }
            Change::AllSlices(slices) => {
                self.registry.replace(slices);
                false
            }
            Change::Secret(place, seen) => self.secrets.apply(&place, seen),
            Change::Authorities(place, seen) => self.authorities.apply(&place, seen),
            Change::GatewayApi(change) => {
                self.gateway_api.as_mut().is_some_and(|(known, system_namespace)| known.apply(*change, system_namespace))
            }
        }
    }

    /// Compiles what is known. Returns what is served from by its name.
    fn compile(&mut self) -> Named {
        let routes = self.platform.iter().chain(self.routes.values());
        let platform = self.platform.iter().map(|route| Claimant::platform(&route.place.namespace, route.spec.hosts.clone()));
        let stronger: Vec<Claimant> = platform.chain(self.domains.values().filter_map(DomainInput::claimant)).collect();
        let holders = Claims::decide(stronger.iter().cloned());
        let mut snapshot = compile(routes, &stronger, self.secrets.certificates(), &mut self.registry);
        let holding = self.domains.values().filter(|domain| holders.holds(&domain.place.namespace, &domain.host));
        snapshot.challenges = self.challenges.of(holding);
        if let Some((known, _)) = &self.gateway_api {
            snapshot = snapshot.with(gateway_api::compile(
                known,
                self.secrets.certificates(),
                &mut self.authorities,
                &mut self.registry,
            ));
        }
        self.metrics.compilations.inc();
        self.metrics.routes_served.set(i64::try_from(snapshot.served).unwrap_or(i64::MAX));
        self.metrics.routes_left_out.set(i64::try_from(snapshot.left_out).unwrap_or(i64::MAX));
        self.metrics.certificates.set(i64::try_from(snapshot.certificates.count()).unwrap_or(i64::MAX));
        tracing::debug!(
            served = snapshot.served,
            left_out = snapshot.left_out,
            hosts = snapshot.table.hosts(),
            "snapshot compiled"
        );
        let named = Named { secrets: snapshot.named.clone(), config_maps: snapshot.config_maps.clone() };
        let opened = snapshot.api.keys().copied().collect();
        // Whoever comes to a port finds what is served there.
        self.snapshot.store(Arc::new(snapshot));
        self.opened.send_if_modified(|before| std::mem::replace(before, opened) != *before);
        self.registry.prune();
        self.authorities.prune();
        named
    }

    fn inputs(&self) -> Inputs {
        Inputs {
            routes: self.routes.values().cloned().collect(),
            domains: self.domains.values().cloned().collect(),
            slices: self.registry.slices(),
            secrets: self.secrets.inputs(),
            authorities: self.authorities.inputs(),
            gateway_api: self.gateway_api.as_ref().map(|(known, _)| known.clone()).unwrap_or_default(),
        }
    }
}

/// Watches both kinds, and the Secrets that Routes name, for as long as it is polled.
pub(crate) async fn run(client: Client, mut compiler: Compiler, state_file: Option<PathBuf>, readiness: Readiness) {
    let (changes, mut waiting) = mpsc::channel(WAITING_MAX);
    let with_api = compiler.gateway_api.is_some();
    let watches = futures::future::join4(
        watch_routes(client.clone(), changes.clone(), compiler.metrics.clone()),
        watch_domains(client.clone(), changes.clone(), compiler.metrics.clone()),
        watch_slices(client.clone(), changes.clone(), compiler.metrics.clone(), with_api),
        OptionFuture::from(with_api.then(|| gateway_api::follow(client.clone(), changes.clone(), compiler.metrics.clone()))),
    );
    let secret = |place, seen: Seen<Secret>| Change::Secret(place, seen.map(SecretInput::of));
    let authorities = |place, seen: Seen<ConfigMap>| Change::Authorities(place, seen.map(AuthorityInput::of));
    let mut secrets = Watches::new(client.clone(), changes.clone(), secret);
    let mut config_maps = Watches::new(client, changes, authorities);
    let compile = async {
        let (mut routes_listed, mut domains_listed, mut slices_listed) = (false, false, false);
        let mut kinds_listed = Kinds::default();
        let (mut save_at, mut ready_at) = (None, None);
        loop {
            let change = tokio::select! {
                change = waiting.recv() => change,
                () = at(save_at) => {
                    save_at = None;
                    save(state_file.as_ref(), compiler.inputs()).await;
                    continue;
                }
                () = at(ready_at) => {
                    ready_at = None;
                    readiness.ready();
                    continue;
                }
            };
            let Some(first) = change else { return };
            let mut changed = false;
            let mut next = Some(first);
            while let Some(change) = next {
                routes_listed |= matches!(change, Change::AllRoutes(_));
                domains_listed |= matches!(change, Change::AllDomains(_));
                slices_listed |= matches!(change, Change::AllSlices(_));
                if let Change::GatewayApi(change) = &change {
                    kinds_listed.note(change);
                }
                changed |= compiler.apply(change);
                next = tokio::time::timeout(GATHER, waiting.recv()).await.ok().flatten();
            }
            if changed {
                let named = compiler.compile();
                compiler.secrets.want(&named.secrets, secrets.want(&named.secrets));
                compiler.authorities.want(&named.config_maps, config_maps.want(&named.config_maps));
            }
            if routes_listed && domains_listed && slices_listed {
                let are_heard = compiler.secrets.are_heard() && compiler.authorities.are_heard();
                if are_heard && (!with_api || kinds_listed.are_all()) {
                    readiness.ready();
                } else if ready_at.is_none() {
                    // Hosts would have no certificate of their own for a moment, and Gateways nothing; but what is not there yet may never be.
                    ready_at = Some(tokio::time::Instant::now() + CERTIFICATES_WITHIN);
                }
            }
            if state_file.is_some() && save_at.is_none() {
                save_at = Some(tokio::time::Instant::now() + SAVE_PAUSE);
            }
        }
    };
    tokio::join!(watches, compile);
}

async fn at(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn save(path: Option<&PathBuf>, inputs: Inputs) {
    let Some(path) = path.cloned() else { return };
    let saved = tokio::task::spawn_blocking(move || persist::save(&path, &inputs)).await;
    if let Ok(Err(error)) = saved {
        tracing::warn!(%error, "the snapshot would not survive a restart now");
    }
}

async fn watch_routes(client: Client, changes: mpsc::Sender<Change>, metrics: Metrics) {
    let kind = Kind {
        name: "Routes",
        read: |route| well_formed(route, RouteInput::of),
        one: |route| Change::Route(Box::new(route)),
        gone: Change::RouteGone,
        all: Change::AllRoutes,
    };
    kind.follow(watch(Api::<DeserializeGuard<Route>>::all(client), watcher::Config::default()), changes, metrics).await;
}

async fn watch_domains(client: Client, changes: mpsc::Sender<Change>, metrics: Metrics) {
    let kind = Kind {
        name: "Domains",
        read: |domain| well_formed(domain, DomainInput::of),
        one: Change::Domain,
        gone: Change::DomainGone,
        all: Change::AllDomains,
    };
    kind.follow(watch(Api::<DeserializeGuard<Domain>>::all(client), watcher::Config::default()), changes, metrics).await;
}

async fn watch_slices(client: Client, changes: mpsc::Sender<Change>, metrics: Metrics, all: bool) {
    let kind = Kind {
        name: "EndpointSlices",
        read: |slice: EndpointSlice| SliceInput::of(&slice),
        one: Change::Slice,
        gone: Change::SliceGone,
        all: Change::AllSlices,
    };
    // Kubernetes copies a Service's labels to its slices. Routes of the Gateway API may lead to any Service.
    let wanted = watcher::Config::default();
    let wanted = if all { wanted } else { wanted.labels(CONTAINER_LABEL) };
    kind.follow(watch(Api::<EndpointSlice>::all(client), wanted), changes, metrics).await;
}

/// How the objects of one kind become changes.
pub(crate) struct Kind<Read, One, Gone, All> {
    pub(crate) name: &'static str,
    /// None where there is nothing to serve in it.
    pub(crate) read: Read,
    pub(crate) one: One,
    pub(crate) gone: Gone,
    pub(crate) all: All,
}

impl<Read, One, Gone, All> Kind<Read, One, Gone, All> {
    /// Passes changes on for as long as somebody takes them.
    pub(crate) async fn follow<K: ResourceExt, T>(
        self,
        events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
        changes: mpsc::Sender<Change>,
        metrics: Metrics,
    ) where
        Read: Fn(K) -> Option<T>,
        One: Fn(T) -> Change,
        Gone: Fn(Place) -> Change,
        All: Fn(Vec<T>) -> Change,
    {
        let mut events = std::pin::pin!(events);
        let mut list = Vec::new();
        while let Some(event) = events.next().await {
            let change = match event {
                Ok(Event::Init) => {
                    list.clear();
                    None
                }
                Ok(Event::InitApply(object)) => {
                    list.extend((self.read)(object));
                    None
                }
                Ok(Event::InitDone) => Some((self.all)(std::mem::take(&mut list))),
                Ok(Event::Apply(object)) => (self.read)(object).map(&self.one),
                Ok(Event::Delete(object)) => Some((self.gone)(place_of(&object))),
                Err(error) => {
                    metrics.watch_errors.inc();
                    tracing::warn!(%error, "failed to watch {}: serving what is known", self.name);
                    None
                }
            };
            if let Some(change) = change
                && changes.send(change).await.is_err()
            {
                return;
            }
        }
    }
}

/// What this version cannot read is skipped, and what was known of it stays.
fn well_formed<K: Resource<DynamicType = ()>, T>(object: DeserializeGuard<K>, read: fn(&K) -> T) -> Option<T> {
    match object.0 {
        Ok(object) => Some(read(&object)),
        Err(invalid) => {
            let kind = K::kind(&());
            tracing::warn!(%kind, namespace = ?invalid.metadata.namespace, name = ?invalid.metadata.name, error = invalid.error, "skipped what is malformed");
            None
        }
    }
}
