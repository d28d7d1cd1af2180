//! Token: draws its secret, writes it to a Secret once, and keeps only the hash.
//!
//! The Secret is written before the hash, so that no hash is of a secret that nobody has. Where this ends in between, the next
//! attempt draws another and writes over it. The Secret is the user's: it is written, never read, and goes with the Token.

mod plan;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use eddy_crds::{ServiceAccount, Token, TokenSecret, User};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::reason::{Reason, Verdict};
use crate::tenancy::{objects_of, provisioned_tenant};
use crate::watching::{Filled, all, all_filled, filled, specs};
use crate::{reconcile, scopes, status};

struct Stores {
    filled: Filled,
    users: Store<User>,
    accounts: Store<ServiceAccount>,
}

/// Runs until the end is requested.
pub(crate) async fn run(
    client: Client,
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (tokens, changes) = specs::<Token>(&client);
    let (users, user_changes) = all::<User>(&client);
    let (accounts, account_changes) = all::<ServiceAccount>(&client);
    let filled = all_filled([filled(&users), filled(&accounts)]);
    let stores = Arc::new(Stores { filled, users, accounts });
    let known = tokens.clone();
    let by_account = move |account: ServiceAccount| -> Vec<ObjectRef<Token>> {
        let all = known.state();
        let of_it = all.iter().filter(|token| {
            token.namespace() == account.namespace() && token.spec.service_account.as_deref() == Some(&account.name_any())
        });
        of_it.map(|token| ObjectRef::from_obj(&**token)).collect()
    };
    let controller = Controller::for_stream(changes, tokens.clone())
        .watches_stream(user_changes, objects_of(tokens))
        .watches_stream(account_changes, by_account)
        .graceful_shutdown_on(stop);
    reconcile::run(controller, "Token", context, concurrency, move |token, context| reconcile(token, context, stores.clone()))
        .await;
}

async fn reconcile(token: Arc<Token>, context: Arc<Context>, stores: Arc<Stores>) -> Result<Action, ReconcileError> {
    stores.filled.clone().await;
    let api: Api<Token> = Api::namespaced(context.client.clone(), &token.namespace().unwrap_or_default());
    let now = Timestamp::now();
    // Before anything is written: a status that began anew would forget the secrets that the watch does not show yet.
    let Some(token) = current(token, &api, now).await? else { return Ok(Action::await_change()) };
    if status::begin(&context, &api, &token).await? {
        // Its version is another by now.
        return Ok(Action::requeue(Duration::ZERO));
    }
    let mut secrets = known(&token).to_vec();
    let (verdict, next) = match judge(&token, &stores, now) {
        Err(obstacle) => (obstacle, plan::plan(&token.spec, &secrets, now).next),
        Ok(remark) => match provide(&token, &context, &mut secrets, now).await {
            Ok(next) => (Verdict::new(Reason::Issued, said(&token, &secrets, remark)), next),
            Err(error) => {
                status::write_exactly(&context, &api, &token, &refusal(&error), fields(&token, &secrets)).await?;
                return Err(error);
            }
        },
    };
    status::write_exactly(&context, &api, &token, &verdict, fields(&token, &secrets)).await?;
    Ok(next.map_or_else(Action::await_change, |next| Action::requeue(plan::until(next, now))))
}

/// The Token as the API server has it, where a secret is to be drawn by what the watch shows of it: that may lack what was written here
/// last. None if it is gone.
async fn current(token: Arc<Token>, api: &Api<Token>, now: Timestamp) -> Result<Option<Arc<Token>>, ReconcileError> {
    if !plan::plan(&token.spec, known(&token), now).draws {
        return Ok(Some(token));
    }
    let asked = api.get_opt(&token.name_any()).await;
    let asked = asked.map_err(|source| ReconcileError::Ask { kind: "Token", source: Box::new(source) })?;
    Ok(asked.filter(|token| token.metadata.deletion_timestamp.is_none()).map(Arc::new))
}

/// The secrets that were drawn.
fn known(token: &Token) -> &[TokenSecret] {
    token.status.as_ref().map(|status| &status.secrets[..]).unwrap_or_default()
}

/// What is to be remarked on a Token that may be good.
///
/// # Errors
/// What keeps it from being.
fn judge(token: &Token, stores: &Stores, now: Timestamp) -> Result<Option<String>, Verdict> {
    let owner = provisioned_tenant(token, &stores.users)?;
    let scopes = scopes::read("spec.scopes", &token.spec.scopes)?;
    if token.spec.expires_at.as_ref().is_some_and(|end| end.0 <= now) {
        return Err(Verdict::new(Reason::Expired, "it has expired: give it another spec.expiresAt, or delete it"));
    }
    let user = stores.users.get(&ObjectRef::new(&owner));
    if user.as_ref().is_some_and(|user| user.spec.suspended) {
        return Err(Verdict::new(Reason::Suspended, format!("User {owner} is suspended: nothing of theirs is accepted")));
    }
    if let Some(name) = &token.spec.service_account {
        let account = stores.accounts.get(&ObjectRef::new(name).within(&token.namespace().unwrap_or_default()));
        let missing = || Verdict::new(Reason::AccountMissing, format!("waiting for ServiceAccount {name}, whose token it is"));
        if account.ok_or_else(missing)?.spec.suspended {
            return Err(Verdict::new(Reason::Suspended, format!("ServiceAccount {name} is suspended: its tokens are refused")));
        }
    }
    Ok(scopes::remark(&scopes, &owner, user.is_some_and(|user| user.spec.admin)))
}

