//! Objects that are watched each by its name, since a gateway may read no others of their kind.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;

use eddy_watch::watch;
use futures::StreamExt;
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::inputs::Place;
use crate::watch::Change;

/// What is known of an object.
#[derive(Debug)]
pub(crate) enum Seen<T> {
    /// It is this now.
    Is(T),
    /// It is not there.
    Gone,
    /// That cannot be known now.
    Unknown,
}

impl<T> Seen<T> {
    /// The same of what it is read as.
    pub(crate) fn map<U>(self, read: impl Fn(&T) -> U) -> Seen<U> {
        match self {
            Self::Is(object) => Seen::Is(read(&object)),
            Self::Gone => Seen::Gone,
            Self::Unknown => Seen::Unknown,
        }
    }
}

/// The watches of those of one kind that are wanted.
pub(crate) struct Watches<K> {
    client: Client,
    changes: mpsc::Sender<Change>,
    change: fn(Place, Seen<K>) -> Change,
    running: HashMap<Place, AbortHandle>,
}

impl<K> Watches<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Those whose objects are told by `change`.
    pub(crate) fn new(client: Client, changes: mpsc::Sender<Change>, change: fn(Place, Seen<K>) -> Change) -> Self {
        Self { client, changes, change, running: HashMap::new() }
    }

    /// Watches these and no others. Returns those that it did not before.
    pub(crate) fn want(&mut self, wanted: &HashSet<Place>) -> Vec<Place> {
        self.running.retain(|place, watch| {
            let is_wanted = wanted.contains(place);
            if !is_wanted {
                watch.abort();
            }
            is_wanted
        });
        let new: Vec<Place> = wanted.iter().filter(|place| !self.running.contains_key(place)).cloned().collect();
        for place in &new {
            let task = tokio::spawn(follow(self.client.clone(), place.clone(), self.changes.clone(), self.change));
            self.running.insert(place.clone(), task.abort_handle());
        }
        new
    }
}

impl<K> Drop for Watches<K> {
    fn drop(&mut self) {
        self.running.values().for_each(AbortHandle::abort);
    }
}

/// Passes on what an object is, for as long as somebody takes it.
async fn follow<K>(client: Client, place: Place, changes: mpsc::Sender<Change>, change: fn(Place, Seen<K>) -> Change)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api: Api<K> = Api::namespaced(client, &place.namespace);
    let by_name = watcher::Config::default().fields(&format!("metadata.name={}", place.name));
    let mut events = std::pin::pin!(watch(api, by_name));
    let mut is_listed = false;
    while let Some(event) = events.next().await {
        let seen = match event {
            Ok(Event::Init) => {
                is_listed = false;
                None
            }
            Ok(Event::InitApply(object)) => {
                is_listed = true;
                Some(Seen::Is(object))
            }
            Ok(Event::InitDone) if is_listed => None,
            Ok(Event::InitDone | Event::Delete(_)) => Some(Seen::Gone),
            Ok(Event::Apply(object)) => Some(Seen::Is(object)),
            Err(error) => {
                // The operator lets gateways read it a moment after what names it is there.
                tracing::debug!(object = %place, %error, "failed to watch what is named; it is tried again");
                Some(Seen::Unknown)
            }
        };
        if let Some(seen) = seen
            && changes.send(change(place.clone(), seen)).await.is_err()
        {
            return;
        }
    }
}
