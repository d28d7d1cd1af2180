//! Streams of what changes in the cluster, each with a store of what is there now.

use std::fmt::Debug;

use eddy_crds::{MANAGED_BY, MANAGED_BY_LABEL};
use eddy_watch::{watch, watch_well_formed};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, Stream, StreamExt, future};
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher;
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

/// Changes of one kind.
pub(crate) type Changes<K> = std::pin::Pin<Box<dyn Stream<Item = Result<K, watcher::Error>> + Send>>;

/// Resolves once every store that it was made of has been filled.
pub(crate) type Filled = Shared<BoxFuture<'static, ()>>;

/// Resolves once a store has been filled. Whoever waits must not drive the store's stream itself.
pub(crate) fn filled<K>(store: &Store<K>) -> BoxFuture<'static, ()>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let store = store.clone();
    async move {
        // An error means that the watch has ended, as the process is about to.
        let _ = store.wait_until_ready().await;
    }
    .boxed()
}

/// Joins several waits into one that any number of tasks may wait for at once. A store's own wait wakes only the
/// task that asked last.
pub(crate) fn all_filled(waits: impl IntoIterator<Item = BoxFuture<'static, ()>>) -> Filled {
    future::join_all(waits).map(drop).boxed().shared()
}

/// All objects of one of our kinds. The stream yields an object when its spec changes, not its status.
pub(crate) fn specs<K>(client: &Client) -> (Store<K>, Changes<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let changes = watch_well_formed(client)
        .modify(forget_field_managers)
        .reflect(writer)
        .applied_objects()
        .predicate_filter(predicates::generation.combine(predicates::finalizers), PredicateConfig::default());
    (store, changes.boxed())
}

/// All objects of one of our kinds. The stream yields an object at every change, its deletion among them.
pub(crate) fn all<K>(client: &Client) -> (Store<K>, Changes<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    (store, watch_well_formed(client).modify(forget_field_managers).reflect(writer).touched_objects().boxed())
}

/// All objects of a kind that the operator makes. The stream yields an object at every change, its deletion among
/// them. `trim` drops what nobody reads, since thousands are kept.
pub(crate) fn children<K>(client: &Client, trim: fn(&mut K)) -> (Store<K>, Changes<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let ours = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    let (store, writer) = reflector::store();
    let changes = watch(Api::<K>::all(client.clone()), ours)
        .modify(move |object| {
            forget_field_managers(object);
            trim(object);
        })
        .reflect(writer)
        .touched_objects();
    (store, changes.boxed())
}

fn forget_field_managers<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_crds::User;
    use kube::runtime::watcher::Event;

    #[tokio::test]
    async fn every_task_that_waits_is_woken() {
        let (store, mut writer) = reflector::store::<User>();
        let wait = all_filled([filled(&store)]);
        let tasks: Vec<_> = (0..16).map(|_| tokio::spawn(wait.clone())).collect();
        tokio::task::yield_now().await;
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        for task in tasks {
            tokio::time::timeout(std::time::Duration::from_secs(5), task).await.expect("woken").unwrap();
        }
    }
}
