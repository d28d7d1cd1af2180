//! What may be asked of a store, and within what limits: the least of what any backend can keep.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Invalid;

/// Longest key: one of an object in S3, and what goes before and after it.
pub const KEY_BYTES_MAX: usize = 1536;
/// Longest value. FoundationDB allows 100 kB.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Most checks and writes of a transaction together. etcd allows 128 by default.
pub const TRANSACTION_OPERATIONS_MAX: usize = 100;
/// Most bytes of all keys and values of a transaction. etcd allows 1.5 MiB a request, FoundationDB recommends 1 MB.
pub const TRANSACTION_BYTES_MAX: usize = 512 * 1024;
/// Most reads of a batch.
pub const READS_MAX: usize = 100;
/// Most rows that a scan returns; it may return fewer and say that there are more.
pub const SCAN_ROWS_MAX: usize = 10_000;
/// A scan ends after the row with which its keys and values reach this many bytes.
pub const SCAN_BYTES_MAX: usize = 1024 * 1024;

/// When a row was last written: greater than any before it in the same store. It has no meaning beyond the
/// store, and none after a restore.
pub type Version = u64;

/// Keys from `start` on, and before `end`, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// The first key that belongs to the range.
    #[serde(with = "as_bytes")]
    pub start: Bytes,
    /// The first key beyond it.
    #[serde(with = "as_bytes")]
    pub end: Bytes,
}

impl KeyRange {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = after_prefix(&start);
        Self { start, end }
    }

    /// All keys.
    pub fn all() -> Self {
        Self::prefix(Bytes::new())
    }
}

/// The first key beyond all that begin with `prefix`.
///
/// Where there is none, since the prefix is empty or all its bytes are 255, it is a key longer than any that is allowed.
pub fn after_prefix(prefix: &[u8]) -> Bytes {
    match prefix.iter().rposition(|byte| *byte != 0xff) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end.into()
        }
        None => vec![0xff; KEY_BYTES_MAX + 1].into(),
    }
}

/// One read of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Read {
    /// The row of this key.
    Get(#[serde(with = "as_bytes")] Bytes),
    /// Rows of a range.
    Scan(Scan),
}

/// The rows of a range, from one end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// Which keys.
    pub range: KeyRange,
    /// How many rows at most, up to [`SCAN_ROWS_MAX`].
    pub limit: usize,
    /// From the last key to the first.
    pub reverse: bool,
}

impl Scan {
    /// The first rows of a range.
    pub fn new(range: KeyRange, limit: usize) -> Self {
        Self { range, limit, reverse: false }
    }
}

/// A value and when it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// The bytes.
    #[serde(with = "as_bytes")]
    pub bytes: Bytes,
    /// When they were written.
    pub version: Version,
}

/// A key and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The key.
    #[serde(with = "as_bytes")]
    pub key: Bytes,
    /// What it holds.
    pub value: Value,
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The rows, in the order asked for.
    pub rows: Vec<Row>,
    /// Whether the range has rows beyond the last one.
    pub more: bool,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadResult {
    /// For [`Read::Get`].
    Value(Option<Value>),
    /// For [`Read::Scan`].
    Page(Page),
}

/// Writes that happen together, or not at all, and only if every check holds at that moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// What must be as it was read.
    pub checks: Vec<Check>,
    /// What changes. A key is written once at most.
    pub writes: Vec<Write>,
}

/// That a row is still as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The key.
    #[serde(with = "as_bytes")]
    pub key: Bytes,
    /// When it was last written; none if it is not there.
    pub version: Option<Version>,
}

/// A change of one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// The row holds this value from now on.
    Put {
        /// The key.
        #[serde(with = "as_bytes")]
        key: Bytes,
        /// Its value.
        #[serde(with = "as_bytes")]
        value: Bytes,
    },
    /// The row is gone, if it was there.
    Delete {
        /// The key.
        #[serde(with = "as_bytes")]
        key: Bytes,
    },
    /// The row's number grows by `delta`, from 0 if it is not there. Concurrent adds do not conflict with each other.
    Add {
        /// The key of a value as [`encode_counter`] makes it.
        #[serde(with = "as_bytes")]
        key: Bytes,
        /// What is added; negative to take away.
        delta: i64,
        /// The transaction fails rather than let the number grow beyond this. What takes away always may.
        at_most: Option<i64>,
    },
}

impl Write {
    /// The key that is written.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { key } | Self::Add { key, .. } => key,
        }
    }

    fn bytes(&self) -> usize {
        let value = match self {
            Self::Put { value, .. } => value.len(),
            Self::Delete { .. } => 0,
            Self::Add { .. } => size_of::<i64>(),
        };
        self.key().len() + value
    }
}

