//! Certificates of Routes: lets the gateway read the Secrets that a tenant's Routes name, and no others.
//!
//! One Role a core namespace, `eddy-gateway-certificates`, with the names of those Secrets. What it may hold, and whom it may be bound to, is
//! checked at admission as well: the right to hand out what one does not have would be worth more than this.

pub(crate) mod desired;

use std::collections::BTreeSet;
use std::sync::Arc;

use eddy_certificates::readable;
use eddy_crds::{Domain, Route, TENANT_LABEL, User, core_namespace, tenant_of};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::reconcile;
use crate::user::metadata;
use crate::watching::{Filled, all, all_filled, children, filled, specs};

struct Stores {
    filled: Filled,
    routes: Store<Route>,
    domains: Store<Domain>,
    roles: Store<Role>,
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
    let (routes, route_changes) = all::<Route>(&client);
    let (domains, domain_changes) = all::<Domain>(&client);
    let (roles, role_changes) = children(&client, |_: &mut Role| {});
    let (bindings, binding_changes) = children(&client, |_: &mut RoleBinding| {});
    let filled = all_filled([filled(&routes), filled(&domains), filled(&roles), filled(&bindings)]);
    let stores = Arc::new(Stores { filled, routes, domains, roles, bindings });
    let controller = Controller::for_stream(changes, users)
        .watches_stream(route_changes, |route: Route| {
            let namespace = route.namespace().unwrap_or_default();
            tenant_of(&namespace).map(ObjectRef::<User>::new)
        })
        .watches_stream(domain_changes, |domain: Domain| {
            let namespace = domain.namespace().unwrap_or_default();
            tenant_of(&namespace).map(ObjectRef::<User>::new)
        })
        .watches_stream(role_changes, |role| tenant(&role))
        .watches_stream(binding_changes, |binding| tenant(&binding))
        .graceful_shutdown_on(stop);
    reconcile::run(controller, "Certificates", context, concurrency, move |user, context| {
        reconcile(user, context, stores.clone())
    })
    .await;
}

/// The Secrets of a tenant's oldest Routes, in the order in which gateways count them.
pub(crate) fn secrets(routes: &[Arc<Route>], namespace: &str) -> BTreeSet<String> {
    let mut theirs: Vec<&Arc<Route>> = routes.iter().filter(|route| route.namespace().as_deref() == Some(namespace)).collect();
    theirs.sort_by_key(|route| (route.metadata.creation_timestamp.clone().map(|time| time.0.as_second()), route.name_any()));
    let named = theirs.iter().filter_map(|route| Some((namespace, route.spec.certificate_secret()?)));
    readable(named).into_iter().map(|(_, secret)| secret.into_owned()).collect()
}

fn tenant(object: &impl ResourceExt) -> Option<ObjectRef<User>> {
    let is_ours = object.name_any() == desired::NAME;
    object.labels().get(TENANT_LABEL).filter(|_| is_ours).map(|tenant| ObjectRef::new(tenant))
}

async fn reconcile(user: Arc<User>, context: Arc<Context>, stores: Arc<Stores>) -> Result<Action, ReconcileError> {
    stores.filled.clone().await;
    let namespace = core_namespace(&user.name_any());
    let mut secrets = secrets(&stores.routes.state(), &namespace);
    // The operator looks at these whether Routes name them or not.
    let domains = stores.domains.state();
    let theirs = domains.iter().filter(|domain| domain.namespace().as_deref() == Some(&namespace));
    secrets.extend(theirs.map(|domain| Domain::secret_of(&domain.name_any())));
    let (role, binding) = (
        stores.roles.get(&ObjectRef::new(desired::NAME).within(&namespace)),
        stores.bindings.get(&ObjectRef::new(desired::NAME).within(&namespace)),
    );
    if secrets.is_empty() {
        // A Role without names would be one for all Secrets.
        context.applier.delete(role.as_deref()).await?;
        context.applier.delete(binding.as_deref()).await?;
    } else {
        let metadata = || metadata(&user, desired::NAME);
        context.applier.apply(&desired::role(metadata(), [("secrets", secrets)]), role.as_deref()).await?;
        context
            .applier
            .apply(&desired::binding(metadata(), desired::NAME, &context.system_namespace), binding.as_deref())
            .await?;
    }
    Ok(Action::await_change())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use eddy_certificates::SECRETS_A_TENANT_MAX;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn the_oldest_routes_have_their_certificates_read() {
        let route = |number: usize| {
            let spec = serde_json::json!({"hosts": ["h"], "tls": {"secret": format!("s{number:03}")}});
            let mut route = Route::new(&format!("r{number}"), serde_json::from_value(spec).unwrap());
            route.metadata.namespace = Some("u-ada".into());
            let seconds = 1_000_000_000 + i64::try_from(number).unwrap();
            route.metadata.creation_timestamp = Some(Time(jiff::Timestamp::from_second(seconds).unwrap()));
            Arc::new(route)
        };
        let routes: Vec<_> = (0..SECRETS_A_TENANT_MAX + 5).rev().map(route).collect();
        let read = secrets(&routes, "u-ada");
        assert_eq!((read.len(), read.last().unwrap().as_str()), (SECRETS_A_TENANT_MAX, "s049"));
        assert!(secrets(&routes, "u-bob").is_empty());
    }
}
