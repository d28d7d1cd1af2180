//! What a Namespace asks of storage (pure).

use eddy_crds::{Lifecycle, Namespace, NamespaceSpec, RedundancyMode, Visibility};
use eddy_object::coded::{DATA_SHARDS, PARITY_SHARDS};
use eddy_object::placement::needed;
use eddy_object::schema::{
    self, Class, Expire, ExpireOlder, LifecycleFilter, LifecycleRule, NamespaceSettings, Quota, ServerRow, Tiering, Versioning,
};

use crate::quantity;
use crate::reason::{Reason, Verdict};

/// What the names of rules begin with that come from a Namespace, in storage. Rules of others stay as they are.
const RULE_PREFIX: &str = "eddy.cloud/";

/// Why storage cannot do what a Namespace asks for. What is not kept is refused, rather than promised.
pub(super) fn obstacle(namespace: &Namespace) -> Option<Verdict> {
    let bytes = namespace.spec.quota.as_ref().and_then(|quota| quota.bytes.as_deref());
    bytes.filter(|bytes| quantity::whole(bytes).is_none()).map(|bytes| {
        Verdict::new(Reason::Rejected, format!("spec.quota.bytes {bytes:?} is no number of bytes: write one such as 10Gi"))
    })
}

/// What a Namespace may hold.
pub(super) fn quota(spec: &NamespaceSpec) -> Quota {
    let quota = spec.quota.clone().unwrap_or_default();
    Quota { bytes: quota.bytes.as_deref().and_then(quantity::whole), objects: quota.objects }
}

/// What storage is to know of a Namespace. What its owner decided through a door stays.
pub(super) fn decide(spec: &NamespaceSpec, owner: &str, settings: &mut NamespaceSettings) {
    owner.clone_into(&mut settings.owner);
    settings.visibility = match spec.visibility {
        Visibility::Private => schema::Visibility::Private,
        Visibility::Visible => schema::Visibility::Visible,
        Visibility::Public => schema::Visibility::Public,
    };
    settings.quota = quota(spec);
    settings.copies = copies(spec);
    settings.tiering = Tiering {
        coded: spec.redundancy.mode == RedundancyMode::ErasureCoded,
        cold_after_days: spec.tier_policy.as_ref().and_then(|policy| u32::try_from(policy.cold_after_days).ok()),
    };
    settings.versioning = if spec.versioning { Versioning::On } else { Versioning::Off };
}

fn copies(spec: &NamespaceSpec) -> u8 {
    u8::try_from(spec.redundancy.copies).unwrap_or(u8::MAX)
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
        parts_days: lifecycle.abort_uploads_after_days.map(days),
    }
}

/// What its user should know of a namespace that can be used, where there are so many chunkservers.
pub(super) fn remark(spec: &NamespaceSpec, servers: &[ServerRow]) -> String {
    let codes = servers.len() >= usize::from(DATA_SHARDS + PARITY_SHARDS);
    let usable = "it can be read and written";
    let (copies, count) = (copies(spec), servers.len());
    let needed = needed(copies);
    if count < needed {
        return format!(
            "nothing can be written: what has {copies} copies is written to {needed} chunkservers at least, and there is {count}"
        );
    }
    if count < usize::from(copies) {
        return format!(
            "{usable}; there are {count} chunkservers, so {copies} copies become as many as that until there are more"
        );
    }
    if spec.redundancy.mode == RedundancyMode::ErasureCoded && !codes {
        return format!(
            "{usable}; it is kept as whole copies until there are six chunkservers to code it for, and there are {count}"
        );
    }
    if spec.tier_policy.is_some() && !codes && !servers.iter().any(|server| server.class == Class::Slow) {
        return format!("{usable}; nothing becomes cold until there are slow chunkservers, or six to code it for");
    }
    usable.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_crds::{NamespaceQuota, TierPolicy};

    #[test]
    fn what_a_namespace_says_is_what_storage_is_told_and_what_a_door_was_told_stays() {
        let quota = NamespaceQuota { objects: Some(7), bytes: Some("1Ki".into()) };
        let mut spec = NamespaceSpec { visibility: Visibility::Public, quota: Some(quota), ..NamespaceSpec::default() };
        spec.redundancy.mode = RedundancyMode::ErasureCoded;
        spec.tier_policy = Some(TierPolicy { cold_after_days: 30 });
        let mut settings = NamespaceSettings { grants: Some(Vec::new()), ..NamespaceSettings::default() };
        decide(&spec, "ada", &mut settings);
        let expected = NamespaceSettings {
            owner: "ada".into(),
            visibility: schema::Visibility::Public,
            quota: Quota { bytes: Some(1024), objects: Some(7) },
            tiering: Tiering { coded: true, cold_after_days: Some(30) },
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
            abort_uploads_after_days: Some(7),
        };
        let spec = |names: &[&str]| NamespaceSpec {
            lifecycle: names.iter().map(|name| lifecycle(name)).collect(),
            ..NamespaceSpec::default()
        };
        let theirs = LifecycleRule { id: "theirs".into(), ..rule(&lifecycle("x")) };
        let first = rules(&spec(&["a", "b"]), std::slice::from_ref(&theirs));
        assert_eq!(first.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["theirs", "eddy.cloud/a", "eddy.cloud/b"]);
        assert_eq!((&first[1].expire, first[1].parts_days), (&Some(Expire::AfterDays(30)), Some(7)));
        assert_eq!(rules(&spec(&[]), &first), [theirs]);
    }

    #[test]
    fn what_waits_for_servers_is_said() {
        let servers = |fast: usize, slow: usize| -> Vec<ServerRow> {
            let row = |class| ServerRow { address: "a:1".into(), failure_domain: "m".into(), class };
            [vec![row(Class::Fast); fast], vec![row(Class::Slow); slow]].concat()
        };
        let plain = NamespaceSpec::default();
        let mut coded = NamespaceSpec::default();
        coded.redundancy.mode = RedundancyMode::ErasureCoded;
        let tiered = NamespaceSpec { tier_policy: Some(TierPolicy { cold_after_days: 30 }), ..NamespaceSpec::default() };
        let usable = "it can be read and written";
        assert_eq!(remark(&plain, &servers(3, 0)), usable);
        assert!(remark(&plain, &servers(1, 0)).starts_with("nothing can be written"));
        assert!(remark(&plain, &servers(2, 0)).contains("there are 2 chunkservers, so 3 copies"));
        let mut once = NamespaceSpec::default();
        once.redundancy.copies = 1;
        assert_eq!(remark(&once, &servers(1, 0)), usable);
        assert_eq!((remark(&coded, &servers(6, 0)), remark(&tiered, &servers(3, 1))), (usable.into(), usable.into()));
        assert!(remark(&coded, &servers(3, 2)).ends_with("and there are 5"));
        assert!(remark(&tiered, &servers(3, 0)).contains("nothing becomes cold"));
    }

    #[test]
    fn what_storage_cannot_keep_is_not_promised() {
        let judged = |spec: NamespaceSpec| obstacle(&Namespace::new("photos", spec)).map(|verdict| verdict.reason);
        assert_eq!(judged(NamespaceSpec::default()), None);
        let quota = NamespaceQuota { objects: None, bytes: Some("900E".into()) };
        assert_eq!(judged(NamespaceSpec { quota: Some(quota), ..NamespaceSpec::default() }), Some(Reason::Rejected));
    }
}
