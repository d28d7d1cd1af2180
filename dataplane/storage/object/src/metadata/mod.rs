//! What is stored under which key: rows of a [`Store`], changed in transactions.

mod changes;
mod chunks;
mod cluster;
mod commit;
mod known;
mod listing;
mod multipart;
mod namespace;
mod pieces;
mod resolve;
mod servers;
mod versions;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use eddy_kv::{KeyRange, Read, ReadResult, Row, SCAN_ROWS_MAX, Scan, Store, Value};

pub use self::commit::{Deleted, Keeping, NewObject, Precondition};
pub use self::listing::{Listed, Listing, ListingPage, common_prefix};
pub use self::multipart::{Completion, ListedMultipart, PARTS_MAX, WantedPart};
pub use self::namespace::Usage;
use self::resolve::Numbers;
pub use self::versions::{ListedVersion, VersionId, VersionsAfter};
use crate::error::Result;

/// A transaction that finds rows changed is tried again so often.
const TRIES: u32 = 64;

/// The metadata of all objects. Clones are of the same store.
#[derive(Clone)]
pub struct Metadata {
    store: Arc<dyn Store>,
    numbers: Numbers,
}

impl Metadata {
    /// Metadata in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, numbers: Numbers::default() }
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// All rows of a range, which others may change meanwhile.
    ///
    /// # Errors
    /// The store's.
    pub async fn scan_all(&self, mut range: KeyRange) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        loop {
            let page = self.store.scan(Scan::new(range.clone(), SCAN_ROWS_MAX)).await?;
            rows.extend(page.rows);
            match rows.last() {
                Some(last) if page.more => range.start = crate::schema::after(&last.key),
                _ => return Ok(rows),
            }
        }
    }

    /// The values of keys, all at one version, in their order.
    ///
    /// # Errors
    /// The store's.
    pub async fn get_all(&self, keys: impl IntoIterator<Item = Bytes>) -> Result<Vec<Option<Value>>> {
        let reads: Vec<Read> = keys.into_iter().map(Read::Get).collect();
        if reads.is_empty() {
            return Ok(Vec::new());
        }
        let results = self.store.read(reads).await?;
        Ok(results.into_iter().map(|result| if let ReadResult::Value(value) = result { value } else { None }).collect())
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
