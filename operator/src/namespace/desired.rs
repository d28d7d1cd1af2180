//! What a Namespace asks of storage (pure).

use eddy_crds::{Lifecycle, Namespace, NamespaceSpec, RedundancyMode, Visibility};
use eddy_object::schema::{self, Expire, ExpireOlder, LifecycleFilter, LifecycleRule, NamespaceSettings, Quota, Versioning};

use crate::quantity;
use crate::reason::{Reason, Verdict};

/// What the names of rules begin with that come from a Namespace, in storage. Rules of others stay as they are.
const RULE_PREFIX: &str = "eddy.cloud/";

/// Why storage cannot do what a Namespace asks for. What is not kept is refused, rather than promised.
pub(super) fn obstacle(namespace: &Namespace) -> Option<Verdict> {
    let NamespaceSpec { redundancy, tier_policy, quota, .. } = &namespace.spec;
    let not_yet = |what: &str| Some(Verdict::new(Reason::NotSupported, format!("{what} is still to come: leave it out")));
    if redundancy.mode == RedundancyMode::ErasureCoded {
        return not_yet("spec.redundancy.mode ErasureCoded");
    }
    if tier_policy.is_some() {
        return not_yet("spec.tierPolicy");
    }
    let bytes = quota.as_ref().and_then(|quota| quota.bytes.as_deref());
    bytes.filter(|bytes| quantity::whole(bytes).is_none()).map(|bytes| {
        Verdict::new(Reason::Rejected, format!("spec.quota.bytes {bytes:?} is no number of bytes: write one such as 10Gi"))
    })
}

/// What storage is to know of a Namespace. What its owner decided through a door stays.
pub(super) fn decide(spec: &NamespaceSpec, owner: &str, settings: &mut NamespaceSettings) {
    let quota = spec.quota.clone().unwrap_or_default();
    owner.clone_into(&mut settings.owner);
    settings.visibility = match spec.visibility {
        Visibility::Private => schema::Visibility::Private,
        Visibility::Visible => schema::Visibility::Visible,
        Visibility::Public => schema::Visibility::Public,
    };
    settings.quota = Quota { bytes: quota.bytes.as_deref().and_then(quantity::whole), objects: quota.objects };
    settings.copies = u8::try_from(spec.redundancy.copies).unwrap_or(u8::MAX);
    settings.versioning = if spec.versioning { Versioning::On } else { Versioning::Off };
}

/// The rules of storage: those of the Namespace, and of those that are there all that others made.
pub(super) fn rules(spec: &NamespaceSpec, present: &[LifecycleRule]) -> Vec<LifecycleRule> {
    let others = present.iter().filter(|rule| !rule.id.starts_with(RULE_PREFIX)).cloned();
    others.chain(spec.lifecycle.iter().map(rule)).collect()
}

fn rule(lifecycle: &Lifecycle) -> LifecycleRule {
    let days = |days: i32| u32::try_from(days).unwrap_or(u32::MAX);
    LifecycleRule {
        id: format!("{RULE_PREFIX}{}", lifecycle.name),
        enabled: true,
        filter: LifecycleFilter { prefix: lifecycle.prefix.clone(), ..LifecycleFilter::default() },
        expire: lifecycle.expire_after_days.map(|after| Expire::AfterDays(days(after))),
        older: lifecycle.expire_versions_after_days.map(|after| ExpireOlder { days: days(after), keep: None }),
        parts_days: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_crds::{NamespaceQuota, TierPolicy};

    #[test]
    fn what_a_namespace_says_is_what_storage_is_told_and_what_a_door_was_told_stays() {
        let quota = NamespaceQuota { objects: Some(7), bytes: Some("1Ki".into()) };
        let spec = NamespaceSpec { visibility: Visibility::Public, quota: Some(quota), ..NamespaceSpec::default() };
        let mut settings = NamespaceSettings { grants: Some(Vec::new()), ..NamespaceSettings::default() };
        decide(&spec, "ada", &mut settings);
        let expected = NamespaceSettings {
            owner: "ada".into(),
            visibility: schema::Visibility::Public,
            quota: Quota { bytes: Some(1024), objects: Some(7) },
            grants: Some(Vec::new()),
            ..NamespaceSettings::default()
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn rules_that_others_made_stay_and_those_that_are_no_longer_asked_for_go() {
        let lifecycle = |name: &str| Lifecycle {
            name: name.into(),
            prefix: Some("logs/".into()),
            expire_after_days: Some(30),
            expire_versions_after_days: None,
        };
        let spec = |names: &[&str]| NamespaceSpec {
            lifecycle: names.iter().map(|name| lifecycle(name)).collect(),
            ..NamespaceSpec::default()
        };
        let theirs = LifecycleRule { id: "theirs".into(), ..rule(&lifecycle("x")) };
        let first = rules(&spec(&["a", "b"]), std::slice::from_ref(&theirs));
        assert_eq!(first.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["theirs", "eddy.cloud/a", "eddy.cloud/b"]);
        assert_eq!(first[1].expire, Some(Expire::AfterDays(30)));
        assert_eq!(rules(&spec(&[]), &first), [theirs]);
    }

    #[test]
    fn what_storage_cannot_keep_is_not_promised() {
        let judged = |spec: NamespaceSpec| obstacle(&Namespace::new("photos", spec)).map(|verdict| verdict.reason);
        assert_eq!(judged(NamespaceSpec::default()), None);
        let tiers = NamespaceSpec { tier_policy: Some(TierPolicy { cold_after_days: 3 }), ..NamespaceSpec::default() };
        assert_eq!(judged(tiers), Some(Reason::NotSupported));
        let mut coded = NamespaceSpec::default();
        coded.redundancy.mode = RedundancyMode::ErasureCoded;
        assert_eq!(judged(coded), Some(Reason::NotSupported));
        let quota = NamespaceQuota { objects: None, bytes: Some("900E".into()) };
        assert_eq!(judged(NamespaceSpec { quota: Some(quota), ..NamespaceSpec::default() }), Some(Reason::Rejected));
    }
}
