//! Holding an object until what it stands for outside of the cluster's API is gone, and letting it go.

use std::fmt::Debug;
use std::sync::Arc;

use eddy_crds::STORAGE_FINALIZER;
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{self, finalizer};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ReconcileError;

/// Whether an object stays until the operator lets it go.
pub(crate) fn is_held(object: &impl ResourceExt) -> bool {
    object.finalizers().iter().any(|held| held == STORAGE_FINALIZER)
}

/// Holds an object, or lets it go if it is being deleted. Either is a change that comes back to its reconciliation.
pub(crate) async fn settle<K>(api: &Api<K>, object: Arc<K>) -> Result<Action, ReconcileError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug,
{
    let unchanged = |_| async { Ok::<_, ReconcileError>(Action::await_change()) };
    finalizer(api, STORAGE_FINALIZER, object, unchanged).await.map_err(|error| match error {
        finalizer::Error::ApplyFailed(error) | finalizer::Error::CleanupFailed(error) => error,
        finalizer::Error::AddFinalizer(source) | finalizer::Error::RemoveFinalizer(source) => {
            ReconcileError::Finalizer(Box::new(source))
        }
        finalizer::Error::UnnamedObject | finalizer::Error::InvalidFinalizer => {
            ReconcileError::Panicked("an object without a name".into())
        }
    })
}
