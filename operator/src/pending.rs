//! Kinds that can be applied already and that nothing acts on yet: their objects say so, rather than leave a user
//! waiting for a status that never comes.

use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::runtime::controller::{Action, Controller};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::Map;

use crate::context::Context;
use crate::error::ReconcileError;
use crate::reason::{Reason, Verdict};
use crate::reconcile;
use crate::status::{self, Owned};
use crate::watching::specs;

/// Runs until the end is requested.
pub(crate) async fn run<K>(
    kind: &'static str,
    client: Client,
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) where
    K: Owned + Resource<Scope = NamespaceResourceScope> + Send + Sync + 'static,
{
    let (objects, changes) = specs::<K>(&client);
    let controller = Controller::for_stream(changes, objects).graceful_shutdown_on(stop);
    reconcile::run(controller, kind, context, concurrency, move |object: Arc<K>, context| reconcile(kind, object, context)).await;
}

async fn reconcile<K>(kind: &'static str, object: Arc<K>, context: Arc<Context>) -> Result<Action, ReconcileError>
where
    K: Owned + Resource<Scope = NamespaceResourceScope>,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
    let verdict =
        Verdict::new(Reason::NotSupported, format!("this version of Eddy keeps {kind} objects and does not act on them yet"));
    status::write(&context, &api, &object, &verdict, Map::new()).await?;
    Ok(Action::await_change())
}
