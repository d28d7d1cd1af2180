//! Waiting until Kubernetes counts what a quota limits.
//!
//! Kubernetes learns of a new kind up to 30 seconds after its definition, and looks at a quota again only when its
//! limits change (else every 5 minutes). A limit that it cannot count yet makes it refuse every object of that
//! kind: "status unknown for quota". So such a limit is taken out of the quota, and tried again a little later.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ResourceQuota;

/// The pause before a limit that could not be counted is tried again.
pub(super) const PAUSE: Duration = Duration::from_secs(3);

/// The limits that are left out for now, by tenant, and since when.
#[derive(Default)]
pub(super) struct Omissions {
    by_tenant: Mutex<HashMap<String, (Instant, BTreeSet<String>)>>,
}

impl Omissions {
    /// The limits to leave out of a tenant's quota now, given what the watch shows of it.
    pub(super) fn of(&self, tenant: &str, observed: Option<&ResourceQuota>, now: Instant) -> BTreeSet<String> {
        let mut by_tenant = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        let uncounted = observed.map(uncounted).unwrap_or_default();
        if !uncounted.is_empty() {
            by_tenant.insert(tenant.to_owned(), (now, uncounted.clone()));
            return uncounted;
        }
        match by_tenant.get(tenant) {
            Some((since, omitted)) if now.duration_since(*since) < PAUSE => omitted.clone(),
            _ => {
                by_tenant.remove(tenant);
                BTreeSet::new()
            }
        }
    }
}

/// Limits that Kubernetes has taken note of and has no count for.
fn uncounted(quota: &ResourceQuota) -> BTreeSet<String> {
    let Some(status) = &quota.status else { return BTreeSet::new() };
    let (hard, used) = (status.hard.as_ref(), status.used.as_ref());
    let counted = |name: &String| used.is_some_and(|used| used.contains_key(name));
    hard.into_iter().flat_map(|hard| hard.keys()).filter(|name| !counted(name)).cloned().collect()
}

/// Whether Kubernetes enforces every limit of a quota.
pub(super) fn enforced(desired: &ResourceQuota, observed: Option<&ResourceQuota>) -> bool {
    let Some(used) = observed.and_then(|quota| quota.status.as_ref()).and_then(|status| status.used.as_ref()) else {
        return false;
    };
    let limits = desired.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    limits.into_iter().flat_map(|hard| hard.keys()).all(|name| used.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ResourceQuotaSpec, ResourceQuotaStatus};
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use std::collections::BTreeMap;

    fn quota(spec: &[&str], hard: &[&str], used: &[&str]) -> ResourceQuota {
        let quantities = |names: &[&str]| -> Option<BTreeMap<String, Quantity>> {
            Some(names.iter().map(|name| ((*name).to_owned(), Quantity("1".into()))).collect())
        };
        ResourceQuota {
            spec: Some(ResourceQuotaSpec { hard: quantities(spec), ..ResourceQuotaSpec::default() }),
            status: Some(ResourceQuotaStatus { hard: quantities(hard), used: quantities(used) }),
            ..ResourceQuota::default()
        }
    }

    #[test]
    fn a_limit_that_is_not_counted_is_left_out_and_tried_again() {
        let omissions = Omissions::default();
        let start = Instant::now();
        assert!(omissions.of("ada", None, start).is_empty());
        let uncounted = quota(&["pods", "vms"], &["pods", "vms"], &["pods"]);
        assert_eq!(omissions.of("ada", Some(&uncounted), start), BTreeSet::from(["vms".to_owned()]));
        let without = quota(&["pods"], &["pods"], &["pods"]);
        assert_eq!(omissions.of("ada", Some(&without), start + PAUSE / 2), BTreeSet::from(["vms".to_owned()]));
        assert!(omissions.of("bob", Some(&without), start + PAUSE / 2).is_empty());
        assert!(omissions.of("ada", Some(&without), start + PAUSE).is_empty());
    }

    #[test]
    fn a_quota_is_enforced_once_all_its_limits_are_counted() {
        let desired = quota(&["pods", "vms"], &[], &[]);
        assert!(!enforced(&desired, None));
        assert!(!enforced(&desired, Some(&quota(&["pods", "vms"], &["pods"], &["pods"]))));
        assert!(enforced(&desired, Some(&quota(&["pods", "vms"], &["pods", "vms"], &["pods", "vms"]))));
    }
}
