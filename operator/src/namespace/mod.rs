//! Namespace: tells storage what a user wants of a storage namespace, and the user what it holds.
//!
//! What it stands for is outside of the cluster's API, so a finalizer holds up its deletion: until the contents are gone, or
//! at once with them, as `spec.deletionPolicy` says. Names are those of buckets, one set for all tenants: first come, first
//! served, and what is another's is never touched.

mod contents;
mod desired;

use std::sync::Arc;
use std::time::Duration;

use eddy_crds::{DeletionPolicy, Namespace, STORAGE_FINALIZER, tenant_of};
use eddy_object::schema::{LIFECYCLE, LifecycleRules, NamespaceRow, NamespaceSettings, decode, encode};
use eddy_object::{Metadata, ObjectError, Usage};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{self, finalizer};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::reason::{Reason, Verdict};
use crate::watching::specs;
use crate::{reconcile, status};

/// How often usage is read, and what a door was told is put right.
const LOOK_AGAIN: Duration = Duration::from_secs(20);
/// How often somebody looks whether contents are gone.
const WAIT_FOR_EMPTY: Duration = Duration::from_secs(2);
/// Versions that are deleted in one go: well within a reconciliation's time.
const DELETED_AT_ONCE: usize = 2000;

/// Runs until the end is requested.
pub(crate) async fn run(
    client: Client,
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (namespaces, changes) = specs::<Namespace>(&client);
    let controller = Controller::for_stream(changes, namespaces).graceful_shutdown_on(stop);
    reconcile::run(controller, "Namespace", context, concurrency, reconcile).await;
}

