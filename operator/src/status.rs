//! Writing a status, and an event when it is news.

use std::fmt::Debug;

use eddy_crds::{Conditioned, FIELD_MANAGER};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::conditions::{conditions, is_transition};
use crate::context::Context;
use crate::error::ReconcileError;
use crate::reason::{Outcome, Reason, Verdict};

/// A kind with a status that the operator writes.
pub(crate) trait Owned: Resource<DynamicType = ()> + Conditioned + Clone + Debug + Serialize + DeserializeOwned {}
impl<K: Resource<DynamicType = ()> + Conditioned + Clone + Debug + Serialize + DeserializeOwned> Owned for K {}

/// Says that work has begun, on an object that has no status yet: an empty status reads as healthy to some. Returns whether it had none.
pub(crate) async fn begin<K: Owned>(context: &Context, api: &Api<K>, object: &K) -> Result<bool, ReconcileError> {
    let is_new = object.conditions().is_empty();
    if is_new {
        write(context, api, object, &Verdict::new(Reason::Reconciling, "work on this object has begun"), Map::new()).await?;
    }
    Ok(is_new)
}

/// Writes the verdict, with `more` fields of the kind's own, where it says something new. What is null is not to be there.
pub(crate) async fn write<K: Owned>(
    context: &Context,
    api: &Api<K>,
    object: &K,
    verdict: &Verdict,
    more: Map<String, Value>,
) -> Result<(), ReconcileError> {
    write_over(context, api, object, None, verdict, more).await
}

/// The same, only where the object is still the very one that the verdict is of: for fields that must never be put back to what they were.
pub(crate) async fn write_exactly<K: Owned>(
    context: &Context,
    api: &Api<K>,
    object: &K,
    verdict: &Verdict,
    more: Map<String, Value>,
) -> Result<(), ReconcileError> {
    write_over(context, api, object, object.meta().resource_version.as_deref(), verdict, more).await
}

async fn write_over<K: Owned>(
    context: &Context,
    api: &Api<K>,
    object: &K,
    version: Option<&str>,
    verdict: &Verdict,
    more: Map<String, Value>,
) -> Result<(), ReconcileError> {
    let generation = object.meta().generation;
    let mut status = more;
    status.insert("observedGeneration".into(), json!(generation));
    status.insert("conditions".into(), json!(conditions(object.conditions(), verdict, generation, Timestamp::now())));
    if says_the_same(object, &status) {
        return Ok(());
    }
    // Nothing is said of what is none, rather than that it is.
    status.retain(|_, value| !value.is_null());
    let mut patch = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": status});
    if let Some(version) = version {
        patch["metadata"] = json!({ "resourceVersion": version });
    }
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(&object.name_any(), &parameters, &Patch::Apply(patch)).await {
        Ok(_) => {}
        // Deleted meanwhile: there is nothing left to say.
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        Err(source) => return Err(ReconcileError::Status(Box::new(source))),
    }
    if is_transition(object.conditions(), verdict)
        && let Some(type_) = event_type(verdict.reason.outcome())
    {
        publish(context, object, verdict, type_).await;
    }
    Ok(())
}

/// Whether every field of a new status is in the object's present one, alike. A status write is an event of the
/// object's own watch, so writing what is there already would go round in circles.
fn says_the_same<K: Owned>(object: &K, status: &Map<String, Value>) -> bool {
    let Ok(present) = serde_json::to_value(object) else { return false };
    status.iter().all(|(field, value)| present["status"].get(field).unwrap_or(&Value::Null) == value)
}

/// Steps on the way are no event: a user waits for the end, and thousands of objects take the same steps.
fn event_type(outcome: Outcome) -> Option<EventType> {
    match outcome {
        Outcome::Unknown | Outcome::Working => None,
        Outcome::Ready => Some(EventType::Normal),
        Outcome::Failed | Outcome::Stalled | Outcome::Impaired => Some(EventType::Warning),
    }
}

async fn publish<K: Owned>(context: &Context, object: &K, verdict: &Verdict, type_: EventType) {
    let event = Event {
        type_,
        reason: verdict.reason.as_str().into(),
        note: Some(verdict.message.clone()),
        action: "Reconcile".into(),
        secondary: None,
    };
    // The condition says the same, so a lost event is no loss of information.
    if let Err(error) = context.recorder.publish(&event, &object.object_ref(&())).await {
        tracing::debug!(%error, "failed to publish an event");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_crds::{Route, RouteSpec};

    #[test]
    fn a_status_that_says_the_same_is_not_written_again() {
        let mut route = Route::new("r", RouteSpec::default());
        let verdict = Verdict::new(Reason::Serving, "ok");
        let status = |route: &Route| -> Map<String, Value> {
            let mut status = Map::new();
            status.insert("hostsTaken".into(), json!(["a"]));
            status.insert("conditions".into(), json!(conditions(route.conditions(), &verdict, Some(1), Timestamp::now())));
            status
        };
        assert!(!says_the_same(&route, &status(&route)));
        route.status = serde_json::from_value(Value::Object(status(&route))).unwrap();
        assert!(says_the_same(&route, &status(&route)));
    }
}
