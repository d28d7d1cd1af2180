//! Rows in redb's tables: how they are read, and how a transaction changes them.
//!
//! redb looks at its pages' checksums only when it repairs a file, so each row has one of its own, over its key and value: what a disk gives that is
//! not what it was given is taken for no row, and goes from no replica to another. That a row is not found where its key changed, no checksum tells.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, StorageError, Table, TableDefinition, TableError};

use crate::error::{Invalid, KvError};
use crate::model::{
    Check, Page, Read, ReadResult, Row, SCAN_BYTES_MAX, Scan, Transaction, Value, Version, Write, decode_counter, encode_counter,
};

/// The version that wrote a value, a CRC-32C (Castagnoli, RFC 3720) of that, the key and the value, and the value.
pub(crate) type Stored<'a> = (Version, u32, &'a [u8]);
/// Each key's.
pub(crate) const ROWS: TableDefinition<'_, &[u8], Stored<'static>> = TableDefinition::new("rows");
/// Numbers of the store itself.
pub(crate) const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("state");
/// In [`STATE`]: the version of the last transaction.
pub(crate) const LAST_VERSION: &str = "last-version";

/// All of `reads` at the version of `transaction`.
pub(crate) fn read(transaction: &ReadTransaction, reads: &[Read]) -> Result<Vec<ReadResult>, TableError> {
    let rows = transaction.open_table(ROWS)?;
    let results = reads.iter().map(|read| match read {
        Read::Get(key) => Ok(ReadResult::Value(get(&rows, key)?.map_err(StorageError::from)?)),
        Read::Scan(wanted) => Ok(ReadResult::Page(scan(&rows, wanted)?)),
    });
    results.collect()
}

/// What redb says of a file whose rows are of another form, so that somebody can do something about it.
pub(crate) fn of_other_version(error: TableError) -> redb::Error {
    match error {
        TableError::TableTypeMismatch { .. } => redb::Error::Corrupted(
            "its rows are of another version of Eddy: write a backup with that version, and restore it with this one".into(),
        ),
        other => other.into(),
    }
}

/// A row is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Damaged(String);

impl From<Damaged> for StorageError {
    fn from(Damaged(reason): Damaged) -> Self {
        Self::Corrupted(reason)
    }
}

impl From<Damaged> for KvError {
    fn from(Damaged(reason): Damaged) -> Self {
        Self::Broken { reason }
    }
}

type Found = Result<Option<Value>, Damaged>;

fn get(rows: &impl ReadableTable<&'static [u8], Stored<'static>>, key: &[u8]) -> Result<Found, StorageError> {
    Ok(rows.get(key)?.map(|found| value(key, found.value())).transpose())
}

fn scan(rows: &ReadOnlyTable<&'static [u8], Stored<'static>>, wanted: &Scan) -> Result<Page, StorageError> {
    let mut page = Page::default();
    if wanted.range.start >= wanted.range.end {
        return Ok(page);
    }
    let mut range = rows.range(wanted.range.start.as_ref()..wanted.range.end.as_ref())?;
    let mut bytes = 0;
    while let Some(found) = if wanted.reverse { range.next_back() } else { range.next() } {
        if page.rows.len() >= wanted.limit || bytes >= SCAN_BYTES_MAX {
            page.more = true;
            break;
        }
        let (key, value) = found?;
        let row = row(key.value(), value.value()).map_err(StorageError::from)?;
        bytes += row.key.len() + row.value.bytes.len();
        page.rows.push(row);
    }
    Ok(page)
}

/// A row, if it is what was written.
pub(crate) fn row(key: &[u8], stored: Stored<'_>) -> Result<Row, Damaged> {
    Ok(Row { key: Bytes::copy_from_slice(key), value: value(key, stored)? })
}

fn value(key: &[u8], (version, checksum, bytes): Stored<'_>) -> Result<Value, Damaged> {
    if checksum != checksum_of(key, version, bytes) {
        return Err(Damaged(format!("the row {} is not what was written: the disk changed it", key.escape_ascii())));
    }
    Ok(Value { bytes: Bytes::copy_from_slice(bytes), version })
}

fn checksum_of(key: &[u8], version: Version, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&version.to_le_bytes());
    digest.update(key);
    digest.update(bytes);
    // A CRC-32 has no more bits.
    digest.finalize() as u32
}

/// Puts a row.
pub(crate) fn insert(
    rows: &mut Table<'_, &'static [u8], Stored<'static>>,
    key: &[u8],
    version: Version,
    bytes: &[u8],
) -> Result<(), StorageError> {
    rows.insert(key, (version, checksum_of(key, version, bytes), bytes)).map(drop)
}

/// Applies a valid transaction as `version`. The outer result is the disk's, the inner one the transaction's: where
/// that is an error, nothing was changed.
pub(crate) fn apply(
    rows: &mut Table<'_, &'static [u8], Stored<'static>>,
    version: Version,
    transaction: &Transaction,
) -> Result<Result<(), KvError>, StorageError> {
    for Check { key, version: expected } in &transaction.checks {
        let found = match get(rows, key)? {
            Ok(found) => found.map(|found| found.version),
            Err(damaged) => return Ok(Err(damaged.into())),
        };
        if found != *expected {
            return Ok(Err(KvError::Conflict { key: key.clone() }));
        }
    }
    let mut sums = Vec::new();
    for write in &transaction.writes {
        let Write::Add { key, delta, at_most } = write else { continue };
        let found = match get(rows, key)? {
            Ok(found) => found,
            Err(damaged) => return Ok(Err(damaged.into())),
        };
        match sum(key, found.as_ref().map(|value| value.bytes.as_ref()), *delta, *at_most) {
            Ok(sum) => sums.push((key, encode_counter(sum))),
            Err(error) => return Ok(Err(error)),
        }
    }
    for (key, sum) in sums {
        insert(rows, key, version, &sum)?;
    }
    for write in &transaction.writes {
        match write {
            Write::Put { key, value } => insert(rows, key, version, value)?,
            Write::Delete { key } => drop(rows.remove(key.as_ref())?),
            Write::Add { .. } => {}
        }
    }
    Ok(Ok(()))
}

/// What a counter holds after an add.
pub(crate) fn sum(key: &Bytes, before: Option<&[u8]>, delta: i64, at_most: Option<i64>) -> Result<i64, KvError> {
    let number = before.map_or(Ok(0), |bytes| decode_counter(key, bytes))?;
    let sum = number.checked_add(delta).ok_or_else(|| Invalid::CounterOverflow(key.clone()))?;
    match at_most {
        Some(at_most) if delta > 0 && sum > at_most => Err(KvError::Exceeded { key: key.clone(), number, at_most }),
        _ => Ok(sum),
    }
}
