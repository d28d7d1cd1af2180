//! Deleting what a storage namespace holds.

use std::time::{Duration, Instant};

use eddy_object::{Metadata, ObjectError, Precondition, VersionId, VersionsAfter};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

/// Versions of a page.
const PAGE: usize = 500;
/// Versions that are deleted side by side.
const AT_ONCE: usize = 16;

/// What is left of what a storage namespace held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Versions that are locked, among those that were come to.
    pub(super) locked: usize,
    /// Not all were come to in the time.
    pub(super) more: bool,
}

/// Deletes what a storage namespace holds for so long, or all.
///
/// # Errors
/// The store's.
pub(super) async fn delete(metadata: &Metadata, name: &str, time: Duration) -> Result<Left, ObjectError> {
    let (space, start) = (metadata.namespace(name).await?, Instant::now());
    let (mut after, mut left) = (VersionsAfter::Nothing, Left { more: true, locked: 0 });
    while left.more && start.elapsed() < time {
        let (page, more) = metadata.list_versions(space.id, "", &after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(Left { more: false, ..left }) };
        after = VersionsAfter::Version(last.key.clone(), last.row.order);
        left.more = more;
        let now_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        let deletions = page.into_iter().map(|version| async move {
            if version.row.attributes.lock.holds(now_ms, false) {
                // Not even tried, so that many of them do not use up the time.
                return Ok(1);
            }
            let id = VersionId::of(&version.row);
            match metadata.delete_version(name, &version.key, id, &Precondition::None, false).await {
                Err(ObjectError::Locked) => Ok(1),
                Ok(_) | Err(ObjectError::NoObject(_) | ObjectError::Contended) => Ok(0),
                Err(error) => Err(error),
            }
        });
        let stay: Vec<usize> = stream::iter(deletions).buffer_unordered(AT_ONCE).try_collect().await?;
        left.locked += stay.iter().sum::<usize>();
    }
    Ok(left)
}
