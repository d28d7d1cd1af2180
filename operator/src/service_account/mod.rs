//! ServiceAccount: says whether its scopes are any. What they grant is for identity to publish.

use std::sync::Arc;

use eddy_crds::{ServiceAccount, User};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use serde_json::Map;

use crate::context::Context;
use crate::error::ReconcileError;
use crate::reason::{Reason, Verdict};
use crate::tenancy::{objects_of, provisioned_tenant};
use crate::watching::{all, all_filled, filled, specs};
use crate::{reconcile, scopes, status};

/// Runs until the end is requested.
pub(crate) async fn run(
    client: Client,
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (accounts, changes) = specs::<ServiceAccount>(&client);
    let (users, user_changes) = all::<User>(&client);
    let filled = all_filled([filled(&users)]);
    let controller = Controller::for_stream(changes, accounts.clone())
        .watches_stream(user_changes, objects_of(accounts))
        .graceful_shutdown_on(stop);
    reconcile::run(controller, "ServiceAccount", context, concurrency, move |account: Arc<ServiceAccount>, context| {
        let (users, filled) = (users.clone(), filled.clone());
        async move {
            filled.await;
            let api: Api<ServiceAccount> = Api::namespaced(context.client.clone(), &account.namespace().unwrap_or_default());
            status::begin(&context, &api, &account).await?;
            let verdict = judge(&account, &users).unwrap_or_else(|obstacle| obstacle);
            status::write(&context, &api, &account, &verdict, Map::new()).await?;
            Ok::<_, ReconcileError>(Action::await_change())
        }
    })
    .await;
}

fn judge(account: &ServiceAccount, users: &Store<User>) -> Result<Verdict, Verdict> {
    let owner = provisioned_tenant(account, users)?;
    let scopes = scopes::read("spec.scopes", &account.spec.scopes)?;
    let is_admin = users.get(&ObjectRef::new(&owner)).is_some_and(|user| user.spec.admin);
    let holds = match (account.spec.suspended, scopes.len()) {
        (true, _) => "suspended: its tokens are refused".to_owned(),
        (false, 0) => "it has no scopes: its tokens may nothing".to_owned(),
        (false, count) => format!("its tokens hold at most its {count} scopes, and no more than {owner} does"),
    };
    let remark = scopes::remark(&scopes, &owner, is_admin).map(|remark| format!("; {remark}")).unwrap_or_default();
    Ok(Verdict::new(Reason::Granted, holds + &remark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_crds::{Scope, ServiceAccountSpec, UserSpec, UserStatus};
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;

    #[test]
    fn what_it_comes_to_is_said() {
        let (users, mut writer) = store::<User>();
        let mut ada = User::new("ada", UserSpec::default());
        ada.status = Some(UserStatus { core_namespace: Some("u-ada".into()), ..UserStatus::default() });
        writer.apply_watcher_event(&Event::Apply(ada));
        let judged = |scope: &str, suspended| {
            let scopes = vec![Scope { scope: scope.into(), actions: vec!["read".into()] }];
            let mut account =
                ServiceAccount::new("ci", ServiceAccountSpec { scopes, suspended, ..ServiceAccountSpec::default() });
            account.metadata.namespace = Some("u-ada".into());
            judge(&account, &users).unwrap_or_else(|obstacle| obstacle)
        };
        let good = judged("storage.ada.files", false);
        assert_eq!(
            (good.reason, good.message.as_str()),
            (Reason::Granted, "its tokens hold at most its 1 scopes, and no more than ada does")
        );
        assert!(
            judged("storage.bob.files", false).message.ends_with("storage.bob.files counts only for what is shared with ada")
        );
        assert!(judged("storage.ada.files", true).message.starts_with("suspended"));
        assert_eq!(judged("storage.ada.disks", false).reason, Reason::InvalidScope);
    }
}
