//! Putting entries where every process reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::kv::{self, Operation, Store};
use async_nats::jetstream::{self};
use bytes::Bytes;
use eddy_authz::Entry;
use eddy_authz::feed::{BUCKET, FILE_AGE_MAX, HEARTBEAT_EVERY, HEARTBEAT_KEY, Heartbeat};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout};

/// Longer than the bucket takes to say what is in it.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// Entries that are put at once.
const AT_ONCE: usize = 64;
/// More than all entries of a large platform.
const BUCKET_BYTES_MAX: i64 = 1024 * 1024 * 1024;
/// Longer than any entry.
const ENTRY_BYTES_MAX: i32 = 512 * 1024;
/// Marks of deletions are kept so long: whoever was away for longer than [`FILE_AGE_MAX`] reads everything anew.
const MARK_AGE: Duration = Duration::from_secs(FILE_AGE_MAX.as_secs() * 2);
/// Whoever said nothing for longer asks first whether another publishes by now. Less than the Lease lasts that only one holds.
const SURE_FOR: Duration = HEARTBEAT_EVERY.saturating_mul(4);

/// Why something was not published. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The bucket is not there, and cannot be made.
    #[error("failed to make the bucket {BUCKET} in NATS, or to open it")]
    Bucket(#[from] jetstream::context::CreateKeyValueError),
    /// What is in it cannot be asked for.
    #[error("failed to ask what is in the bucket {BUCKET}")]
    Ask(#[from] kv::WatchError),
    /// What is in it did not come.
    #[error("failed to read what is in the bucket {BUCKET}")]
    Read(#[from] kv::WatcherError),
    /// What is in it did not come in time.
    #[error("the bucket {BUCKET} did not say within {} s what is in it", READ_WITHIN.as_secs())]
    Late,
    /// An entry cannot be written down.
    #[error("failed to write down an entry")]
    Encode(#[from] serde_json::Error),
    /// An entry was not taken.
    #[error("failed to put {key:?} into the bucket {BUCKET}")]
    Put {
        /// Its key.
        key: String,
        /// Why.
        source: kv::PutError,
    },
    /// An entry was not taken away.
    #[error("failed to take {key:?} out of the bucket {BUCKET}")]
    Delete {
        /// Its key.
        key: String,
        /// Why.
        source: kv::PurgeError,
    },
    /// A sign of life was not taken.
    #[error("failed to give a sign of life in the bucket {BUCKET}: another may publish to it by now")]
    Beat(#[from] kv::UpdateError),
    /// Something is in the bucket that was not put here: what another had sent before it was replaced, and that came late.
    #[error("somebody else wrote to the bucket {BUCKET}: everything is published anew")]
    Foreign,
}

/// Puts entries into the bucket. Of several, only the one that was opened last can.
pub struct Publisher {
    store: Store,
    epoch: u64,
    /// Of the bucket's last sign of life, which must be ours.
    revision: u64,
    /// Entries that were put since: the bucket counts no others, unless somebody else writes.
    written: u64,
    beaten: Instant,
}

impl Publisher {
    /// Opens the bucket, and makes it if it is not there, with so many replicas, of which most must be there. Whoever published before can no longer.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn open(client: &Client, replicas: usize) -> Result<Self, PublishError> {
        let config = kv::Config {
            bucket: BUCKET.to_owned(),
            description: "Who there is and what they may".to_owned(),
            history: 1,
            max_value_size: ENTRY_BYTES_MAX,
            max_bytes: BUCKET_BYTES_MAX,
            num_replicas: replicas,
            limit_markers: Some(MARK_AGE),
            ..kv::Config::default()
        };
        let store = jetstream::new(client.clone()).create_or_update_key_value(config).await?;
        // No sign of life: until everything was published, the bucket is good for nobody who reads it anew.
        let put = store.put(HEARTBEAT_KEY, Bytes::from_static(b"{}")).await;
        let revision = put.map_err(|source| PublishError::Put { key: HEARTBEAT_KEY.to_owned(), source })?;
        Ok(Self { store, epoch: fastrand::u64(..), revision, written: 0, beaten: Instant::now() })
    }

    /// Makes the bucket say this and nothing else, whatever it says now. Returns how many entries changed.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish_all(&mut self, entries: &BTreeMap<String, Entry>) -> Result<usize, PublishError> {
        self.publish_all_but(entries, |_| false).await
    }

    /// The same, but for what is there under keys of which it is not known yet what to say.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish_all_but(
        &mut self,
        entries: &BTreeMap<String, Entry>,
        is_left: impl Fn(&str) -> bool,
    ) -> Result<usize, PublishError> {
        let there = timeout(READ_WITHIN, read(&self.store)).await.map_err(|_| PublishError::Late)??;
        let gone = there.keys().filter(|key| !entries.contains_key(*key) && !is_left(key)).map(|key| (key.clone(), None));
        let mut changes: Vec<(String, Option<Entry>)> = gone.collect();
        for (key, entry) in entries {
            if there.get(key).map(|bytes| &bytes[..]) != Some(&entry.to_bytes()?) {
                changes.push((key.clone(), Some(entry.clone())));
            }
        }
        self.put_all(&changes).await.map(|()| changes.len())
    }

    /// Puts what changed: entries, and keys that have none any more. What comes first is there first, but for entries that are put together.
    ///
    /// # Errors
    /// See [`PublishError`]. Whatever of it was put until then is not known.
    pub async fn publish(&mut self, changes: &[(String, Option<Entry>)]) -> Result<(), PublishError> {
        // Held up for long, it may be told only now that another has taken over. That is no sign of life: it may not know everything.
        if !changes.is_empty() && self.beaten.elapsed() > SURE_FOR {
            self.say(Bytes::from_static(b"{}")).await?;
        }
        self.put_all(changes).await
    }

    async fn put_all(&mut self, changes: &[(String, Option<Entry>)]) -> Result<(), PublishError> {
        let put = stream::iter(changes).map(|(key, entry)| self.put(key, entry.as_ref()));
        let () = put.buffered(AT_ONCE).try_collect().await?;
        self.written += changes.len() as u64;
        Ok(())
    }

    async fn put(&self, key: &str, entry: Option<&Entry>) -> Result<(), PublishError> {
        match entry {
            Some(entry) => {
                let put = self.store.put(key, entry.to_bytes()?.into()).await;
                put.map(drop).map_err(|source| PublishError::Put { key: key.to_owned(), source })
            }
            None => {
                let taken = self.store.purge_with_ttl(key, MARK_AGE).await;
                taken.map_err(|source| PublishError::Delete { key: key.to_owned(), source })
            }
        }
    }

    /// Says that everything before it is all that there is to say by now.
    ///
    /// # Errors
    /// See [`PublishError`]; one of them is that another publishes by now.
    pub async fn beat(&mut self) -> Result<(), PublishError> {
        let beat = serde_json::to_vec(&Heartbeat { epoch: self.epoch })?;
        self.say(beat.into()).await
    }

    /// Puts something in the place of the last sign of life, which must be ours, with nothing between that is not.
    async fn say(&mut self, what: Bytes) -> Result<(), PublishError> {
        let began = Instant::now();
        let revision = self.store.update(HEARTBEAT_KEY, what, self.revision).await?;
        let expected = self.revision + self.written + 1;
        (self.revision, self.written, self.beaten) = (revision, 0, began);
        if revision == expected { Ok(()) } else { Err(PublishError::Foreign) }
    }
}

async fn read(store: &Store) -> Result<BTreeMap<String, Bytes>, PublishError> {
    let mut there = BTreeMap::new();
    // There is something to say always: the key of the sign of life.
    let mut entries = store.watch_with_history(">").await?;
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        if entry.operation == Operation::Put && entry.key != HEARTBEAT_KEY {
            there.insert(entry.key, entry.value);
        }
        if entry.delta == 0 {
            break;
        }
    }
    Ok(there)
}
