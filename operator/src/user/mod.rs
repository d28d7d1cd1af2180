//! User: makes and keeps the tenant, that is, the core namespace with its limits, walls and rights.
//!
//! Deletion needs no finalizer: the core namespace is owned by the User, so garbage collection takes it and all
//! that is in it.

mod desired;

use std::sync::Arc;

use eddy_crds::{TENANT_LABEL, User, core_namespace};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, json};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::reason::{Reason, Verdict};
use crate::reconcile;
use crate::status;
use crate::watching::{Filled, all_filled, children, filled, specs};

/// What is there of every tenant.
struct Stores {
    filled: Filled,
    namespaces: Store<Namespace>,
    quotas: Store<ResourceQuota>,
    limits: Store<LimitRange>,
    policies: Store<NetworkPolicy>,
    bindings: Store<RoleBinding>,
}

/// Runs until the end is requested.
pub(crate) async fn run(
    client: Client,
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (users, changes) = specs::<User>(&client);
    let (namespaces, namespace_changes) = children(&client, |_: &mut Namespace| {});
    let (quotas, quota_changes) = children(&client, |_: &mut ResourceQuota| {});
    let (limits, limit_changes) = children(&client, |_: &mut LimitRange| {});
    let (policies, policy_changes) = children(&client, |policy: &mut NetworkPolicy| policy.spec = None);
    let (bindings, binding_changes) = children(&client, |_: &mut RoleBinding| {});
    let filled = all_filled([filled(&namespaces), filled(&quotas), filled(&limits), filled(&policies), filled(&bindings)]);
    let stores = Arc::new(Stores { filled, namespaces, quotas, limits, policies, bindings });
    let controller = Controller::for_stream(changes, users)
        .watches_stream(namespace_changes, |object| tenant_of(&object))
        .watches_stream(quota_changes, |object| tenant_of(&object))
        .watches_stream(limit_changes, |object| tenant_of(&object))
        .watches_stream(policy_changes, |object| tenant_of(&object))
        .watches_stream(binding_changes, |object| tenant_of(&object))
        .graceful_shutdown_on(stop);
    reconcile::run(controller, "User", context, concurrency, move |user, context| reconcile(user, context, stores.clone())).await;
}

fn tenant_of(object: &impl ResourceExt) -> Option<ObjectRef<User>> {
    object.labels().get(TENANT_LABEL).map(|tenant| ObjectRef::new(tenant))
}

async fn reconcile(user: Arc<User>, context: Arc<Context>, stores: Arc<Stores>) -> Result<Action, ReconcileError> {
    stores.filled.clone().await;
    let api: Api<User> = Api::all(context.client.clone());
    status::begin(&context, &api, &user).await?;
    let verdict = match provision(&user, &context, &stores).await {
        Ok(verdict) => verdict,
        Err(error) => {
            let verdict = Verdict::new(
                error.rejection().map_or(Reason::ApplyFailed, |_| Reason::Rejected),
                format!("{}; it is tried again", crate::error::chain(&error)),
            );
            status::write(&context, &api, &user, &verdict, Map::new()).await?;
            return Err(error);
        }
    };
    let mut more = Map::new();
    if verdict.reason == Reason::Provisioned {
        more.insert("coreNamespace".into(), json!(core_namespace(&user.name_any())));
    }
    status::write(&context, &api, &user, &verdict, more).await?;
    Ok(Action::await_change())
}

async fn provision(user: &User, context: &Context, stores: &Stores) -> Result<Verdict, ReconcileError> {
    let name = core_namespace(&user.name_any());
    let known = stores.namespaces.get(&ObjectRef::new(&name));
    // The watch shows only what is labelled as ours: a namespace that someone made beforehand is asked for.
    let asked = match known {
        Some(_) => None,
        None => Api::<Namespace>::all(context.client.clone()).get_opt(&name).await.map_err(|source| ReconcileError::Apply {
            kind: "Namespace",
            name: name.clone(),
            source: Box::new(source),
        })?,
    };
    if let Some(obstacle) = known.as_deref().or(asked.as_ref()).and_then(|namespace| desired::obstacle(user, namespace)) {
        context.applier.forget_namespace(&name);
        return Ok(obstacle);
    }
    let applier = &context.applier;
    applier.apply_cluster(&desired::namespace(user), known.as_deref()).await?;
    // The walls stand before anything can move in.
    let policy = stores.policies.get(&ObjectRef::new(desired::POLICY).within(&name));
    applier.apply(&desired::network_policy(user), policy.as_deref()).await?;
    let quota = stores.quotas.get(&ObjectRef::new(desired::LIMITS).within(&name));
    applier.apply(&desired::resource_quota(user), quota.as_deref()).await?;
    let limits = stores.limits.get(&ObjectRef::new(desired::LIMITS).within(&name));
    applier.apply(&desired::limit_range(user), limits.as_deref()).await?;
    let binding = stores.bindings.get(&ObjectRef::new(desired::BINDING).within(&name));
    applier.apply(&desired::role_binding(user), binding.as_deref()).await?;
    Ok(Verdict::new(Reason::Provisioned, format!("core namespace {name} is there, with its limits, walls and rights")))
}
