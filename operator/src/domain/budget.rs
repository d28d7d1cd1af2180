//! How many certificates are asked for: all tenants share one account, and authorities bound what one may ask for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// More of one tenant are not,
pub(super) const ORDERS_AN_HOUR: usize = 30;
/// nor, of all together, more than this but for the first few of a tenant: the least bound that is known of an authority is 300 in three hours.
const ALL_AN_HOUR: usize = 80;
const FIRST: usize = 3;
const EVER_AN_HOUR: usize = 100;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// What was asked for within the last hour, by tenant. Whoever leads next begins anew.
#[derive(Default)]
pub(super) struct Budget(Mutex<HashMap<String, VecDeque<Timestamp>>>);

impl Budget {
    /// Takes note of one more.
    ///
    /// # Errors
    /// When there may be one, if there may not now.
    pub(super) fn take(&self, tenant: &str, now: Timestamp) -> Result<(), Timestamp> {
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = |at: &Timestamp| at.saturating_add(HOUR).unwrap_or(*at);
        tenants.retain(|_, orders| {
            orders.retain(|at| ends(at) > now);
            !orders.is_empty()
        });
        let all = tenants.values().map(VecDeque::len).sum::<usize>();
        let own = tenants.get(tenant).map_or(0, VecDeque::len);
        if all >= EVER_AN_HOUR || all >= ALL_AN_HOUR && own >= FIRST {
            return Err(tenants.values().filter_map(|orders| orders.front()).min().map_or(now, ends));
        }
        let orders = tenants.entry(tenant.to_owned()).or_default();
        match orders.front() {
            Some(first) if orders.len() >= ORDERS_AN_HOUR => Err(ends(first)),
            _ => {
                orders.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_so_many_an_hour_and_others_have_theirs() {
        let (budget, at) = (Budget::default(), |second| Timestamp::from_second(second).unwrap());
        for second in 0..i64::try_from(ORDERS_AN_HOUR).unwrap() {
            assert_eq!(budget.take("u-ada", at(second)), Ok(()));
        }
        assert_eq!(budget.take("u-ada", at(3599)), Err(at(3600)));
        assert_eq!(budget.take("u-bob", at(3599)), Ok(()));
        assert_eq!(budget.take("u-ada", at(3600)), Ok(()));
        assert_eq!(budget.take("u-ada", at(3600)), Err(at(3601)));
    }

    #[test]
    fn all_together_have_so_many() {
        let (budget, at) = (Budget::default(), |second| Timestamp::from_second(second).unwrap());
        let taken = (0..10).flat_map(|tenant| std::iter::repeat_n(tenant, 10)).enumerate();
        let taken =
            taken.filter(|(number, tenant)| budget.take(&format!("u-{tenant}"), at(i64::try_from(*number).unwrap())).is_ok());
        assert_eq!(taken.count(), ALL_AN_HOUR + 2 * FIRST);
        assert_eq!(budget.take("u-new", at(100)), Ok(()), "those who had none are not held up by those who had many");
        assert_eq!(budget.take("u-0", at(100)), Err(at(3600)));
    }
}
