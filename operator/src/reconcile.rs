//! What surrounds every reconciliation: a deadline, a net under panics, metrics, and growing pauses after failures.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eddy_telemetry::error_chain;
use futures::{FutureExt, Stream, StreamExt};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::finalizing::is_held;
use crate::status::Owned;

/// More than any reconciliation takes; a server that never answers must not hold a place for ever.
const DEADLINE: Duration = Duration::from_secs(30);
/// Events of one object that come this soon after one another are one reconciliation.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// Runs a controller to its end.
pub(crate) async fn run<K, Reconcile, Fut>(
    controller: Controller<K>,
    kind: &'static str,
    context: Arc<Context>,
    concurrency: u16,
    reconcile: Reconcile,
) where
    K: Owned + Send + Sync + 'static,
    Reconcile: Fn(Arc<K>, Arc<Context>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Action, ReconcileError>> + Send + 'static,
{
    let configuration = controller::Config::default().concurrency(concurrency).debounce(DEBOUNCE);
    let outcomes = controller.with_config(configuration).trigger_backoff(Unpaused).run(
        move |object, context: Arc<Context>| {
            let work = reconcile(object.clone(), context.clone());
            guarded(kind, object, context, work)
        },
        move |object, error, context| {
            context.metrics.failed(kind, error.label());
            let pause = context.backoff.failed(key(kind, &*object));
            tracing::warn!(
                kind,
                namespace = object.namespace(),
                name = object.name_any(),
                error = error_chain(error),
                retry_in_s = pause.as_secs_f64(),
                "failed to reconcile"
            );
            Action::requeue(pause)
        },
        context.clone(),
    );
    record(kind, &context, outcomes).await;
}

/// No pause after a failed watch, since each watch takes its own. The controller's would hold up all of its watches for
/// each failure of any, longer each time: after an outage, every one of them has a failure to tell.
struct Unpaused;

impl Iterator for Unpaused {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Backoff for Unpaused {
    fn reset(&mut self) {}
}

async fn guarded<K: Owned>(
    kind: &'static str,
    object: Arc<K>,
    context: Arc<Context>,
    work: impl Future<Output = Result<Action, ReconcileError>>,
) -> Result<Action, ReconcileError> {
    // What is going away is looked at only by whoever holds it up.
    if object.meta().deletion_timestamp.is_some() && !is_held(&*object) {
        return Ok(Action::await_change());
    }
    let start = Instant::now();
    let result = match tokio::time::timeout(DEADLINE, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(ReconcileError::Panicked(text(&*panic))),
        Err(_) => Err(ReconcileError::Timeout(DEADLINE)),
    };
    context.metrics.reconciled(kind, start.elapsed());
    if result.is_ok() {
        context.backoff.succeeded(&key(kind, &*object));
    }
    result
}

/// Logs what the controller itself could not do. What a reconciliation could not do is logged where its pause is chosen.
async fn record<K: Resource<DynamicType = ()>>(
    kind: &'static str,
    context: &Context,
    outcomes: impl Stream<Item = Result<(ObjectRef<K>, Action), controller::Error<ReconcileError, watcher::Error>>>,
) {
    let mut outcomes = std::pin::pin!(outcomes);
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            // Deleted between event and work: a normal race.
            Ok(_) | Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
            Err(error) => {
                context.metrics.failed(kind, "watch");
                tracing::warn!(kind, error = error_chain(&error), "failed to watch");
            }
        }
    }
}

fn key<K: Resource<DynamicType = ()>>(kind: &str, object: &K) -> String {
    format!("{kind}/{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

pub(crate) fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(no message)".to_owned())
}