/// What to say where a Secret was not written.
fn refusal(error: &ReconcileError) -> Verdict {
    match error.rejection() {
        Some(sentence) => Verdict::new(
            Reason::NameTaken,
            format!("there is a Secret of that name that is not this Token's: delete that, or give another name ({sentence})"),
        ),
        None => Verdict::new(Reason::ApplyFailed, format!("{}; it is tried again", eddy_telemetry::error_chain(error))),
    }
}

/// Sees to it that the newest secret is a good one. Returns when something changes by itself.
async fn provide(
    token: &Token,
    context: &Context,
    secrets: &mut Vec<TokenSecret>,
    now: Timestamp,
) -> Result<Option<Timestamp>, ReconcileError> {
    let planned = plan::plan(&token.spec, secrets, now);
    *secrets = planned.keep;
    if !planned.draws {
        return Ok(planned.next);
    }
    let drawn = eddy_authz::Token::draw()?;
    let secret = secret::secret(token, &drawn, context.signing_key.as_ref());
    let name = secret.name_any();
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &token.namespace().unwrap_or_default());
    let applied = api.patch(&name, &PatchParams::apply(eddy_crds::FIELD_MANAGER).force(), &Patch::Apply(&secret)).await;
    applied.map_err(|source| ReconcileError::Apply { kind: "Secret", name, source: Box::new(source) })?;
    let new = TokenSecret { id: drawn.id().to_owned(), hash: drawn.hash().to_string(), issued_at: Time(now), expires_at: None };
    *secrets = plan::with_new(secrets, new, token.spec.rotation.as_ref());
    Ok(plan::plan(&token.spec, secrets, now).next)
}

fn said(token: &Token, secrets: &[TokenSecret], remark: Option<String>) -> String {
    let since = secrets.first().map(|newest| format!(", since {}", newest.issued_at.0)).unwrap_or_default();
    let remark = remark.map(|remark| format!("; {remark}")).unwrap_or_default();
    format!("the token is in Secret {}{since}{remark}", secret::name(token))
}

fn fields(token: &Token, secrets: &[TokenSecret]) -> Map<String, Value> {
    let mut fields = Map::new();
    if !secrets.is_empty() {
        fields.insert("secretName".into(), json!(secret::name(token)));
        fields.insert("secrets".into(), json!(secrets));
    }
    // What another writes stays.
    if let Some(used) = token.status.as_ref().and_then(|status| status.last_used_at.as_ref()) {
        fields.insert("lastUsedAt".into(), json!(used));
    }
    fields
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use eddy_crds::{ServiceAccountSpec, TokenSpec, UserSpec, UserStatus};
    use futures::FutureExt;
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;

    fn judged(spec: TokenSpec, user_suspended: bool, account_suspended: Option<bool>) -> Result<Option<String>, Reason> {
        let (users, mut users_writer) = store::<User>();
        let (accounts, mut accounts_writer) = store::<ServiceAccount>();
        let mut ada = User::new("ada", UserSpec { suspended: user_suspended, ..UserSpec::default() });
        ada.status = Some(UserStatus { core_namespace: Some("u-ada".into()), ..UserStatus::default() });
        users_writer.apply_watcher_event(&Event::Apply(ada));
        if let Some(suspended) = account_suspended {
            let mut account = ServiceAccount::new("ci", ServiceAccountSpec { suspended, ..ServiceAccountSpec::default() });
            account.metadata.namespace = Some("u-ada".into());
            accounts_writer.apply_watcher_event(&Event::Apply(account));
        }
        let mut token = Token::new("t", spec);
        token.metadata.namespace = Some("u-ada".into());
        let stores = Stores { filled: all_filled([async {}.boxed()]), users, accounts };
        judge(&token, &stores, Timestamp::from_second(1000).unwrap()).map_err(|verdict| verdict.reason)
    }

    #[test]
    fn what_keeps_a_token_from_being_good_is_said() {
        let of_account = || TokenSpec { service_account: Some("ci".into()), ..TokenSpec::default() };
        let until =
            |second| TokenSpec { expires_at: Some(Time(Timestamp::from_second(second).unwrap())), ..TokenSpec::default() };
        assert_eq!(judged(TokenSpec::default(), false, None), Ok(None));
        assert_eq!(judged(of_account(), false, Some(false)), Ok(None));
        assert_eq!(judged(until(1001), false, None), Ok(None));
        assert_eq!(judged(until(1000), false, None), Err(Reason::Expired));
        assert_eq!(judged(of_account(), false, None), Err(Reason::AccountMissing));
        assert_eq!(judged(of_account(), false, Some(true)), Err(Reason::Suspended));
        assert_eq!(judged(TokenSpec::default(), true, None), Err(Reason::Suspended));
        let scopes = vec![eddy_crds::Scope { scope: "storage.ada.disks".into(), actions: vec!["read".into()] }];
        assert_eq!(judged(TokenSpec { scopes, ..TokenSpec::default() }, false, None), Err(Reason::InvalidScope));
    }
}
