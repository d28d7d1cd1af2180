//! Who has signed in, as facts that permissions are made of: read from the store, of which another replica says what changed, and which
//! is read as a whole every now and then besides.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Client as Nats;
use async_stream::stream;
use eddy_authz::{Entry, session_key};
use eddy_people::{Sessions, SignedIn};
use eddy_telemetry::error_chain;
use futures::future::{Either, select};
use futures::{Stream, StreamExt, pin_mut};
use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::fact::Fact;
use crate::world::{Change, Place};

/// The kind's name among all facts.
pub(crate) const KIND: &str = "Session";
/// On which it is told that a session has begun, or ended.
pub(crate) const SUBJECT: &str = "eddy.sessions";
/// Between two times that all are read.
const READ_ALL_EVERY: Duration = Duration::from_secs(10);
/// Between tries to hear of changes.
const PAUSE: Duration = Duration::from_secs(1);

/// What happens to sessions, for ever.
pub(crate) fn changes(sessions: Sessions, nats: Nats) -> impl Stream<Item = Change> {
    stream! {
        let mut known: Option<BTreeMap<String, SignedIn>> = None;
        let mut all = interval(READ_ALL_EVERY);
        all.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                let next = {
                    let (tick, told) = (all.tick(), told.next());
                    pin_mut!(tick, told);
                    match select(tick, told).await {
                        Either::Left(_) => None,
                        Either::Right((Some(message), _)) => Some(message),
                        Either::Right((None, _)) => break,
                    }
                };
                let changes = match next {
                    Some(message) => one(&sessions, &message.payload, known.as_mut()).await,
                    None => every(&sessions, &mut known).await,
                };
                for change in changes {
                    yield change;
                }
            }
        }
    }
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

/// What changed of all of them; at first, that these are all.
async fn every(sessions: &Sessions, known: &mut Option<BTreeMap<String, SignedIn>>) -> Vec<Change> {
    let all = match sessions.all().await {
        Ok(all) => all,
        Err(error) => {
            tracing::warn!(error = error_chain(&error), "failed to read sessions; what is known of them stays");
            return Vec::new();
        }
    };
    let Some(known) = known else {
        let facts = all.iter().map(|(id, session)| (place(id, session), fact(id, session))).collect();
        *known = Some(all);
        return vec![Change::All(KIND, facts)];
    };
    let gone: Vec<String> = known.keys().filter(|id| !all.contains_key(*id)).cloned().collect();
    let now = all.into_iter().map(|(id, session)| (id, Some(session)));
    let mut changes = Vec::new();
    for (id, session) in gone.into_iter().map(|id| (id, None)).chain(now) {
        changes.extend(changed(&id, session, known));
    }
    changes
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
