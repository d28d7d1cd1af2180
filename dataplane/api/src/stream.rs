//! Changes as they are made, as server-sent events (WHATWG HTML, 9.2).
//!
//! `event: snapshot` is the list as it is, the first; then `put` is an object that changed or came, `delete` one that went. The id of an
//! event is the version up to which whoever received it has seen everything: who comes back with it, to whichever replica, gets what
//! they missed, or another snapshot where that is no longer known. A comment goes out where nothing changes for a while.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use eddy_authz::Action;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use kube::core::Selector;
use tokio::sync::watch;
use tokio::time::{Interval, interval};

use crate::access::{Caller, Target};
use crate::board::Change;
use crate::follow::Followed;
use crate::item::Item;
use crate::kinds::ServedKind;
use crate::metrics::ApiMetrics;
use crate::per_user::Entered;
use crate::read::page;
use crate::router::Api;
use crate::selector;

/// Between signs of life, in which it is also seen whether whoever listens still may.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// What is gathered at a time for whoever is behind.
const GATHER_BYTES_MAX: usize = 1024 * 1024;

/// Whose changes.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) namespace: Option<String>,
    pub(crate) selector: Selector,
}

/// What whoever follows asked for.
pub(crate) struct Following {
    pub(crate) kind: ServedKind,
    pub(crate) tenant: Option<String>,
    /// What they showed.
    pub(crate) headers: HeaderMap,
    pub(crate) followed: Followed,
    pub(crate) filter: Filter,
    /// The version up to which they have seen everything.
    pub(crate) last_seen: Option<u64>,
    pub(crate) _entered: Entered,
}

/// One stream.
struct Listener {
    api: Api,
    asked: Following,
    news: watch::Receiver<(u64, u64)>,
    alive: Interval,
    /// The number of the last change that was sent; none before the first snapshot.
    seen: Option<u64>,
    ready: VecDeque<Bytes>,
    _open: Open,
}

/// Counts a stream while it is open.
struct Open(ApiMetrics);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.dec();
    }
}

/// The answer that goes on for as long as whoever asked may hear it.
pub(crate) fn changes(api: Api, asked: Following) -> Response {
    api.metrics().streams.inc();
    let open = Open(api.metrics().clone());
    let seen = asked.last_seen.and_then(|version| asked.followed.read().since(version));
    let (news, alive, ready) = (asked.followed.news(), interval(ALIVE_EVERY), VecDeque::new());
    let listener = Listener { api, asked, news, alive, seen, ready, _open: open };
    let body = Body::from_stream(stream::unfold(listener, |mut listener| async move {
        let next = listener.next().await?;
        Some((Ok::<_, Infallible>(next), listener))
    }));
    let headers =
        [(CONTENT_TYPE, HeaderValue::from_static("text/event-stream")), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (headers, body).into_response()
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        let shutdown = self.api.shutdown().clone();
        loop {
            // Whatever was withdrawn since is withdrawn now.
            if !self.still_may() {
                return None;
            }
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            self.news.mark_unchanged();
            let seen = self.seen;
            self.gather();
            // There may be more.
            if self.seen != seen {
                continue;
            }
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                _ = self.alive.tick() => self.ready.push_back(Bytes::from_static(b": alive\n\n")),
                () = shutdown.requested() => return None,
            }
        }
    }

    fn still_may(&self) -> bool {
        let target = Target { kind: &self.asked.kind, tenant: self.asked.tenant.as_deref().unwrap_or_default(), name: "" };
        Caller::of(&Method::GET, &self.asked.headers, self.api.feed())
            .is_ok_and(|caller| caller.may(self.api.feed(), Action::Read, target))
    }

    /// Puts what is new among what is to be sent.
    fn gather(&mut self) {
        let board = self.asked.followed.read();
        match self.seen.and_then(|seen| board.after(seen)) {
            Some(changes) => {
                let mut bytes = 0;
                for change in changes {
                    self.ready.extend(self.asked.filter.event(change));
                    self.seen = Some(change.number);
                    bytes += change.bytes();
                    if bytes > GATHER_BYTES_MAX {
                        break;
                    }
                }
            }
            None => {
                let listed = board.list(self.asked.filter.namespace.as_deref(), None);
                let listed = listed
                    .filter(|item| selector::matches(&self.asked.filter.selector, &item.labels))
                    .map(|item| &item.json)
                    .collect::<Vec<_>>();
                let list = page(&self.asked.kind, board.version(), None, listed.into_iter());
                self.ready.push_back(event("snapshot", board.version(), &list));
                self.seen = Some(board.number());
            }
        }
    }
}

impl Filter {
    fn selects(&self, item: &Item) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| *item.place.namespace == *namespace)
            && selector::matches(&self.selector, &item.labels)
    }

    /// What a change is to whoever sees only what this selects.
    fn event(&self, change: &Change) -> Option<Bytes> {
        let [before, after] = [&change.before, &change.after].map(|item| item.as_ref().filter(|item| self.selects(item)));
        match (before, after) {
            (_, Some(after)) => Some(event("put", change.version, &after.json)),
            (Some(before), None) => {
                let (namespace, name) = (&*before.place.namespace, &*before.place.name);
                let gone = serde_json::json!({"metadata": {"namespace": namespace, "name": name, "uid": before.uid}});
                Some(event("delete", change.version, gone.to_string().as_bytes()))
            }
            (None, None) => None,
        }
    }
}

/// JSON has no line feeds, so that it is one line of data.
fn event(what: &str, version: u64, data: &[u8]) -> Bytes {
    let mut text = format!("event: {what}\nid: {version}\ndata: ").into_bytes();
    text.extend_from_slice(data);
    text.extend_from_slice(b"\n\n");
    text.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::item::Place;

    fn item(namespace: &str, tier: &str) -> Option<Arc<Item>> {
        let labels = [("tier".to_owned(), tier.to_owned())].into();
        let (uid, json) = ("u1".into(), Bytes::from_static(b"{\"a\":1}"));
        Some(Arc::new(Item { place: Place::new(namespace, "x"), version: 7, uid, labels, json }))
    }

    #[test]
    fn what_no_longer_is_selected_went_for_whoever_selects() {
        let filter = Filter { namespace: Some("u-ada".into()), selector: selector::parse("tier=front").unwrap() };
        let said = |before, after| {
            let change = Change { number: 1, version: 9, before, after };
            filter.event(&change).map(|event| String::from_utf8(event.to_vec()).unwrap())
        };
        let put = "event: put\nid: 9\ndata: {\"a\":1}\n\n";
        let gone = "event: delete\nid: 9\ndata: {\"metadata\":{\"name\":\"x\",\"namespace\":\"u-ada\",\"uid\":\"u1\"}}\n\n";
        assert_eq!(said(None, item("u-ada", "front")).as_deref(), Some(put));
        assert_eq!(said(item("u-ada", "back"), item("u-ada", "front")).as_deref(), Some(put));
        assert_eq!(said(item("u-ada", "front"), item("u-ada", "back")).as_deref(), Some(gone));
        assert_eq!(said(item("u-ada", "front"), None).as_deref(), Some(gone));
        for nothing in [said(item("u-ada", "back"), None), said(None, item("u-bob", "front")), said(item("u-bob", "front"), None)]
        {
            assert_eq!(nothing, None);
        }
    }
}
