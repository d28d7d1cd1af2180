//! What rules say of how long things stay (S3: "Lifecycle configuration elements").

use eddy_object::schema::{Expire, LifecycleRule, ObjectRow};
use eddy_object::{ListedVersion, VersionId};

/// What time it is, and how long a day is: shorter in tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) now_ms: u64,
    pub(crate) day_ms: u64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The present version goes, if it is still the one that this upload wrote.
    Expire(u64),
    /// A version goes for good.
    Remove(VersionId),
}

impl Clock {
    /// Whether so many days have passed, and the one in which they did.
    pub(crate) fn passed(self, since_ms: u64, days: u32) -> bool {
        let after = since_ms.saturating_add(u64::from(days).saturating_mul(self.day_ms));
        after.div_ceil(self.day_ms).saturating_mul(self.day_ms) <= self.now_ms
    }
}

/// What is to be done with all versions of one key, the latest first.
pub(crate) fn due(rules: &[LifecycleRule], versions: &[ListedVersion], clock: Clock) -> Vec<Deed> {
    let rules: Vec<&LifecycleRule> = rules.iter().filter(|rule| rule.enabled).collect();
    let Some((latest, older)) = versions.split_first() else { return Vec::new() };
    let mut deeds = Vec::new();
    if latest.row.deleted {
        if older.is_empty() && rules.iter().any(|rule| ends_marker(rule, latest, clock)) {
            deeds.push(Deed::Remove(VersionId::of(&latest.row)));
        }
    } else if rules.iter().any(|rule| ends_present(rule, &latest.key, &latest.row, clock)) {
        deeds.push(Deed::Expire(latest.row.upload));
    }
    let mut taken_ms = latest.row.modified_ms;
    for (newer, version) in older.iter().enumerate() {
        let ends = |rule: &&LifecycleRule| {
            rule.older.is_some_and(|older| {
                let beyond = older.keep.is_none_or(|keep| newer >= keep as usize);
                beyond && clock.passed(taken_ms, older.days) && rule.filter.is_about(&version.key, &version.row)
            })
        };
        if rules.iter().any(ends) {
            deeds.push(Deed::Remove(VersionId::of(&version.row)));
        }
        taken_ms = version.row.modified_ms;
    }
    deeds
}

fn ends_present(rule: &LifecycleRule, key: &str, row: &ObjectRow, clock: Clock) -> bool {
    let time = match rule.expire {
        Some(Expire::AfterDays(days)) => clock.passed(row.modified_ms, days),
        Some(Expire::On(date_ms)) => clock.now_ms >= date_ms,
        Some(Expire::LoneMarkers) | None => false,
    };
    time && rule.filter.is_about(key, row)
}

/// What says that an object was deleted, of which nothing is left, has no tags and no length to ask for.
fn ends_marker(rule: &LifecycleRule, marker: &ListedVersion, clock: Clock) -> bool {
    let time = match rule.expire {
        Some(Expire::LoneMarkers) => true,
        Some(Expire::AfterDays(days)) => clock.passed(marker.row.modified_ms, days),
        Some(Expire::On(date_ms)) => clock.now_ms >= date_ms,
        None => false,
    };
    time && rule.filter.is_about_key(&marker.key) && rule.filter.is_prefix()
}

#[cfg(test)]
mod tests {
    use eddy_object::schema::{Attributes, Contents, ExpireOlder, LifecycleFilter};

    use super::*;

    const DAY: u64 = 86_400_000;

    fn version(key: &str, modified_ms: u64, deleted: bool) -> ListedVersion {
        let row = ObjectRow {
            upload: modified_ms,
            order: modified_ms,
            unversioned: false,
            deleted,
            bytes: 10,
            modified_ms,
            attributes: Attributes { tags: vec![("a".into(), "1".into())], ..Attributes::default() },
            contents: Contents::Needles(Vec::new()),
        };
        ListedVersion { key: key.to_owned(), row, latest: false }
    }

    fn rule(prefix: &str, expire: Option<Expire>, older: Option<ExpireOlder>) -> LifecycleRule {
        let filter = LifecycleFilter { prefix: Some(prefix.to_owned()), ..LifecycleFilter::default() };
        LifecycleRule { id: "one".into(), enabled: true, filter, expire, older, parts_days: None }
    }

    fn at(now_ms: u64) -> Clock {
        Clock { now_ms, day_ms: DAY }
    }

    #[test]
    fn a_day_ends_at_midnight() {
        let clock = at(3 * DAY);
        assert!(clock.passed(2 * DAY, 1) && clock.passed(DAY + 1, 1) && !clock.passed(2 * DAY + 1, 1));
        assert!(!clock.passed(u64::MAX, 1) && !clock.passed(0, u32::MAX));
    }

    #[test]
    fn present_versions_go_when_a_rule_is_about_them() {
        let days = |prefix: &str| vec![rule(prefix, Some(Expire::AfterDays(1)), None)];
        let one = [version("tmp/a", DAY / 2, false)];
        assert_eq!(due(&days("tmp/"), &one, at(2 * DAY)), [Deed::Expire(DAY / 2)]);
        assert_eq!(due(&days("tmp/"), &one, at(2 * DAY - 1)), []);
        assert_eq!(due(&days("other/"), &one, at(9 * DAY)), []);
        assert_eq!(due(&[rule("", Some(Expire::On(DAY)), None)], &one, at(DAY)), [Deed::Expire(DAY / 2)]);
        let mut off = days("");
        off[0].enabled = false;
        assert_eq!(due(&off, &one, at(9 * DAY)), []);
        let mut tagged = days("");
        tagged[0].filter.tags = vec![("a".into(), "2".into())];
        assert_eq!(due(&tagged, &one, at(9 * DAY)), []);
        let mut long = days("");
        long[0].filter.longer_than = Some(10);
        assert_eq!(due(&long, &one, at(9 * DAY)), []);
    }

    #[test]
    fn older_versions_go_after_others_took_their_place() {
        let versions =
            [version("a", 5 * DAY, false), version("a", 3 * DAY, false), version("a", DAY, true), version("a", 0, false)];
        let older = |days, keep| vec![rule("", None, Some(ExpireOlder { days, keep }))];
        let remove = |at: &[usize]| at.iter().map(|at| Deed::Remove(VersionId::of(&versions[*at].row))).collect::<Vec<_>>();
        assert_eq!(due(&older(1, None), &versions, at(5 * DAY)), remove(&[2, 3]));
        assert_eq!(due(&older(1, None), &versions, at(6 * DAY)), remove(&[1, 2, 3]));
        assert_eq!(due(&older(1, Some(2)), &versions, at(9 * DAY)), remove(&[3]));
    }

    #[test]
    fn what_says_that_an_object_was_deleted_goes_with_the_last_of_it() {
        let marker = [version("a", DAY, true)];
        let lone = vec![rule("", Some(Expire::LoneMarkers), None)];
        assert_eq!(due(&lone, &marker, at(DAY)), [Deed::Remove(VersionId::of(&marker[0].row))]);
        let kept = [version("a", DAY, true), version("a", 0, false)];
        assert_eq!(due(&lone, &kept, at(9 * DAY)), []);
        let mut tagged = lone;
        tagged[0].filter.tags = vec![("a".into(), "1".into())];
        assert_eq!(due(&tagged, &marker, at(DAY)), []);
    }
}
