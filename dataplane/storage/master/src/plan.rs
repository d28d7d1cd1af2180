//! What is to be done about a chunk, from what its servers have.

use std::collections::BTreeSet;

use eddy_chunks::Extent;

/// What a server has of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holding {
    /// These needles, and they can be read.
    Needles(BTreeSet<Extent>),
    /// It does not answer, but may come back.
    Away,
    /// It has not answered for too long, or is known no more.
    Lost,
}

/// What is to be done about a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Servers that have all that is needed.
    pub whole: Vec<u64>,
    /// Servers that answer and lack something.
    pub lacking: Vec<u64>,
    /// Servers that may come back.
    pub away: Vec<u64>,
    /// Servers that are not waited for.
    pub lost: Vec<u64>,
    /// Copies to be made.
    pub missing: usize,
    /// Needles that no server gives: nothing can be done before one comes back.
    pub unreadable: Vec<Extent>,
}

impl Plan {
    /// Whether all is as it should be.
    pub fn is_healthy(&self) -> bool {
        self.missing == 0 && self.lacking.is_empty() && self.away.is_empty()
    }
}

/// What is to be done about a chunk of which these needles are needed, in so many copies.
pub fn plan(holdings: &[(u64, Holding)], needed: &BTreeSet<Extent>, copies: usize) -> Plan {
    let mut plan = Plan::default();
    let mut readable = BTreeSet::new();
    for (server, holding) in holdings {
        match holding {
            Holding::Needles(has) => {
                readable.extend(has.intersection(needed).copied());
                if needed.is_subset(has) { plan.whole.push(*server) } else { plan.lacking.push(*server) }
            }
            Holding::Away => plan.away.push(*server),
            Holding::Lost => plan.lost.push(*server),
        }
    }
    plan.unreadable = needed.difference(&readable).copied().collect();
    plan.missing = copies.saturating_sub(plan.whole.len() + plan.away.len());
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(needle: u64) -> Extent {
        Extent { chunk: 1, offset: 64, needle, bytes: 1 }
    }

    fn has(needles: &[u64]) -> Holding {
        Holding::Needles(needles.iter().map(|needle| extent(*needle)).collect())
    }

    #[test]
    fn what_is_whole_stays_and_what_lacks_is_copied() {
        let needed = [1, 2].map(extent).into();
        let healthy = plan(&[(1, has(&[1, 2])), (2, has(&[1, 2, 3])), (3, has(&[1, 2]))], &needed, 3);
        assert!(healthy.is_healthy() && healthy.whole == [1, 2, 3]);
        let one_lacks = plan(&[(1, has(&[1, 2])), (2, has(&[1])), (3, has(&[1, 2]))], &needed, 3);
        assert_eq!((one_lacks.lacking, one_lacks.missing), (vec![2], 1));
        let too_few = plan(&[(1, has(&[1, 2])), (2, has(&[1, 2]))], &needed, 3);
        assert!(!too_few.is_healthy() && too_few.missing == 1);
    }

    #[test]
    fn one_that_may_come_back_is_waited_for_and_one_that_is_lost_is_not() {
        let needed = [1].map(extent).into();
        let away = plan(&[(1, has(&[1])), (2, Holding::Away)], &needed, 2);
        assert!(away.missing == 0 && !away.is_healthy());
        let lost = plan(&[(1, has(&[1])), (2, Holding::Lost)], &needed, 2);
        assert_eq!(lost.missing, 1);
    }

    #[test]
    fn a_needle_that_no_one_gives_is_told() {
        let needed = [1, 2].map(extent).into();
        // Each has what the other lacks: together all.
        let together = plan(&[(1, has(&[1])), (2, has(&[2]))], &needed, 2);
        assert!(together.unreadable.is_empty() && together.missing == 2);
        let lost = plan(&[(1, has(&[1])), (2, Holding::Away)], &needed, 2);
        assert_eq!(lost.unreadable, [extent(2)]);
    }
}
