//! Keeping a board up to date by a watch of the Kubernetes API.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use eddy_telemetry::{Readiness, error_chain};
use futures::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::board::Board;
use crate::item::{Item, Place};
use crate::kinds::ServedKind;

/// A board that many read and one watch changes. Clones are of the same.
#[derive(Clone)]
pub(crate) struct Followed(Arc<Shared>);

struct Shared {
    board: RwLock<Board>,
    /// The number of the last change, and the last version.
    news: watch::Sender<(u64, u64)>,
}

impl Followed {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { board: RwLock::default(), news: watch::Sender::new((0, 0)) }))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Board> {
        self.0.board.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of every change, and may miss some but never the last.
    pub(crate) fn news(&self) -> watch::Receiver<(u64, u64)> {
        self.0.news.subscribe()
    }

    /// Waits until a version is here; false if it does not come in time.
    pub(crate) async fn reaches(&self, version: u64, within: Duration) -> bool {
        let mut news = self.news();
        matches!(timeout(within, news.wait_for(|(_, here)| *here >= version)).await, Ok(Ok(_)))
    }

    /// Waits until the object of this identity is not here any more; false if it does not go in time.
    pub(crate) async fn is_gone(&self, place: &Place, uid: &str, within: Duration) -> bool {
        let mut news = self.news();
        let gone = |_: &(u64, u64)| self.read().get(place).is_none_or(|item| item.uid != uid);
        matches!(timeout(within, news.wait_for(gone)).await, Ok(Ok(_)))
    }

    pub(crate) fn take(&self, event: Event<Arc<Item>>) {
        let mut board = self.0.board.write().unwrap_or_else(PoisonError::into_inner);
        board.take(event);
        let news = (board.number(), board.version());
        drop(board);
        self.0.news.send_if_modified(|last| std::mem::replace(last, news) != news);
    }

    /// Follows a kind for ever.
    pub(crate) async fn follow(self, client: Client, kind: ServedKind, ready: Readiness) {
        let api = Api::<DynamicObject>::all_with(client, &kind.resource);
        let mut events = std::pin::pin!(eddy_watch::watch(api, eddy_watch::prompt()));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if let Some(event) = of_items(event, &kind) {
                        self.take(event);
                    }
                    if self.read().is_filled() {
                        ready.ready();
                    }
                }
                Err(error) => tracing::warn!(error = error_chain(&error), kind = kind.plural, "failed to watch"),
            }
        }
    }
}

fn of_items(event: Event<DynamicObject>, kind: &ServedKind) -> Option<Event<Arc<Item>>> {
    let item = |object| Item::of(object, &kind.resource);
    Some(match event {
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(item(object)?),
        Event::InitDone => Event::InitDone,
        Event::Apply(object) => Event::Apply(item(object)?),
        Event::Delete(object) => Event::Delete(item(object)?),
    })
}
