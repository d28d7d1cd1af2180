//! What FoundationDB keeps for a value: the stamp of the transaction that wrote it, then the bytes.

use foundationdb::options::{ConflictRangeType, MutationType};
use foundationdb::{FdbResult, Transaction as FdbTransaction};

use crate::error::{KvError, Result};
use crate::model::Version;

/// A stamp begins with the version of the commit, big end first.
const VERSION_BYTES: usize = size_of::<Version>();
/// It ends with a number that tells apart the transactions which were committed as one version.
const STAMP_BYTES: usize = VERSION_BYTES + 2;

/// Writes a value and, as the transaction is committed, its stamp.
///
/// FoundationDB commits many transactions as one version, and all ten bytes of a stamp do not fit into a [`Version`]. So
/// each write counts as a read of its key: of the transactions of one version, one at most then writes a key, and what
/// wrote a row is known by the version alone. Of two that write a key at once, one starts over.
///
/// # Errors
/// None for a key that is allowed.
pub(super) fn put(attempt: &FdbTransaction, key: &[u8], bytes: &[u8]) -> FdbResult<()> {
    let next = [key, b"\0"].concat();
    // Before the write: reads of what the transaction itself has written do not count.
    attempt.add_conflict_range(key, &next, ConflictRangeType::Read)?;
    attempt.atomic_op(key, &operand(bytes), MutationType::SetVersionstampedValue);
    Ok(())
}

/// The value with room for the stamp, and in four bytes, little end first, where that is: at the start.
fn operand(bytes: &[u8]) -> Vec<u8> {
    [&[0u8; STAMP_BYTES][..], bytes, &[0; 4]].concat()
}

/// The version that a stored value was written by, and its bytes.
///
/// # Errors
/// [`KvError::Broken`] where there is no stamp.
pub(super) fn split(stored: &[u8]) -> Result<(Version, &[u8])> {
    match (stored.first_chunk::<VERSION_BYTES>(), stored.get(STAMP_BYTES..)) {
        (Some(version), Some(bytes)) => Ok((Version::from_be_bytes(*version), bytes)),
        _ => Err(KvError::Broken { reason: "something else than the store wrote below its prefix in FoundationDB".into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_behind_its_stamp() {
        assert_eq!(split(b"\0\0\0\0\0\0\x01\x02\0\x07value").unwrap(), (258, &b"value"[..]));
        assert_eq!(split(&[0; STAMP_BYTES]).unwrap(), (0, &b""[..]));
        assert!(matches!(split(&[0; STAMP_BYTES - 1]), Err(KvError::Broken { .. })));
    }

    #[test]
    fn room_for_the_stamp_is_at_the_start() {
        assert_eq!(operand(b"value"), b"\0\0\0\0\0\0\0\0\0\0value\0\0\0\0");
    }
}
