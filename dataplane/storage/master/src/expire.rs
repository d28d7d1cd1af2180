//! What goes because its namespace's rules say so.

use std::time::Duration;

use bytes::Bytes;
use eddy_object::schema::{LIFECYCLE, LifecycleRule, LifecycleRules, NamespaceRow, decode};
use eddy_object::{ListedVersion, ObjectError, Precondition, VersionsAfter, now_ms};

use crate::Master;
use crate::lifecycle::{Clock, Deed, due};

/// Versions of a page.
const PAGE: usize = 500;

/// What a round of rules did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Objects whose present version went.
    pub objects: usize,
    /// Older versions, and what said that an object was deleted, that went.
    pub versions: usize,
    /// Objects that had not come in all their parts, and were given up.
    pub uploads: usize,
    /// Namespaces that have rules.
    pub namespaces: usize,
}

/// A namespace whose rules are followed.
struct Following<'a> {
    name: &'a str,
    space: &'a NamespaceRow,
    rules: &'a [LifecycleRule],
    /// As they are stored.
    stored: &'a Bytes,
    clock: Clock,
}

impl Master {
    /// Does what the rules of all namespaces say, where a day is so long.
    ///
    /// # Errors
    /// The store's.
    pub async fn expire(&self, day: Duration) -> Result<Expired, ObjectError> {
        let day_ms = u64::try_from(day.as_millis()).unwrap_or(u64::MAX).max(1);
        let clock = Clock { now_ms: now_ms(), day_ms };
        let mut expired = Expired::default();
        for (name, space) in self.metadata.list_namespaces("").await? {
            let Some(stored) = self.metadata.configuration(space.id, LIFECYCLE).await? else { continue };
            let LifecycleRules(rules) = decode(&stored)?;
            expired.namespaces += 1;
            let following = Following { name: &name, space: &space, rules: &rules, stored: &stored, clock };
            self.expire_versions(&following, &mut expired).await?;
            self.expire_uploads(&following, &mut expired).await?;
        }
        Ok(expired)
    }

    /// Waits for the next deed's turn; whether the rules are still so, since a round may take hours. Those that took their place are followed
    /// from the next round on.
    async fn still_follows(&self, following: &Following<'_>) -> Result<bool, ObjectError> {
        self.expire_pace.spend(1).await;
        Ok(self.metadata.configuration(following.space.id, LIFECYCLE).await?.as_ref() == Some(following.stored))
    }

    async fn expire_versions(&self, following: &Following<'_>, expired: &mut Expired) -> Result<(), ObjectError> {
        let Following { space, rules, .. } = following;
        if !rules.iter().any(|rule| rule.enabled && (rule.expire.is_some() || rule.older.is_some())) {
            return Ok(());
        }
        let prefix = common_prefix(rules);
        let (mut after, mut of_key): (_, Vec<ListedVersion>) = (VersionsAfter::Nothing, Vec::new());
        loop {
            let (page, more) = self.metadata.list_versions(space.id, &prefix, &after, PAGE).await?;
            if let Some(last) = page.last() {
                after = VersionsAfter::Version(last.key.clone(), last.row.order);
            }
            for version in page {
                let ends = of_key.last().is_some_and(|last| last.key != version.key);
                if ends && !self.end_key(following, &std::mem::take(&mut of_key), expired).await? {
                    return Ok(());
                }
                of_key.push(version);
            }
            if !more {
                return self.end_key(following, &of_key, expired).await.map(drop);
            }
        }
    }

    /// All versions of a key are known; whether the rules that they were judged by are still so.
    async fn end_key(
        &self,
        following: &Following<'_>,
        versions: &[ListedVersion],
        expired: &mut Expired,
    ) -> Result<bool, ObjectError> {
        let Following { name, rules, clock, .. } = following;
        for deed in due(rules, versions, *clock) {
            let key = &versions[0].key;
            if !self.still_follows(following).await? {
                return Ok(false);
            }
            let done = match deed {
                Deed::Expire(upload) => self.metadata.delete(name, key, &Precondition::Upload(upload)).await,
                Deed::Remove(version) => self.metadata.delete_version(name, key, version, &Precondition::None, false).await,
            };
            match done {
                Ok(_) if matches!(deed, Deed::Expire(_)) => expired.objects += 1,
                Ok(_) => expired.versions += 1,
                // Somebody was quicker, or wants it to stay.
                Err(
                    ObjectError::NoObject(_)
                    | ObjectError::PreconditionFailed
                    | ObjectError::Locked
                    | ObjectError::Contended
                    | ObjectError::NoNamespace(_),
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    async fn expire_uploads(&self, following: &Following<'_>, expired: &mut Expired) -> Result<(), ObjectError> {
        let Following { name, space, rules, clock, .. } = following;
        let rules: Vec<_> = rules.iter().filter(|rule| rule.enabled && rule.parts_days.is_some()).collect();
        if rules.is_empty() {
            return Ok(());
        }
        let mut after: Option<(String, u64)> = None;
        loop {
            let from = after.as_ref().map(|(key, upload)| (key.as_str(), *upload));
            let (page, more) = self.metadata.list_multiparts(space.id, "", from, PAGE).await?;
            after = page.last().map(|last| (last.key.clone(), last.upload));
            for listed in page {
                let ends = |rule: &&LifecycleRule| {
                    let passed = rule.parts_days.is_some_and(|days| clock.passed(listed.row.since_ms, days));
                    passed && rule.filter.is_about_key(&listed.key)
                };
                if !rules.iter().any(ends) {
                    continue;
                }
                if !self.still_follows(following).await? {
                    return Ok(());
                }
                match self.metadata.abort_multipart(name, &listed.key, listed.upload).await {
                    Ok(()) => expired.uploads += 1,
                    Err(ObjectError::NoUpload | ObjectError::Contended | ObjectError::NoNamespace(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            if !more {
                return Ok(());
            }
        }
    }
}

/// What all keys begin with that rules are about.
fn common_prefix(rules: &[LifecycleRule]) -> String {
    let mut prefixes = rules.iter().filter(|rule| rule.enabled).map(|rule| rule.filter.prefix.as_deref().unwrap_or_default());
    let mut common = prefixes.next().unwrap_or_default();
    for prefix in prefixes {
        let same = common.chars().zip(prefix.chars()).take_while(|(one, other)| one == other);
        let bytes: usize = same.map(|(letter, _)| letter.len_utf8()).sum();
        common = &common[..bytes];
    }
    common.to_owned()
}

#[cfg(test)]
mod tests {
    use eddy_object::schema::LifecycleFilter;

    use super::*;

    #[test]
    fn only_what_rules_are_about_is_read() {
        let rules = |prefixes: &[&str]| {
            let rule = |prefix: &&str| {
                let filter = LifecycleFilter { prefix: Some((*prefix).to_owned()), ..LifecycleFilter::default() };
                LifecycleRule { id: String::new(), enabled: true, filter, expire: None, older: None, parts_days: None }
            };
            prefixes.iter().map(rule).collect::<Vec<_>>()
        };
        assert_eq!(common_prefix(&rules(&["logs/a/", "logs/b/"])), "logs/");
        assert_eq!(common_prefix(&rules(&["ä1", "ä2"])), "ä");
        assert_eq!(common_prefix(&rules(&["a", ""])), "");
        assert_eq!(common_prefix(&rules(&["same", "same"])), "same");
        assert_eq!(common_prefix(&[]), "");
    }
}
