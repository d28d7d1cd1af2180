//! Route: says whether the gateway serves it. The gateway decides for itself, by the same functions; nothing here is
//! on its way.

mod certificate;
mod judge;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eddy_crds::{Conditioned, Container, Domain, Route};
use eddy_router::{Claimant, Port};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, json};

use crate::certificates;
use crate::conditions::since_s;
use crate::context::Context;
use crate::error::ReconcileError;
use crate::tenancy::tenant;
use crate::watching::{Filled, all, all_filled, filled, specs};
use crate::{reconcile, status};

use self::certificate::Named;
use self::judge::Claimed;

/// A Secret that holds nothing of use, or may not be read yet, is asked for again after this to begin with, and later after this;
const OFTEN: Duration = Duration::from_secs(2);
const SELDOM: Duration = Duration::from_secs(60);
/// one that does after this.
const NOW_AND_THEN: Duration = Duration::from_secs(300);

struct Stores {
    filled: Filled,
    /// Every Route, kept by a watch of its own: the one that drives the controller does not show deletions.
    routes: Store<Route>,
    containers: Store<Container>,
    domains: Store<Domain>,
    /// Of the platform's own host.
    platform: Option<Claimant>,
    /// Who holds which host, until a Route changes.
    claims: Mutex<Option<Arc<Claimed>>>,
    /// The gateway's ports that Routes may have.
    open: HashSet<Port>,
    /// Each Route as it was seen last.
    before: Mutex<HashMap<ObjectRef<Route>, Route>>,
}

impl Stores {
    fn claims(&self) -> Arc<Claimed> {
        let mut kept = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let decide = || {
            let proven = self.domains.state();
            Claimed::decide(self.platform.as_ref(), &proven, &self.routes.state(), self.open.clone())
        };
        kept.get_or_insert_with(|| Arc::new(decide())).clone()
    }

    /// What a Route was before this change, if it was seen before.
    fn changed(&self, route: &Route) -> Option<Route> {
        let key = ObjectRef::from_obj(route);
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        // The store is empty while it is filled for the first time. One that is gone stays here as it was, until one of its name is made again.
        before.insert(key, route.clone())
    }

    fn forget_claims(&self) {
        *self.claims.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Runs until the end is requested.
pub(crate) async fn run(
    client: Client,
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (driven, changes) = specs::<Route>(&client);
    let (routes, route_changes) = all::<Route>(&client);
    let (containers, container_changes) = all::<Container>(&client);
    let (domains, domain_changes) = all::<Domain>(&client);
    let filled = all_filled([filled(&routes), filled(&containers), filled(&domains)]);
    let stores = Arc::new(Stores {
        filled,
        routes,
        containers,
        domains,
        platform: context.platform.clone(),
        claims: Mutex::default(),
        open: context.ports.clone(),
        before: Mutex::default(),
    });

    // A Route that comes or goes may give or take hosts of others.
    let affected = stores.clone();
    let by_host = move |changed: Route| -> Vec<ObjectRef<Route>> {
        affected.forget_claims();
        // What it claimed before may be another's now.
        let before = affected.changed(&changed);
        let shares = |route: &Route| {
            judge::share_a_claim(route, &changed) || before.as_ref().is_some_and(|before| judge::share_a_claim(route, before))
        };
        let all = affected.routes.state();
        all.iter().filter(|route| shares(route)).map(|route| ObjectRef::from_obj(&**route)).collect()
    };
    let affected = stores.clone();
    let by_backend = move |changed: Container| -> Vec<ObjectRef<Route>> {
        let all = affected.routes.state();
        all.iter().filter(|route| judge::names(route, &changed)).map(|route| ObjectRef::from_obj(&**route)).collect()
    };
    // A proof gives or takes hosts, and a certificate comes to those who name its Domain.
    let affected = stores.clone();
    let by_domain = move |changed: Domain| -> Vec<ObjectRef<Route>> {
        affected.forget_claims();
        let all = affected.routes.state();
        all.iter().filter(|route| judge::concerns(&changed, route)).map(|route| ObjectRef::from_obj(&**route)).collect()
    };
    let controller = Controller::for_stream(changes, driven)
        .watches_stream(route_changes.boxed(), by_host)
        .watches_stream(domain_changes.boxed(), by_domain)
        .watches_stream(container_changes.boxed(), by_backend)
        .graceful_shutdown_on(stop);
    reconcile::run(controller, "Route", context, concurrency, move |route, context| reconcile(route, context, stores.clone()))
        .await;
}

async fn reconcile(route: Arc<Route>, context: Arc<Context>, stores: Arc<Stores>) -> Result<Action, ReconcileError> {
    stores.filled.clone().await;
    let namespace = route.namespace().unwrap_or_default();
    let api: Api<Route> = Api::namespaced(context.client.clone(), &namespace);
    status::begin(&context, &api, &route).await?;
    let claims = stores.claims();
    let find = |container: &str| stores.containers.get(&ObjectRef::new(container).within(&namespace));
    let named = named(&context, &stores, &namespace, &route).await?;
    let obstacle = certificate::obstacle(&named, &route, Timestamp::now());
    // Secrets are not watched: what becomes of them is looked at now and then.
    let next = match (&named, &obstacle) {
        (Named::None, _) => Action::await_change(),
        (Named::Unreadable, _) | (_, Some(_)) => Action::requeue(pause(&route, Timestamp::now())),
        (_, None) => Action::requeue(NOW_AND_THEN),
    };
    let verdict = judge::judge(&route, &claims, find, obstacle);
    let mut more = Map::new();
    let taken = judge::hosts_taken(&route, &claims.hosts);
    if !taken.is_empty() {
        more.insert("hostsTaken".into(), json!(taken));
    }
    status::write(&context, &api, &route, &verdict, more).await?;
    Ok(next)
}

/// How long a Route waits that waits for its Secret: longer, the longer it does.
fn pause(route: &Route, now: Timestamp) -> Duration {
    Duration::from_secs(since_s(route.conditions(), now) / 10).clamp(OFTEN, SELDOM)
}

/// What the Secret holds that a Route names.
async fn named(context: &Context, stores: &Stores, namespace: &str, route: &Route) -> Result<Named, ReconcileError> {
    // Elsewhere nobody lets it be read.
    let Some(name) = route.spec.certificate_secret().filter(|_| tenant(route).is_ok()) else { return Ok(Named::None) };
    // Of a Domain it may, and gateways have no more of a user's than these all the same.
    if route.spec.domain.is_some() && !certificates::secrets(&stores.routes.state(), namespace).contains(&*name) {
        return Ok(Named::Unreadable);
    }
    match Api::<Secret>::namespaced(context.client.clone(), namespace).get_opt(&name).await {
        Ok(Some(secret)) if route.spec.domain.is_some() && certificate::is_empty(&secret) => Ok(Named::Missing),
        Ok(Some(secret)) => Ok(Named::of(&secret)),
        Ok(None) => Ok(Named::Missing),
        // It may be read a moment after the Route is there that names it.
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Named::Unreadable),
        Err(source) => Err(ReconcileError::Ask { kind: "Secret", source: Box::new(source) }),
    }
}
