//! Which tokens were used lately, written to their objects: once an hour each.

use std::collections::BTreeMap;

use async_nats::Client as Nats;
use async_stream::stream;
use eddy_authz::feed::{USED_SUBJECT, used_ids};
use eddy_crds::{Token, core_namespace};
use eddy_telemetry::error_chain;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::component::PAUSE;
use crate::world::World;

/// Writes that wait. What finds no room is written when it is used again.
const WAITING_MAX: usize = 1000;
/// Tokens whose hour is remembered. With more, some are written more than once an hour.
const KNOWN_MAX: usize = 1_000_000;

/// A Token that was used.
struct Use {
    user: String,
    name: String,
    /// When, to the hour.
    at: Timestamp,
}

/// In which hour each was used last, as far as it was written.
#[derive(Debug, Default)]
struct Uses {
    hours: BTreeMap<Box<str>, Timestamp>,
}

impl Uses {
    /// The hour of a use, if it is to be written.
    fn hour(&mut self, id: &str, now: Timestamp) -> Option<Timestamp> {
        let hour = Timestamp::from_second(now.as_second() - now.as_second().rem_euclid(3600)).ok()?;
        if self.hours.get(id).is_some_and(|written| *written >= hour) {
            return None;
        }
        if self.hours.len() >= KNOWN_MAX {
            self.hours.clear();
        }
        self.hours.insert(id.into(), hour);
        Some(hour)
    }
}

/// Writes uses to the objects of Tokens.
pub(crate) struct LastUses {
    uses: Uses,
    writer: mpsc::Sender<Use>,
}

impl LastUses {
    pub(crate) fn new(client: Client) -> Self {
        Self { uses: Uses::default(), writer: writer(client) }
    }

    /// Takes in what was used just now; ids that nobody has are somebody's mistake.
    pub(crate) fn take(&mut self, world: &World, ids: Vec<Box<str>>) {
        let now = Timestamp::now();
        for id in ids {
            let Some((user, name)) = world.token(&id) else { continue };
            let Some(at) = self.uses.hour(&id, now) else { continue };
            if self.writer.try_send(Use { user, name, at }).is_err() {
                self.uses.hours.remove(&id);
            }
        }
    }
}

/// Messages of ids, for ever.
pub(crate) fn messages(nats: Nats) -> impl Stream<Item = Vec<Box<str>>> {
    stream! {
        loop {
            match nats.subscribe(USED_SUBJECT).await {
                Ok(mut said) => {
                    while let Some(message) = said.next().await {
                        yield used_ids(&message.payload).map(Into::into).collect();
                    }
                }
                Err(error) => tracing::warn!(error = error_chain(&error), "failed to hear which tokens were used; it is tried again"),
            }
            sleep(PAUSE).await;
        }
    }
}

/// Writes them, one after the other, as long as there is somebody who says any.
fn writer(client: Client) -> mpsc::Sender<Use> {
    let (sender, mut uses) = mpsc::channel::<Use>(WAITING_MAX);
    tokio::spawn(async move {
        while let Some(Use { user, name, at }) = uses.recv().await {
            let tokens: Api<Token> = Api::namespaced(client.clone(), &core_namespace(&user));
            let patch = Patch::Merge(json!({"status": {"lastUsedAt": at.to_string()}}));
            match tokens.patch_status(&name, &PatchParams::default(), &patch).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => tracing::warn!(error = error_chain(&error), user, name, "failed to write when a Token was used"),
            }
        }
    });
    sender
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_written_once_an_hour() {
        let mut uses = Uses::default();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(uses.hour("a", at("2026-11-28T13:59:59Z")), Some(at("2026-11-28T13:00:00Z")));
        assert_eq!(uses.hour("a", at("2026-11-28T13:59:59.9Z")), None);
        assert_eq!(uses.hour("b", at("2026-11-28T13:59:59Z")), Some(at("2026-11-28T13:00:00Z")));
        assert_eq!(uses.hour("a", at("2026-11-28T14:00:00Z")), Some(at("2026-11-28T14:00:00Z")));
        assert_eq!(uses.hour("a", at("2026-11-28T13:30:00Z")), None, "clocks that go back put nothing back");
    }
}