async fn reconcile(namespace: Arc<Namespace>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let core = namespace.namespace().unwrap_or_default();
    let api: Api<Namespace> = Api::namespaced(context.client.clone(), &core);
    let deleting = namespace.metadata.deletion_timestamp.is_some();
    if !deleting {
        status::begin(&context, &api, &namespace).await?;
    }
    let (owner, metadata) = match (tenant_of(&core), &context.storage) {
        (Some(owner), Some(metadata)) => (owner, metadata),
        (owner, _) => {
            let (reason, message) = match owner {
                None => (Reason::NotATenant, format!("{core} is no User's core namespace: apply this Namespace to u-<user>")),
                Some(_) => (Reason::NotSupported, "this cluster runs no storage: set storage.enabled of the chart".to_owned()),
            };
            status::write(&context, &api, &namespace, &Verdict::new(reason, message), Map::new()).await?;
            return Ok(Action::await_change());
        }
    };
    let done = match deleting {
        true => release(metadata, owner, &namespace).await,
        false if !namespace.finalizers().iter().any(|held| held == STORAGE_FINALIZER) => Ok(Progress::Settled),
        false => provide(metadata, owner, &namespace).await,
    };
    match done {
        // Held before anything is made, let go when nothing is left: either is a change that comes back here.
        Ok(Progress::Settled) => settle(&api, namespace).await,
        Ok(Progress::Waiting(verdict, again)) => {
            status::write(&context, &api, &namespace, &verdict, Map::new()).await?;
            Ok(again)
        }
        Ok(Progress::There(usage)) => {
            let verdict = Verdict::new(Reason::Provisioned, "it can be read and written");
            status::write(&context, &api, &namespace, &verdict, fields(usage)).await?;
            Ok(Action::requeue(LOOK_AGAIN))
        }
        Err(error) => {
            let sentence =
                format!("storage does not answer as it should: {}; it is tried again", eddy_telemetry::error_chain(&error));
            status::write(&context, &api, &namespace, &Verdict::new(Reason::StorageFailed, sentence), Map::new()).await?;
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
    /// Storage has it, and it holds this.
    There(Usage),
}

fn fields(usage: Usage) -> Map<String, Value> {
    [("objects".to_owned(), json!(usage.objects)), ("bytes".to_owned(), json!(usage.bytes))].into_iter().collect()
}

async fn settle(api: &Api<Namespace>, namespace: Arc<Namespace>) -> Result<Action, ReconcileError> {
    let unchanged = |_| async { Ok::<_, ReconcileError>(Action::await_change()) };
    finalizer(api, STORAGE_FINALIZER, namespace, unchanged).await.map_err(|error| match error {
        finalizer::Error::ApplyFailed(error) | finalizer::Error::CleanupFailed(error) => error,
        finalizer::Error::AddFinalizer(source) | finalizer::Error::RemoveFinalizer(source) => {
            ReconcileError::Finalizer(Box::new(source))
        }
        finalizer::Error::UnnamedObject | finalizer::Error::InvalidFinalizer => {
            ReconcileError::Panicked("a Namespace without a name".into())
        }
    })
}

/// Tells storage what the user wants, where it does not know yet.
async fn provide(metadata: &Metadata, owner: &str, namespace: &Namespace) -> Result<Progress, ObjectError> {
    if let Some(obstacle) = desired::obstacle(namespace) {
        return Ok(Progress::Waiting(obstacle, Action::await_change()));
    }
    let name = namespace.name_any();
    let decide = |settings: &mut NamespaceSettings| desired::decide(&namespace.spec, owner, settings);
    let Some(row) = find_or_make(metadata, &name, decide).await? else {
        // Its owner may come and go: it is asked for again, and the first to ask has it.
        return Ok(Progress::Waiting(
            Verdict::new(Reason::Progressing, "another made it meanwhile"),
            Action::requeue(WAIT_FOR_EMPTY),
        ));
    };
    if row.settings.owner != owner {
        let sentence = format!(
            "{name} is another user's: names of storage namespaces are those of buckets, one set for all; choose another"
        );
        return Ok(Progress::Waiting(Verdict::new(Reason::NameTaken, sentence), Action::requeue(LOOK_AGAIN)));
    }
    let mut settings = row.settings.clone();
    decide(&mut settings);
    if settings != row.settings {
        // Whoever made it may have lost it to another meanwhile.
        let change = |settings: &mut NamespaceSettings| {
            if settings.owner == owner {
                decide(settings);
            }
        };
        metadata.change_namespace(&name, change).await?;
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
    metadata.usage(&name).await.map(Progress::There)
}

async fn find_or_make(
    metadata: &Metadata,
    name: &str,
    decide: impl Fn(&mut NamespaceSettings),
) -> Result<Option<NamespaceRow>, ObjectError> {
    match metadata.namespace(name).await {
        Err(ObjectError::NoNamespace(_)) => {}
        found => return found.map(Some),
    }
    let mut settings = NamespaceSettings::default();
    decide(&mut settings);
    match metadata.create_namespace(name, settings).await {
        Err(ObjectError::NamespaceExists(_)) => Ok(None),
        made => made.map(Some),
    }
}

/// Removes the storage namespace as the deletion policy lets it.
async fn release(metadata: &Metadata, owner: &str, namespace: &Namespace) -> Result<Progress, ObjectError> {
    let name = namespace.name_any();
    match metadata.namespace(&name).await {
        Err(ObjectError::NoNamespace(_)) => return Ok(Progress::Settled),
        // It never was this one's.
        Ok(row) if row.settings.owner != owner => return Ok(Progress::Settled),
        found => drop(found?),
    }
    let waiting =
        |reason, sentence: String| Ok(Progress::Waiting(Verdict::new(reason, sentence), Action::requeue(WAIT_FOR_EMPTY)));
    match metadata.delete_namespace(&name).await {
        Ok(()) | Err(ObjectError::NoNamespace(_)) => return Ok(Progress::Settled),
        Err(ObjectError::NotEmpty(..)) => {}
        Err(error) => return Err(error),
    }
    let usage = metadata.usage(&name).await?;
    match namespace.spec.deletion_policy {
        DeletionPolicy::Retain => waiting(
            Reason::NotEmpty,
            format!("it still holds {} objects: delete them, or set spec.deletionPolicy to Delete to lose them", usage.objects),
        ),
        DeletionPolicy::Delete => match contents::delete(metadata, &name, DELETED_AT_ONCE).await? {
            0 => waiting(Reason::Deleting, format!("{} objects are left", usage.objects)),
            locked => waiting(Reason::NotEmpty, format!("{locked} versions are locked and stay until their retention ends")),
        },
    }
}
