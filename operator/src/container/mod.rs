//! Container: a Deployment, or a StatefulSet where it has volumes, with a Service and the policy that lets the
//! gateway in.
//!
//! Expected flow: wait for the tenant; apply the children; judge from what the watches show of the workload and its
//! pods. Everything is owned by the Container, so its deletion needs no finalizer.

mod desired;
mod labels;
mod observed;
mod pod;
mod policy;

use std::sync::Arc;

use eddy_crds::{CONTAINER_LABEL, Container, User};
use eddy_telemetry::error_chain;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::reason::{Reason, Verdict};
use crate::tenancy::{objects_of, provisioned_tenant};
use crate::watching::{Filled, all, all_filled, children, filled, specs};
use crate::{reconcile, status};

use self::observed::{Workload, judge};

/// What is there of every Container.
struct Stores {
    filled: Filled,
    users: Store<User>,
    deployments: Store<Deployment>,
    stateful_sets: Store<StatefulSet>,
    services: Store<Service>,
    policies: Store<NetworkPolicy>,
    pods: Store<Pod>,
}

/// Runs until the end is requested.
pub(crate) async fn run(
    client: Client,
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (containers, changes) = specs::<Container>(&client);
    let (users, user_changes) = all::<User>(&client);
    let (deployments, deployment_changes) = children(&client, |deployment: &mut Deployment| deployment.spec = None);
    let (stateful_sets, stateful_set_changes) = children(&client, |set: &mut StatefulSet| set.spec = None);
    let (services, service_changes) = children(&client, |service: &mut Service| service.spec = None);
    let (policies, policy_changes) = children(&client, |policy: &mut NetworkPolicy| policy.spec = None);
    let (pods, pod_changes) = children(&client, observed::trim_pod);
    let filled = all_filled([
        filled(&users),
        filled(&deployments),
        filled(&stateful_sets),
        filled(&services),
        filled(&policies),
        filled(&pods),
    ]);
    let stores = Arc::new(Stores { filled, users, deployments, stateful_sets, services, policies, pods });
    let of_tenant = objects_of(containers.clone());
    let controller = Controller::for_stream(changes, containers)
        .watches_stream(user_changes.boxed(), of_tenant)
        .watches_stream(deployment_changes, |object| container_of(&object))
        .watches_stream(stateful_set_changes, |object| container_of(&object))
        .watches_stream(service_changes, |object| container_of(&object))
        .watches_stream(policy_changes, |object| container_of(&object))
        .watches_stream(pod_changes, |object| container_of(&object))
        .graceful_shutdown_on(stop);
    reconcile::run(controller, "Container", context, concurrency, move |container, context| {
        reconcile(container, context, stores.clone())
    })
    .await;
}

fn container_of(object: &impl ResourceExt) -> Option<ObjectRef<Container>> {
    Some(ObjectRef::new(object.labels().get(CONTAINER_LABEL)?).within(&object.namespace()?))
}

async fn reconcile(container: Arc<Container>, context: Arc<Context>, stores: Arc<Stores>) -> Result<Action, ReconcileError> {
    stores.filled.clone().await;
    let api: Api<Container> = Api::namespaced(context.client.clone(), &container.namespace().unwrap_or_default());
    status::begin(&context, &api, &container).await?;
    if let Err(obstacle) = provisioned_tenant(&*container, &stores.users) {
        status::write(&context, &api, &container, &obstacle, Map::new()).await?;
        return Ok(Action::await_change());
    }
    match apply(&container, &context, &stores).await {
        Ok(workload) => {
            let (verdict, more) = verdict(&container, &workload, &stores.pods);
            status::write(&context, &api, &container, &verdict, more).await?;
            Ok(Action::await_change())
        }
        Err(error) => {
            let verdict = match error.rejection() {
                Some(sentence) => {
                    Verdict::new(Reason::Rejected, format!("Kubernetes refuses what this Container asks for: {sentence}"))
                }
                None => Verdict::new(Reason::ApplyFailed, format!("{}; it is tried again", error_chain(&error))),
            };
            status::write(&context, &api, &container, &verdict, Map::new()).await?;
            Err(error)
        }
    }
}

/// Makes the children as desired, and removes those that no longer are. Returns the workload as it is now.
async fn apply(container: &Container, context: &Context, stores: &Stores) -> Result<Workload, ReconcileError> {
    let applier = &context.applier;
    let here = (container.name_any(), container.namespace().unwrap_or_default());
    let policy = stores.policies.get(&ObjectRef::new(&here.0).within(&here.1));
    let service = stores.services.get(&ObjectRef::new(&here.0).within(&here.1));
    let deployment = stores.deployments.get(&ObjectRef::new(&here.0).within(&here.1));
    let stateful_set = stores.stateful_sets.get(&ObjectRef::new(&here.0).within(&here.1));

    if container.spec.ports.is_empty() {
        applier.delete(policy.as_deref()).await?;
        applier.delete(service.as_deref()).await?;
    } else {
        applier.apply(&policy::network_policy(container, &context.system_namespace), policy.as_deref()).await?;
        applier.apply(&desired::service(container), service.as_deref()).await?;
    }
    if container.spec.volumes.is_empty() {
        applier.delete(stateful_set.as_deref()).await?;
        let fresh = applier.apply(&desired::deployment(container), deployment.as_deref()).await?;
        Ok(fresh.as_ref().or(deployment.as_deref()).map(Workload::of_deployment).unwrap_or_default())
    } else {
        applier.delete(deployment.as_deref()).await?;
        let fresh = applier.apply(&desired::stateful_set(container), stateful_set.as_deref()).await?;
        Ok(fresh.as_ref().or(stateful_set.as_deref()).map(Workload::of_stateful_set).unwrap_or_default())
    }
}

fn verdict(container: &Container, workload: &Workload, pods: &Store<Pod>) -> (Verdict, Map<String, Value>) {
    let (name, namespace) = (container.name_any(), container.namespace().unwrap_or_default());
    // Looked at only where something is amiss.
    let all = std::iter::once_with(|| pods.state()).flatten();
    let mine = all.filter(|pod| {
        pod.namespace().as_deref() == Some(&namespace) && pod.labels().get(CONTAINER_LABEL).map(String::as_str) == Some(&name)
    });
    let verdict = judge(container, workload, mine);
    let mut more = Map::new();
    more.insert("replicas".into(), json!(workload.total));
    more.insert("readyReplicas".into(), json!(workload.ready));
    more.insert("selector".into(), json!(format!("{CONTAINER_LABEL}={name}")));
    if !container.spec.ports.is_empty() {
        more.insert("address".into(), json!(format!("{name}.{namespace}.svc")));
    }
    (verdict, more)
}
