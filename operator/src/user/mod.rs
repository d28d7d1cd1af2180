//! User: makes and keeps the tenant, that is, the core namespace with its limits, walls and rights.
//!
//! The core namespace is owned by the User, so garbage collection takes it and all that is in it. Where there is storage, a finalizer
//! holds up the User's deletion until what it has there by its name alone is that name's no more.

mod counting;
mod desired;
mod leaving;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use eddy_crds::{TENANT_LABEL, User, core_namespace};
use eddy_object::Metadata;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::ListParams;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::finalizing::{is_held, settle};
use crate::reason::{Reason, Verdict};
use crate::reconcile;
use crate::status;
use crate::watching::{Filled, all_filled, children, filled, specs};

pub(crate) use self::desired::metadata;

use self::counting::Omissions;

/// What is there of every tenant.
struct Stores {
    filled: Filled,
    namespaces: Store<Namespace>,
    quotas: Store<ResourceQuota>,
    limits: Store<LimitRange>,
    policies: Store<NetworkPolicy>,
    bindings: Store<RoleBinding>,
    omissions: Omissions,
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
    let stores = Arc::new(Stores { filled, namespaces, quotas, limits, policies, bindings, omissions: Omissions::default() });
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
    if user.metadata.deletion_timestamp.is_some() {
        if let Some(storage) = &context.storage {
            leave(storage, &context.client, &user.name_any()).await?;
        }
        return settle(&api, user).await;
    }
    if context.storage.is_some() && !is_held(&*user) {
        return settle(&api, user).await;
    }
    status::begin(&context, &api, &user).await?;
    let provided = match provision(&user, &context, &stores).await {
        Ok(provided) => provided,
        Err(error) => {
            let verdict = Verdict::new(
                error.rejection().map_or(Reason::ApplyFailed, |_| Reason::Rejected),
                format!("{}; it is tried again", eddy_telemetry::error_chain(&error)),
            );
            // What was there before the failure is there still.
            let known = user.status.as_ref().and_then(|status| status.core_namespace.as_deref());
            status::write(&context, &api, &user, &verdict, core_namespace_field(known)).await?;
            return Err(error);
        }
    };
    let (verdict, namespace, next) = match provided {
        Provided::Blocked(verdict) => (verdict, None, Action::await_change()),
        Provided::Uncounted(namespace) => (
            Verdict::new(
                Reason::Progressing,
                format!("core namespace {namespace} is there; waiting until Kubernetes counts what its quota limits"),
            ),
            Some(namespace),
            Action::requeue(counting::PAUSE),
        ),
        Provided::Whole(namespace) => (
            Verdict::new(Reason::Provisioned, format!("core namespace {namespace} is there, with its limits, walls and rights")),
            Some(namespace),
            Action::await_change(),
        ),
    };
    status::write(&context, &api, &user, &verdict, core_namespace_field(namespace.as_deref())).await?;
    Ok(next)
}

/// Storage's namespaces that have a Namespace end with that; it asks for contents as its user said.
async fn leave(storage: &Metadata, client: &Client, user: &str) -> Result<(), ReconcileError> {
    let api: Api<eddy_crds::Namespace> = Api::namespaced(client.clone(), &core_namespace(user));
    let listed = api.list_metadata(&ListParams::default()).await;
    let listed = listed.map_err(|source| ReconcileError::Ask { kind: "Namespace", source: Box::new(source) })?;
    // Those that are not held go without a look at storage.
    let names: BTreeSet<String> = listed.items.iter().filter(|one| is_held(*one)).map(ResourceExt::name_any).collect();
    leaving::disown(storage, user, &names).await.map(drop).map_err(ReconcileError::Storage)
}

fn core_namespace_field(namespace: Option<&str>) -> Map<String, Value> {
    namespace.map(|namespace| ("coreNamespace".to_owned(), json!(namespace))).into_iter().collect()
}

/// What there is of a tenant after an attempt to make it.
enum Provided {
    /// Nothing, for this reason.
    Blocked(Verdict),
    /// The core namespace of this name and all in it, but its quota is not enforced yet.
    Uncounted(String),
    /// All of it, in the core namespace of this name.
    Whole(String),
}

async fn provision(user: &User, context: &Context, stores: &Stores) -> Result<Provided, ReconcileError> {
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
        return Ok(Provided::Blocked(obstacle));
    }
    let applier = &context.applier;
    applier.apply_cluster(&desired::namespace(user), known.as_deref()).await?;
    // The walls stand before anything can move in.
    let policy = stores.policies.get(&ObjectRef::new(desired::POLICY).within(&name));
    applier.apply(&desired::network_policy(user, &context.system_namespace), policy.as_deref()).await?;
    let quota = stores.quotas.get(&ObjectRef::new(desired::LIMITS).within(&name));
    let omitted = stores.omissions.of(&user.name_any(), quota.as_deref(), Instant::now());
    let desired_quota = desired::resource_quota(user, &omitted);
    applier.apply(&desired_quota, quota.as_deref()).await?;
    let limits = stores.limits.get(&ObjectRef::new(desired::LIMITS).within(&name));
    applier.apply(&desired::limit_range(user), limits.as_deref()).await?;
    let binding = stores.bindings.get(&ObjectRef::new(desired::BINDING).within(&name));
    applier.apply(&desired::role_binding(user), binding.as_deref()).await?;
    let whole = omitted.is_empty() && counting::enforced(&desired_quota, quota.as_deref());
    Ok(if whole { Provided::Whole(name) } else { Provided::Uncounted(name) })
}
