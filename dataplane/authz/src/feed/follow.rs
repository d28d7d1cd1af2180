//! Following the bucket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream;
use async_nats::jetstream::kv::{Entry, Operation, Watch};
use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::file::{self, Known, Moment};
use super::{BUCKET, HEARTBEAT_KEY, Heartbeat, Shared};

/// Who hears nothing for so long asks anew.
const SILENCE: Duration = Duration::from_secs(3);
/// Between tries.
const PAUSE: Duration = Duration::from_millis(500);
/// What changed is in the file so soon,
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// and that nothing did.
const WRITE_QUIET_EVERY: Duration = Duration::from_secs(60);
const FILE_AGE_S_MAX: i64 = super::FILE_AGE_MAX.as_secs().cast_signed();

/// Why the bucket cannot be followed just now.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("failed to open the bucket {BUCKET} of NATS")]
    Open(#[from] jetstream::context::KeyValueError),
    #[error("failed to ask how the bucket {BUCKET} is")]
    Ask(#[from] jetstream::stream::InfoError),
    #[error("failed to watch the bucket {BUCKET}")]
    Watch(#[from] jetstream::kv::WatchError),
    #[error("the watch of the bucket {BUCKET} failed")]
    Entry(#[from] jetstream::kv::WatcherError),
    #[error("nothing was heard of identity for {} s", SILENCE.as_secs())]
    Silent,
    #[error("another publishes to the bucket {BUCKET} by now: it is read anew")]
    Another,
}

/// What one process does to know what identity says.
pub(super) struct Follower {
    shared: Weak<Shared>,
    client: Client,
    file: PathBuf,
    known: Known,
    /// What is read anew, until it is whole.
    fresh: Option<BTreeMap<String, Bytes>>,
    /// Whose signs of life are taken, since the first since the bucket was asked, or before it if this goes on from a file.
    epoch: Option<u64>,
    /// Signs of life since the bucket was asked. The first may be one of long ago that it had kept; the next was given since.
    beats: u32,
    /// When the last was that was given since, in seconds since 1970.
    heard_s: i64,
    written: Instant,
    is_changed: bool,
}

impl Follower {
    pub(super) fn new(shared: &Arc<Shared>, client: Client, file: PathBuf, known: Known) -> Self {
        let shared = Arc::downgrade(shared);
        let heard_s = known.of.map_or(0, |of| of.heard_s);
        let (fresh, epoch) = (None, None);
        Self { shared, client, file, known, fresh, epoch, beats: 0, heard_s, written: Instant::now(), is_changed: false }
    }

    pub(super) async fn run(mut self) {
        let mut is_known = false;
        while self.shared.strong_count() > 0 {
            if let Err(error) = self.follow().await {
                // Once a failure, not once a try.
                if !std::mem::replace(&mut is_known, self.fresh.is_some() || !self.heard_lately()) {
                    tracing::warn!(
                        error = eddy_telemetry::error_chain(&error),
                        "permissions are not heard of; what was known stays"
                    );
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn heard_lately(&self) -> bool {
        self.shared.upgrade().and_then(|shared| shared.age()).is_some_and(|age| age < SILENCE * 2)
    }

    /// Asks for what changed since what is known, or for everything.
    async fn open(&mut self) -> Result<Watch, FollowError> {
        let store = jetstream::new(self.client.clone()).get_key_value(BUCKET).await?;
        let info = store.stream.get_info().await?;
        self.beats = 0;
        let goes_on = |of: &Moment| of.revision <= info.state.last_sequence && age_s(of.heard_s) <= FILE_AGE_S_MAX;
        Ok(match self.known.of.filter(goes_on) {
            Some(of) => {
                (self.fresh, self.epoch) = (None, Some(of.epoch));
                store.watch_all_from_revision(of.revision + 1).await?
            }
            None => {
                (self.fresh, self.epoch) = (Some(BTreeMap::new()), None);
                store.watch_with_history(">").await?
            }
        })
    }

    async fn follow(&mut self) -> Result<(), FollowError> {
        // A question that was under way when a connection was lost is not answered by the next one.
        let mut entries = timeout(SILENCE, self.open()).await.map_err(|_| FollowError::Silent)??;
        loop {
            let entry = timeout(SILENCE, entries.next()).await.ok().flatten().ok_or(FollowError::Silent)??;
            let Some(shared) = self.shared.upgrade() else { return Ok(()) };
            self.take(&shared, entry)?;
            self.write().await;
        }
    }

    fn take(&mut self, shared: &Shared, entry: Entry) -> Result<(), FollowError> {
        let value = (entry.operation == Operation::Put).then_some(entry.value);
        let is_current = entry.delta == 0;
        let beat = value.as_deref().filter(|_| entry.key == HEARTBEAT_KEY).and_then(Heartbeat::parse);
        if let Some(beat) = beat {
            // A client that lost its connection goes on by numbers, which another bucket has as well.
            if *self.epoch.get_or_insert(beat.epoch) != beat.epoch {
                self.known.of = None;
                return Err(FollowError::Another);
            }
            self.beats = self.beats.saturating_add(1);
        }
        let is_heard = beat.is_some() && self.beats > 1;
        if is_heard {
            self.heard_s = Timestamp::now().as_second();
        }
        if entry.key != HEARTBEAT_KEY {
            let rows = self.fresh.as_mut().unwrap_or(&mut self.known.rows);
            match &value {
                Some(value) => rows.insert(entry.key.clone(), value.clone()),
                None => rows.remove(&entry.key),
            };
            if self.fresh.is_none() {
                shared.permissions.set(&entry.key, value.as_deref());
                self.is_changed = true;
            }
        }
        // Before a sign of life was given, a bucket that was just made may not have everything yet.
        let is_whole = is_current && self.beats > 0;
        if let Some(rows) = self.fresh.take_if(|_| is_whole) {
            shared.permissions.replace(rows.iter().map(|(key, value)| (key.as_str(), &value[..])));
            tracing::info!(entries = rows.len(), revision = entry.revision, "read all permissions anew");
            (self.known.rows, self.is_changed) = (rows, true);
        }
        if let (None, Some(epoch)) = (&self.fresh, self.epoch) {
            self.known.of = Some(Moment { epoch, revision: entry.revision, heard_s: self.heard_s });
            shared.heard(entry.revision, is_heard);
        }
        Ok(())
    }

    async fn write(&mut self) {
        let every = if self.is_changed { WRITE_EVERY } else { WRITE_QUIET_EVERY };
        if self.fresh.is_some() || self.written.elapsed() < every {
            return;
        }
        (self.written, self.is_changed) = (Instant::now(), false);
        let (file, known) = (self.file.clone(), self.known.clone());
        let written = tokio::task::spawn_blocking(move || file::write(&file, &known)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, file = %self.file.display(), "failed to write down permissions");
        }
    }
}

/// How long ago a moment was, in seconds.
pub(super) fn age_s(heard_s: i64) -> i64 {
    Timestamp::now().as_second().saturating_sub(heard_s).max(0)
}
