//! Listing objects, with all that share a prefix up to a delimiter as one.

use eddy_kv::{KeyRange, Scan, after_prefix};

use super::Metadata;
use crate::error::{ObjectError, Result};
use crate::schema::{ObjectRow, after, decode, object_key, objects};

/// Rows that are read where a common prefix ended.
const AHEAD_OF_PREFIX: usize = 8;

/// What is listed.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that have this after the prefix are listed as one, up to and with it; each by itself if empty.
    pub delimiter: String,
    /// Only keys and common prefixes after this one, in the order of bytes.
    pub after: String,
    /// How many entries at most.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct ListingPage {
    /// In the order of their keys' bytes.
    pub entries: Vec<Listed>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// An entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "most are objects")]
pub enum Listed {
    /// An object.
    Object(String, ObjectRow),
    /// What several keys begin with.
    Prefix(String),
}

impl Listed {
    /// Its key or prefix: what a next page is after.
    pub fn name(&self) -> &str {
        match self {
            Self::Object(name, _) | Self::Prefix(name) => name,
        }
    }
}

impl Metadata {
    /// Lists objects of a namespace. Common prefixes cost the same however many keys they stand for.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, namespace: u64, listing: &Listing) -> Result<ListingPage> {
        let Listing { prefix, delimiter, after: last, limit } = listing;
        let mut range = objects(namespace, prefix);
        if !last.is_empty() {
            // A common prefix comes before all that it stands for, and so does not come after any of it.
            let next = match common_prefix(last, prefix, delimiter) {
                Some(common) => after_prefix(&object_key(namespace, common)),
                None => after(&object_key(namespace, last)),
            };
            range.start = range.start.max(next);
        }
        let mut page = ListingPage::default();
        let mut ahead = eddy_kv::SCAN_ROWS_MAX;
        while range.start < range.end {
            // One more tells whether there is more.
            let room = (limit - page.entries.len()).saturating_add(1).min(ahead);
            let found = self.store.scan(Scan::new(range.clone(), room)).await?;
            let mut next = None;
            for row in &found.rows {
                if page.entries.len() == *limit {
                    page.more = true;
                    return Ok(page);
                }
                let key = std::str::from_utf8(&row.key[9..]).map_err(|_| ObjectError::Broken("a key is no text".into()))?;
                match common_prefix(key, prefix, delimiter) {
                    Some(common) => {
                        page.entries.push(Listed::Prefix(common.to_owned()));
                        // What else it stands for is skipped.
                        next = Some(after_prefix(&object_key(namespace, common)));
                        break;
                    }
                    None => page.entries.push(Listed::Object(key.to_owned(), decode(&row.value.bytes)?)),
                }
                next = Some(after(&row.key));
            }
            let skipped = matches!(page.entries.last(), Some(Listed::Prefix(_)));
            // Where one prefix follows the other, all but the first row is read in vain.
            ahead = if skipped { AHEAD_OF_PREFIX } else { ahead.saturating_mul(4).min(eddy_kv::SCAN_ROWS_MAX) };
            match next {
                Some(next) if skipped || found.more => range = KeyRange { start: next, end: range.end },
                _ => break,
            }
        }
        Ok(page)
    }
}

/// What a key begins with, up to and with the first delimiter after the prefix.
pub fn common_prefix<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    let rest = key.strip_prefix(prefix).filter(|_| !delimiter.is_empty())?;
    rest.find(delimiter).map(|at| &key[..prefix.len() + at + delimiter.len()])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_common_prefix_ends_with_the_first_delimiter_after_the_prefix() {
        assert_eq!(common_prefix("a/b/c", "", "/"), Some("a/"));
        assert_eq!(common_prefix("a/b/c", "a/", "/"), Some("a/b/"));
        assert_eq!(common_prefix("a/b", "a/", "/"), None);
        assert_eq!(common_prefix("a--b", "a", "--"), Some("a--"));
        assert_eq!(common_prefix("a/b", "", ""), None);
    }
}
