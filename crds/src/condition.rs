//! The part of a status that every kind has: which generation it speaks of, and conditions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the platform last observed of an object.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The `metadata.generation` that this status speaks of. Older than the object's own: still in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready` first: whether the object does what its spec asks for. `Stalled` is there, and true, only
    /// while nothing but a change to the spec can help; `Reconciling` while work is under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A kind whose status carries conditions.
pub trait Conditioned {
    /// The conditions last written; none before the first reconcile.
    fn conditions(&self) -> &[Condition];
    /// The generation that the status speaks of.
    fn observed_generation(&self) -> Option<i64>;
}

/// Implements [`Conditioned`] for kinds whose status has the two common fields.
macro_rules! conditioned {
    ($($kind:ty),+ $(,)?) => {$(
        impl $crate::Conditioned for $kind {
            fn conditions(&self) -> &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition] {
                self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
            }
            fn observed_generation(&self) -> Option<i64> {
                self.status.as_ref().and_then(|status| status.observed_generation)
            }
        }
    )+};
}
pub(crate) use conditioned;
