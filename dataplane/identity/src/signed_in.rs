//! Who has signed in, as facts that permissions are made of: read from the store, of which another replica says what changed. It is read as a whole
//! where a mark in it says that something was missed, and every now and then besides: what is told by NATS is lost where nobody hears it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Client as Nats;
use async_stream::stream;
use bytes::Bytes;
use eddy_authz::{Entry, session_key};
use eddy_people::{Sessions, SignedIn};
use eddy_telemetry::error_chain;
use futures::{Stream, StreamExt, pin_mut};
use jiff::Timestamp;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::fact::Fact;
use crate::world::{Change, Place};

/// The kind's name among all facts.
pub(crate) const KIND: &str = "Session";
/// On which it is told that a session has begun, or ended.
pub(crate) const SUBJECT: &str = "eddy.sessions";
/// Between two times that all are read.
const READ_ALL_EVERY: Duration = Duration::from_secs(10);
/// Between two looks whether something was missed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between tries to hear of changes.
const PAUSE: Duration = Duration::from_secs(1);

/// What happens to sessions, for ever.
pub(crate) fn changes(sessions: Sessions, nats: Nats) -> impl Stream<Item = Change> {
    stream! {
        let mut known: Option<BTreeMap<String, SignedIn>> = None;
        let (mut all, mut looks) = (every_so_often(READ_ALL_EVERY), every_so_often(LOOK_EVERY));
        let mut mark = None;
        loop {
            let told = match nats.subscribe(SUBJECT).await {
                Ok(told) => told,
                Err(error) => {
                    tracing::warn!(error = error_chain(&error), "failed to hear of sessions; it is tried again");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            pin_mut!(told);
            loop {
                let next = tokio::select! {
                    _ = all.tick() => Next::All,
                    _ = looks.tick() => Next::Look,
                    message = told.next() => match message {
                        Some(message) => Next::One(message.payload),
                        None => break,
                    },
                };
                let changes = match next {
                    Next::All => every(&sessions, &mut known).await.unwrap_or_default(),
                    Next::One(id) => one(&sessions, &id, known.as_mut()).await,
                    // Before all are read, so that what changes meanwhile is seen the next time.
                    Next::Look => match sessions.mark().await {
                        Ok(now) if now == mark && known.is_some() => Vec::new(),
                        Ok(now) => match every(&sessions, &mut known).await {
                            Some(changes) => {
                                mark = now;
                                changes
                            }
                            None => Vec::new(),
                        },
                        // All are read soon, or say why they cannot be.
                        Err(_) => Vec::new(),
                    },
                };
                for change in changes {
                    yield change;
                }
            }
        }
    }
}

/// What is to be looked at.
enum Next {
    All,
    /// Those that are marked as changed, if any are.
    Look,
    /// The session of this id.
    One(Bytes),
}

fn every_so_often(pause: Duration) -> Interval {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The session of an id that was told.
async fn one(sessions: &Sessions, id: &[u8], known: Option<&mut BTreeMap<String, SignedIn>>) -> Vec<Change> {
    // Before all were read, none is.
    let (Some(known), Ok(id)) = (known, std::str::from_utf8(id)) else { return Vec::new() };
    match sessions.one(id).await {
        Ok(now) => changed(id, now, known).into_iter().collect(),
        Err(error) => {
            tracing::warn!(error = error_chain(&error), "failed to read a session; all are read soon");
            Vec::new()
        }
    }
}

/// What changed of all of them; at first, that these are all. None if they cannot be read.
async fn every(sessions: &Sessions, known: &mut Option<BTreeMap<String, SignedIn>>) -> Option<Vec<Change>> {
    let all = match sessions.all().await {
        Ok(all) => all,
        Err(error) => {
            tracing::warn!(error = error_chain(&error), "failed to read sessions; what is known of them stays");
            return None;
        }
    };
    let Some(known) = known else {
        let facts = all.iter().map(|(id, session)| (place(id, session), fact(id, session))).collect();
        *known = Some(all);
        return Some(vec![Change::All(KIND, facts)]);
    };
    let gone: Vec<String> = known.keys().filter(|id| !all.contains_key(*id)).cloned().collect();
    let now = all.into_iter().map(|(id, session)| (id, Some(session)));
    let mut changes = Vec::new();
    for (id, session) in gone.into_iter().map(|id| (id, None)).chain(now) {
        changes.extend(changed(&id, session, known));
    }
    Some(changes)
}

fn changed(id: &str, now: Option<SignedIn>, known: &mut BTreeMap<String, SignedIn>) -> Option<Change> {
    match now {
        Some(now) if known.get(id) == Some(&now) => None,
        Some(now) => {
            let change = Change::There(place(id, &now), fact(id, &now));
            known.insert(id.to_owned(), now);
            Some(change)
        }
        None => known.remove(id).map(|before| Change::Gone(place(id, &before))),
    }
}

fn place(id: &str, session: &SignedIn) -> Place {
    Place::new(&session.entry.user, KIND, id)
}

fn fact(id: &str, session: &SignedIn) -> Fact {
    let made = Timestamp::from_second(session.began_s).ok();
    Fact { made, entries: vec![(session_key(id), Entry::Session(session.entry.clone()))] }
}
