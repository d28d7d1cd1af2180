//! Which objects were read, where that decides their tier: once an hour each, and many in one transaction.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use eddy_kv::Transaction;
use quick_cache::sync::Cache;

use crate::error::Result;
use crate::metadata::{Metadata, now_ms};
use crate::schema::{AccessRow, NamespaceRow, access_key, encode};

/// An object that was noted is noted again after this time.
const AGAIN: Duration = Duration::from_secs(3600);
/// Objects of which that is remembered.
const REMEMBERED_MAX: usize = 100_000;
/// Objects that wait for being noted; of more, some are noted when they are read again.
const WAITING_MAX: usize = 10_000;
/// Objects of a transaction.
const AT_ONCE: usize = 64;

/// Objects that were read.
pub(crate) struct Accesses {
    /// When objects were last noted, by what their namespace and key hash to.
    noted: Cache<u64, Instant>,
    /// Rows that are to be written.
    waiting: Mutex<BTreeMap<Bytes, u64>>,
}

impl Accesses {
    pub(crate) fn new() -> Self {
        Self { noted: Cache::new(REMEMBERED_MAX), waiting: Mutex::default() }
    }

    /// An object was read.
    pub(crate) fn note(&self, space: &NamespaceRow, key: &str) {
        if space.settings.tiering.cold_after_days.is_none() {
            return;
        }
        let mut hasher = DefaultHasher::new();
        (space.id, key).hash(&mut hasher);
        let hash = hasher.finish();
        if self.noted.get(&hash).is_some_and(|noted| noted.elapsed() < AGAIN) {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.len() < WAITING_MAX {
            waiting.insert(access_key(space.id, key), now_ms());
            self.noted.insert(hash, Instant::now());
        }
    }

    /// Writes down what waits. What cannot be written now waits on.
    pub(crate) async fn write_down(&self, metadata: &Metadata) -> Result<()> {
        loop {
            let some: Vec<(Bytes, u64)> = self.waiting().iter().take(AT_ONCE).map(|(key, read)| (key.clone(), *read)).collect();
            if some.is_empty() {
                return Ok(());
            }
            let mut transaction = Transaction::new();
            for (key, read_ms) in &some {
                transaction = transaction.put(key.clone(), encode(&AccessRow { read_ms: *read_ms })?);
            }
            metadata.store().commit(transaction).await?;
            let mut waiting = self.waiting();
            for (key, read_ms) in &some {
                if waiting.get(key) == Some(read_ms) {
                    waiting.remove(key);
                }
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Bytes, u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
