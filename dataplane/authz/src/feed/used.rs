//! Which tokens were used: each process says so every now and then, and identity writes it to their objects.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;

use super::Shared;
use crate::token::is_id;

/// On which it is said, in messages of ids with a line each.
pub const USED_SUBJECT: &str = "eddy.used";
/// A use is said within this.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// Ids of a message: their lines fit into one of 1 MB many times.
const IDS_MAX: usize = 10_000;

/// Tokens that were used since it was last said.
#[derive(Debug, Default)]
pub(super) struct Used(Mutex<HashSet<Box<str>, foldhash::fast::RandomState>>);

impl Used {
    /// A token of this id was used: one that there is, so that there are not more than those.
    pub(super) fn note(&self, id: &str) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !used.contains(id) {
            used.insert(id.into());
        }
    }

    fn take(&self) -> Vec<Box<str>> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.drain().collect()
    }
}

/// Says what was used, for as long as anybody asks who may what. What cannot be said is lost: it is said of the next use.
pub(super) async fn say(shared: Weak<Shared>, client: Client) {
    loop {
        tokio::time::sleep(SAY_EVERY).await;
        let Some(used) = shared.upgrade().map(|shared| shared.used.take()) else { return };
        for ids in used.chunks(IDS_MAX) {
            if let Err(error) = client.publish(USED_SUBJECT, Bytes::from(ids.join("\n"))).await {
                tracing::debug!(%error, "failed to say which tokens were used");
            }
        }
    }
}

/// The ids of a message; what is none is left out.
pub fn used_ids(message: &[u8]) -> impl Iterator<Item = &str> {
    message.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()).filter(|id| is_id(id)).take(IDS_MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_said_once() {
        let used = Used::default();
        for id in ["0123456789abcdef", "fedcba9876543210", "0123456789abcdef"] {
            used.note(id);
        }
        let message = used.take().join("\n");
        let mut ids: Vec<&str> = used_ids(message.as_bytes()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["0123456789abcdef", "fedcba9876543210"]);
        assert!(used.take().is_empty());
    }

    #[test]
    fn what_is_no_id_is_left_out() {
        assert_eq!(used_ids(b"").count() + used_ids(b"x\n\n../y\n\xff\xff").count(), 0);
        let many = "0123456789abcdef\n".repeat(IDS_MAX + 5);
        assert_eq!(used_ids(many.as_bytes()).count(), IDS_MAX);
    }
}
