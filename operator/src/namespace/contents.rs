//! Deleting what a storage namespace holds.

use eddy_object::{Metadata, ObjectError, Precondition, VersionId, VersionsAfter};
use futures::{StreamExt, TryStreamExt, stream};

/// Versions of a page.
const PAGE: usize = 500;
/// Versions that are deleted side by side.
const AT_ONCE: usize = 16;

/// Deletes so many versions of what a storage namespace holds, or all. Returns how many of those are locked, and stay.
///
/// # Errors
/// The store's.
pub(super) async fn delete(metadata: &Metadata, name: &str, most: usize) -> Result<usize, ObjectError> {
    let space = metadata.namespace(name).await?;
    let (mut after, mut seen, mut locked) = (VersionsAfter::Nothing, 0, 0);
    while seen < most {
        let (page, more) = metadata.list_versions(space.id, "", &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = VersionsAfter::Version(last.key.clone(), last.row.order);
        seen += page.len();
        let deletions = page.into_iter().map(|version| async move {
            let id = VersionId::of(&version.row);
            match metadata.delete_version(name, &version.key, id, &Precondition::None, false).await {
                Err(ObjectError::Locked) => Ok(1),
                Ok(_) | Err(ObjectError::NoObject(_) | ObjectError::Contended) => Ok(0),
                Err(error) => Err(error),
            }
        });
        let stay: Vec<usize> = stream::iter(deletions).buffer_unordered(AT_ONCE).try_collect().await?;
        locked += stay.iter().sum::<usize>();
        if !more {
            break;
        }
    }
    Ok(locked)
}
