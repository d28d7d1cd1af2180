//! Namespace: tells storage what a user wants of a storage namespace, and the user what it holds.
//!
//! What it stands for is outside of the cluster's API, so a finalizer holds up its deletion: until the contents are gone, or
//! at once with them, as `spec.deletionPolicy` says. Names are those of buckets, one set for all tenants: first come, first
//! served, and what is another's is never touched.

mod contents;
mod desired;

use std::sync::Arc;
use std::time::Duration;

use eddy_crds::{DeletionPolicy, Namespace, User};
use eddy_object::schema::{LIFECYCLE, LifecycleRules, NamespaceSettings, Quota, ServerRow, decode, encode};
use eddy_object::{Metadata, ObjectError, Usage};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::finalizing::{is_held, settle};
use crate::reason::{Reason, Verdict};
use crate::tenancy::{objects_of, provisioned_tenant, tenant};
use crate::watching::{all, all_filled, filled, specs};
use crate::{reconcile, status};

use self::contents::Left;

/// How often usage is read, and what a door was told is put right.
const LOOK_AGAIN: Duration = Duration::from_secs(20);
/// How often somebody looks whether contents are gone.
const WAIT_FOR_EMPTY: Duration = Duration::from_secs(2);
/// How long versions are deleted in one go: well within a reconciliation's time.
const DELETE_FOR: Duration = Duration::from_secs(10);
/// What a namespace may hold that is being emptied.
const NOTHING: Quota = Quota { bytes: Some(0), objects: Some(0) };

/// Runs until the end is requested.
pub(crate) async fn run(
    client: Client,
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (namespaces, changes) = specs::<Namespace>(&client);
    let (users, user_changes) = all::<User>(&client);
    let filled = all_filled([filled(&users)]);
    let controller = Controller::for_stream(changes, namespaces.clone())
        .watches_stream(user_changes, objects_of(namespaces))
        .graceful_shutdown_on(stop);
    reconcile::run(controller, "Namespace", context, concurrency, move |namespace, context| {
        let (users, filled) = (users.clone(), filled.clone());
        async move {
            filled.await;
            reconcile(namespace, context, &users).await
        }
    })
    .await;
}

async fn reconcile(namespace: Arc<Namespace>, context: Arc<Context>, users: &Store<User>) -> Result<Action, ReconcileError> {
    let core = namespace.namespace().unwrap_or_default();
    let api: Api<Namespace> = Api::namespaced(context.client.clone(), &core);
    let deleting = namespace.metadata.deletion_timestamp.is_some();
    if !deleting {
        status::begin(&context, &api, &namespace).await?;
    }
    let (owner, metadata) = match whose(&namespace, users, context.storage.as_ref()) {
        Ok(found) => found,
        Err(obstacle) => {
            status::write(&context, &api, &namespace, &obstacle, last_known(&namespace)).await?;
            return Ok(Action::await_change());
        }
    };
    let done = match deleting {
        true => release(metadata, &owner, &namespace).await,
        false if !is_held(&*namespace) => Ok(Progress::Settled),
        false => provide(metadata, &owner, &namespace).await,
    };
    match done {
        // Held before anything is made, let go when nothing is left.
        Ok(Progress::Settled) => settle(&api, namespace).await,
        Ok(Progress::Waiting(verdict, again)) => {
            status::write(&context, &api, &namespace, &verdict, last_known(&namespace)).await?;
            Ok(again)
        }
        Ok(Progress::There(usage, remark)) => {
            let verdict = Verdict::new(Reason::Provisioned, remark);
            status::write(&context, &api, &namespace, &verdict, fields(usage)).await?;
            Ok(Action::requeue(LOOK_AGAIN))
        }
        Err(error) => {
            let sentence =
                format!("storage does not answer as it should: {}; it is tried again", eddy_telemetry::error_chain(&error));
            status::write(&context, &api, &namespace, &Verdict::new(Reason::StorageFailed, sentence), last_known(&namespace))
                .await?;
            Err(ReconcileError::Storage(error))
        }
    }
}

/// How far a Namespace is.
enum Progress {
    /// Nothing is in the way of holding it, or of letting it go.
    Settled,
    /// It waits, for this reason.
    Waiting(Verdict, Action),
    /// Storage has it, it holds this, and this is to be said of it.
    There(Usage, String),
}

