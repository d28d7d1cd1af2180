//! Route: says whether the gateway serves it. The gateway decides for itself, by the same functions; nothing here is
//! on its way.

mod judge;

use std::sync::{Arc, Mutex, PoisonError};

use eddy_crds::{Container, Route};
use eddy_router::{Claimant, Claims};
use futures::StreamExt;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, json};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::watching::{Filled, all, all_filled, filled, specs};
use crate::{reconcile, status};

struct Stores {
    filled: Filled,
    /// Every Route, kept by a watch of its own: the one that drives the controller does not show deletions.
    routes: Store<Route>,
    containers: Store<Container>,
    /// Of the platform's own host.
    platform: Option<Claimant>,
    /// Who holds which host, until a Route changes.
    claims: Mutex<Option<Arc<Claims>>>,
}

impl Stores {
    fn claims(&self) -> Arc<Claims> {
        let mut kept = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let decide = || {
            let routes = self.routes.state();
            Claims::decide(self.platform.iter().cloned().chain(routes.iter().map(|route| judge::claimant(route))))
        };
        kept.get_or_insert_with(|| Arc::new(decide())).clone()
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
    let filled = all_filled([filled(&routes), filled(&containers)]);
    let stores = Arc::new(Stores { filled, routes, containers, platform: context.platform.clone(), claims: Mutex::default() });

    // A Route that comes or goes may give or take hosts of others.
    let affected = stores.clone();
    let by_host = move |changed: Route| -> Vec<ObjectRef<Route>> {
        affected.forget_claims();
        let all = affected.routes.state();
        all.iter().filter(|route| judge::share_a_host(route, &changed)).map(|route| ObjectRef::from_obj(&**route)).collect()
    };
    let affected = stores.clone();
    let by_backend = move |changed: Container| -> Vec<ObjectRef<Route>> {
        let all = affected.routes.state();
        all.iter().filter(|route| judge::names(route, &changed)).map(|route| ObjectRef::from_obj(&**route)).collect()
    };
    let controller = Controller::for_stream(changes, driven)
        .watches_stream(route_changes.boxed(), by_host)
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
    let verdict = judge::judge(&route, &claims, find);
    let mut more = Map::new();
    let taken = judge::hosts_taken(&route, &claims);
    if !taken.is_empty() {
        more.insert("hostsTaken".into(), json!(taken));
    }
    status::write(&context, &api, &route, &verdict, more).await?;
    Ok(Action::await_change())
}
