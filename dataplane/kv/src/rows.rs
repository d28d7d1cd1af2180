//! Rows in redb's tables: how they are read, and how a transaction changes them.

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, StorageError, Table, TableDefinition, TableError};

use crate::error::{Invalid, KvError};
use crate::model::{
    Check, Page, Read, ReadResult, Row, SCAN_BYTES_MAX, Scan, Transaction, Value, Version, Write, decode_counter, encode_counter,
};

/// Each key's value and the version that wrote it.
pub(crate) const ROWS: TableDefinition<'_, &[u8], (Version, &[u8])> = TableDefinition::new("rows");
/// Numbers of the store itself.
pub(crate) const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("state");
/// In [`STATE`]: the version of the last transaction.
pub(crate) const LAST_VERSION: &str = "last-version";

/// All of `reads` at the version of `transaction`.
pub(crate) fn read(transaction: &ReadTransaction, reads: &[Read]) -> Result<Vec<ReadResult>, TableError> {
    let rows = transaction.open_table(ROWS)?;
    let results = reads.iter().map(|read| match read {
        Read::Get(key) => Ok(ReadResult::Value(get(&rows, key)?)),
        Read::Scan(wanted) => Ok(ReadResult::Page(scan(&rows, wanted)?)),
    });
    results.collect()
}

fn get(rows: &impl ReadableTable<&'static [u8], (Version, &'static [u8])>, key: &[u8]) -> Result<Option<Value>, StorageError> {
    let found = rows.get(key)?;
    Ok(found.map(|found| {
        let (version, bytes) = found.value();
        Value { bytes: Bytes::copy_from_slice(bytes), version }
    }))
}

fn scan(rows: &ReadOnlyTable<&'static [u8], (Version, &'static [u8])>, wanted: &Scan) -> Result<Page, StorageError> {
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
        let row = row(key.value(), value.value());
        bytes += row.key.len() + row.value.bytes.len();
        page.rows.push(row);
    }
    Ok(page)
}

pub(crate) fn row(key: &[u8], (version, bytes): (Version, &[u8])) -> Row {
    Row { key: Bytes::copy_from_slice(key), value: Value { bytes: Bytes::copy_from_slice(bytes), version } }
}

/// Applies a valid transaction as `version`. The outer result is the disk's, the inner one the transaction's: where
/// that is an error, nothing was changed.
pub(crate) fn apply(
    rows: &mut Table<'_, &'static [u8], (Version, &'static [u8])>,
    version: Version,
    transaction: &Transaction,
) -> Result<Result<(), KvError>, StorageError> {
    for Check { key, version: expected } in &transaction.checks {
        let found = rows.get(key.as_ref())?.map(|found| found.value().0);
        if found != *expected {
            return Ok(Err(KvError::Conflict { key: key.clone() }));
        }
    }
    let mut sums = Vec::new();
    for write in &transaction.writes {
        let Write::Add { key, delta, at_most } = write else { continue };
        let found = get(rows, key)?;
        match sum(key, found.as_ref().map(|value| value.bytes.as_ref()), *delta, *at_most) {
            Ok(sum) => sums.push((key, encode_counter(sum))),
            Err(error) => return Ok(Err(error)),
        }
    }
    for (key, sum) in sums {
        rows.insert(key.as_ref(), (version, sum.as_slice()))?;
    }
    for write in &transaction.writes {
        match write {
            Write::Put { key, value } => drop(rows.insert(key.as_ref(), (version, value.as_ref()))?),
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
