//! Putting entries where every process reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::kv::{self, Operation, Store};
use async_nats::jetstream::{self};
use bytes::Bytes;
use eddy_authz::Entry;
use eddy_authz::feed::{BUCKET, HEARTBEAT_KEY, Heartbeat};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout;

/// Longer than the bucket takes to say what is in it.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// Entries that are put at once.
const AT_ONCE: usize = 64;
/// More than all entries of a large platform.
const BUCKET_BYTES_MAX: i64 = 1024 * 1024 * 1024;
/// Longer than any entry.
const ENTRY_BYTES_MAX: i32 = 512 * 1024;

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
        source: kv::DeleteError,
    },
}

/// Puts entries into the bucket. One at a time writes to it. Clones write to the same.
#[derive(Clone)]
pub struct Publisher(Store);

impl Publisher {
    /// Opens the bucket, and makes it if it is not there. With so many replicas, of which most must be there.
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
            ..kv::Config::default()
        };
        Ok(Self(jetstream::new(client.clone()).create_or_update_key_value(config).await?))
    }

    /// Makes the bucket say this and nothing else, whatever it says now. Returns how many entries changed.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish_all(&self, entries: &BTreeMap<String, Entry>) -> Result<usize, PublishError> {
        let there = timeout(READ_WITHIN, read(&self.0)).await.map_err(|_| PublishError::Late)??;
        let gone = there.keys().filter(|key| !entries.contains_key(*key)).map(|key| (key.clone(), None));
        let mut changes: Vec<(String, Option<Entry>)> = gone.collect();
        for (key, entry) in entries {
            if there.get(key).map(|bytes| &bytes[..]) != Some(&entry.to_bytes()?) {
                changes.push((key.clone(), Some(entry.clone())));
            }
        }
        self.publish(&changes).await.map(|()| changes.len())
    }

    /// Puts what changed: entries, and keys that have none any more. What comes first is there first, but for entries that are put together.
    ///
    /// # Errors
    /// See [`PublishError`]. Whatever of it was put until then is not known.
    pub async fn publish(&self, changes: &[(String, Option<Entry>)]) -> Result<(), PublishError> {
        let put = stream::iter(changes).map(|(key, entry)| self.put(key, entry.as_ref()));
        put.buffered(AT_ONCE).try_collect().await
    }

    async fn put(&self, key: &str, entry: Option<&Entry>) -> Result<(), PublishError> {
        match entry {
            Some(entry) => {
                let put = self.0.put(key, entry.to_bytes()?.into()).await;
                put.map(drop).map_err(|source| PublishError::Put { key: key.to_owned(), source })
            }
            None => self.0.delete(key).await.map_err(|source| PublishError::Delete { key: key.to_owned(), source }),
        }
    }

    /// Says that everything before it is all that there is to say by now.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn beat(&self) -> Result<(), PublishError> {
        let bucket_ns = self.0.stream.cached_info().created.unix_timestamp_nanos();
        let beat = serde_json::to_vec(&Heartbeat { bucket_ns })?;
        let put = self.0.put(HEARTBEAT_KEY, beat.into()).await;
        put.map(drop).map_err(|source| PublishError::Put { key: HEARTBEAT_KEY.to_owned(), source })
    }
}

async fn read(store: &Store) -> Result<BTreeMap<String, Bytes>, PublishError> {
    let mut there = BTreeMap::new();
    // Without anything in it, the bucket would have nothing to say.
    let put = store.put(HEARTBEAT_KEY, Bytes::from_static(b"{}")).await;
    put.map_err(|source| PublishError::Put { key: HEARTBEAT_KEY.to_owned(), source })?;
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