/// Whose it is, and who keeps it.
fn whose<'a>(
    namespace: &Namespace,
    users: &Store<User>,
    storage: Option<&'a Metadata>,
) -> Result<(String, &'a Metadata), Verdict> {
    // Its User may be gone before it.
    let owner = match namespace.metadata.deletion_timestamp {
        Some(_) => tenant(namespace),
        None => provisioned_tenant(namespace, users),
    }?;
    let none = || Verdict::new(Reason::NotSupported, "this cluster runs no storage: set storage.enabled of the chart");
    Ok((owner, storage.ok_or_else(none)?))
}

fn fields(usage: Usage) -> Map<String, Value> {
    [("objects".to_owned(), json!(usage.objects)), ("bytes".to_owned(), json!(usage.bytes))].into_iter().collect()
}

/// What it held at the last good look: whoever reads a status while storage fails still sees that.
fn last_known(namespace: &Namespace) -> Map<String, Value> {
    let usage = namespace.status.as_ref().and_then(|status| Some(Usage { objects: status.objects?, bytes: status.bytes? }));
    usage.map(fields).unwrap_or_default()
}

/// Tells storage what the user wants, where it does not know yet.
async fn provide(metadata: &Metadata, owner: &str, namespace: &Namespace) -> Result<Progress, ObjectError> {
    if let Some(obstacle) = desired::obstacle(namespace) {
        return Ok(Progress::Waiting(obstacle, Action::await_change()));
    }
    let name = namespace.name_any();
    // Names are taken by whoever asks first, so its owner is looked at where it is changed.
    let decide = |settings: &mut NamespaceSettings| {
        if settings.owner.is_empty() || settings.owner == owner {
            desired::decide(&namespace.spec, owner, settings);
        }
    };
    let row = metadata.provide_namespace(&name, decide).await?;
    if row.settings.owner != owner {
        let sentence = format!(
            "{name} is another user's: names of storage namespaces are those of buckets, one set for all; choose another"
        );
        return Ok(Progress::Waiting(Verdict::new(Reason::NameTaken, sentence), Action::requeue(LOOK_AGAIN)));
    }
    let present = match metadata.configuration(row.id, LIFECYCLE).await? {
        Some(bytes) => decode::<LifecycleRules>(&bytes)?.0,
        None => Vec::new(),
    };
    let rules = desired::rules(&namespace.spec, &present);
    if rules != present {
        let value = if rules.is_empty() { None } else { Some(encode(&LifecycleRules(rules))?) };
        metadata.set_configuration(&name, LIFECYCLE, value).await?;
    }
    let servers: Vec<ServerRow> = metadata.servers().await?.into_values().collect();
    Ok(Progress::There(metadata.usage(&name).await?, desired::remark(&namespace.spec, &servers)))
}

/// Removes the storage namespace as the deletion policy lets it.
async fn release(metadata: &Metadata, owner: &str, namespace: &Namespace) -> Result<Progress, ObjectError> {
    let name = namespace.name_any();
    let row = match metadata.namespace(&name).await {
        Err(ObjectError::NoNamespace(_)) => return Ok(Progress::Settled),
        found => found?,
    };
    if row.settings.owner != owner {
        // It never was this one's.
        return Ok(Progress::Settled);
    }
    let waiting =
        |reason, sentence: String| Ok(Progress::Waiting(Verdict::new(reason, sentence), Action::requeue(WAIT_FOR_EMPTY)));
    match metadata.delete_namespace(&name).await {
        Ok(()) | Err(ObjectError::NoNamespace(_)) => return Ok(Progress::Settled),
        Err(ObjectError::NotEmpty(..)) => {}
        Err(error) => return Err(error),
    }
    // Whoever goes on writing must not keep it from ever being empty.
    let quota = match namespace.spec.deletion_policy {
        DeletionPolicy::Delete => NOTHING,
        DeletionPolicy::Retain => desired::quota(&namespace.spec),
    };
    if row.settings.quota != quota {
        metadata.change_namespace(&name, |settings| settings.quota = quota).await?;
    }
    let usage = metadata.usage(&name).await?;
    match namespace.spec.deletion_policy {
        DeletionPolicy::Retain => waiting(
            Reason::NotEmpty,
            format!("it still holds {} objects: delete them, or set spec.deletionPolicy to Delete to lose them", usage.objects),
        ),
        DeletionPolicy::Delete => match contents::delete(metadata, &name, DELETE_FOR).await? {
            Left { more: false, locked: 1.. } => {
                waiting(Reason::NotEmpty, "versions are locked and stay until their retention ends".to_owned())
            }
            _ => waiting(Reason::Deleting, format!("{} objects were left when this round began", usage.objects)),
        },
    }
}
