//! What the metadata say of chunks.

use std::collections::{BTreeMap, BTreeSet};

use eddy_chunks::Extent;
use eddy_kv::{KeyRange, Row};
use eddy_object::schema::{ChunkRow, ReferenceRow, decode, references};
use eddy_object::{Metadata, ObjectError};

/// The number behind a row's tag.
pub(crate) fn number_of(row: &Row) -> Result<u64, ObjectError> {
    let number = row.key.get(1..9).and_then(|number| number.try_into().ok()).map(u64::from_be_bytes);
    number.ok_or_else(|| ObjectError::Broken("a row has no number".into()))
}

/// All chunks, by number.
pub(crate) async fn all(metadata: &Metadata) -> Result<BTreeMap<u64, (ChunkRow, Row)>, ObjectError> {
    let rows = metadata.scan_all(KeyRange::prefix(&b"c"[..])).await?;
    rows.into_iter().map(|row| Ok((number_of(&row)?, (decode(&row.value.bytes)?, row)))).collect()
}

/// Bytes that are needed of each chunk as they are stored, as the counters say that are changed with what needs them.
pub(crate) async fn live(metadata: &Metadata) -> Result<BTreeMap<u64, u64>, ObjectError> {
    let rows = metadata.scan_all(KeyRange::prefix(&b"l"[..])).await?;
    let bytes = |row: &Row| {
        let count = row.value.bytes[..].try_into().map(i64::from_le_bytes);
        let count = count.map_err(|_| ObjectError::Broken("a counter has no eight bytes".into()))?;
        Ok((number_of(row)?, u64::try_from(count).unwrap_or_default()))
    };
    rows.iter().map(bytes).collect()
}

/// Chunks that are noted to be repaired.
pub(crate) async fn degraded(metadata: &Metadata) -> Result<BTreeSet<u64>, ObjectError> {
    metadata.scan_all(KeyRange::prefix(&b"d"[..])).await?.iter().map(number_of).collect()
}

/// The needles of a chunk that someone needs.
pub(crate) async fn needed(metadata: &Metadata, chunk: u64) -> Result<BTreeSet<Extent>, ObjectError> {
    let rows = metadata.scan_all(references(chunk)).await?;
    rows.iter().map(|row| Ok(decode::<ReferenceRow>(&row.value.bytes)?.extent)).collect()
}