impl Transaction {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there may be more rows afterwards. Counters, of which there are few, do not count, nor rows that are known to be there.
    pub(crate) fn adds_rows(&self) -> bool {
        let there: BTreeSet<&Bytes> =
            self.checks.iter().filter(|check| check.version.is_some()).map(|check| &check.key).collect();
        let adds = |write: &&Write| matches!(write, Write::Put { key, .. } if !there.contains(key));
        let deletes = self.writes.iter().filter(|write| matches!(write, Write::Delete { .. })).count();
        self.writes.iter().filter(adds).count() > deletes
    }

    /// Fails unless the row of `key` is the one that was read.
    #[must_use]
    pub fn check(mut self, key: impl Into<Bytes>, read: Option<&Value>) -> Self {
        self.checks.push(Check { key: key.into(), version: read.map(|value| value.version) });
        self
    }

    /// Writes a row.
    #[must_use]
    pub fn put(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put { key: key.into(), value: value.into() });
        self
    }

    /// Removes a row.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }

    /// Adds to a counter.
    #[must_use]
    pub fn add(mut self, key: impl Into<Bytes>, delta: i64, at_most: Option<i64>) -> Self {
        self.writes.push(Write::Add { key: key.into(), delta, at_most });
        self
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.checks.iter().map(|check| check.key.len()).sum::<usize>() + self.writes.iter().map(Write::bytes).sum::<usize>()
    }

    /// Whether it is within the limits of this module.
    ///
    /// # Errors
    /// The first limit that it breaks.
    pub fn validate(&self) -> Result<(), Invalid> {
        let operations = self.checks.len() + self.writes.len();
        if operations > TRANSACTION_OPERATIONS_MAX {
            return Err(Invalid::Operations(operations));
        }
        for key in self.checks.iter().map(|check| &check.key).chain(self.writes.iter().map(Write::key)) {
            validate_key(key)?;
        }
        for write in &self.writes {
            if let Write::Put { value, .. } = write
                && value.len() > VALUE_BYTES_MAX
            {
                return Err(Invalid::ValueBytes(value.len()));
            }
        }
        let bytes = self.bytes();
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(Invalid::TransactionBytes(bytes));
        }
        no_key_twice(self.writes.iter().map(Write::key))?;
        no_key_twice(self.checks.iter().map(|check| &check.key))
    }
}

/// Whether reads are within the limits of this module.
///
/// # Errors
/// The first limit that they break.
pub fn validate_reads(reads: &[Read]) -> Result<(), Invalid> {
    if reads.len() > READS_MAX {
        return Err(Invalid::Reads(reads.len()));
    }
    reads.iter().try_for_each(|read| match read {
        Read::Get(key) => validate_key(key),
        Read::Scan(scan) if scan.limit > SCAN_ROWS_MAX => Err(Invalid::ScanRows(scan.limit)),
        Read::Scan(_) => Ok(()),
    })
}

fn validate_key(key: &Bytes) -> Result<(), Invalid> {
    match key.len() {
        0 => Err(Invalid::EmptyKey),
        bytes if bytes > KEY_BYTES_MAX => Err(Invalid::KeyBytes(bytes)),
        _ => Ok(()),
    }
}

fn no_key_twice<'a>(keys: impl Iterator<Item = &'a Bytes>) -> Result<(), Invalid> {
    let mut keys: Vec<&Bytes> = keys.collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Invalid::KeyTwice(pair[0].clone())),
        None => Ok(()),
    }
}

/// The value of a counter: eight bytes, little end first, which is what FoundationDB adds to.
pub fn encode_counter(number: i64) -> [u8; 8] {
    number.to_le_bytes()
}

/// The number of a counter's value.
///
/// # Errors
/// Where the value is none of a counter.
pub fn decode_counter(key: &[u8], value: &[u8]) -> Result<i64, Invalid> {
    value.try_into().map(i64::from_le_bytes).map_err(|_| Invalid::NotACounter(Bytes::copy_from_slice(key)))
}

/// Keys and values in serde's form of bytes.
pub(crate) mod as_bytes {
    use std::fmt;

    use bytes::Bytes;
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Copied;
        impl Visitor<'_> for Copied {
            type Value = Bytes;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::copy_from_slice(bytes))
            }
        }
        deserializer.deserialize_bytes(Copied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_s_range_holds_what_begins_with_it_and_nothing_else() {
        for prefix in [&b""[..], b"a", b"a\xff", b"\xff\xff", b"\x00"] {
            let range = KeyRange::prefix(Bytes::copy_from_slice(prefix));
            for key in [&b"\x00"[..], b"a", b"a\xff", b"a\xff\xff\xff", b"b", b"\xff", b"\xff\xff", b"\xff\xff\xff"] {
                let within = range.start.as_ref() <= key && key < range.end.as_ref();
                assert_eq!(within, key.starts_with(prefix), "{prefix:?} {key:?}");
            }
        }
    }

    #[test]
    fn a_counter_is_eight_bytes() {
        for number in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(decode_counter(b"k", &encode_counter(number)), Ok(number));
        }
        assert_eq!(decode_counter(b"k", b"seven b"), Err(Invalid::NotACounter("k".into())));
    }
}
