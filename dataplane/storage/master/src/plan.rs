//! What is to be done about a chunk, from what its servers have.

use std::collections::BTreeSet;

use eddy_chunks::Extent;
use eddy_object::schema::Replica;

use crate::expected::Expected;

/// What a replica of a chunk has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// These needles, and they can be read.
    Needles(BTreeSet<Extent>),
    /// Its server does not answer, but may come back.
    Away,
    /// Its server has not answered for too long, or is known no more.
    Lost,
}

/// What is to be done about a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Those that have all that is needed.
    pub(crate) whole: Vec<Replica>,
    /// Those that lack something, on servers that answer.
    pub(crate) lacking: Vec<Replica>,
    /// Those on servers that may come back.
    pub(crate) away: Vec<Replica>,
    /// Those on servers that are not waited for.
    pub(crate) lost: Vec<Replica>,
    /// Copies to be made.
    pub(crate) missing: usize,
    /// Needles that no server gives: nothing can be done before one comes back.
    pub(crate) unreadable: Vec<Extent>,
}

impl Plan {
    /// Whether all is as it should be.
    pub(crate) fn is_healthy(&self) -> bool {
        self.missing == 0 && self.lacking.is_empty() && self.away.is_empty()
    }
}

/// What is to be done about a chunk whose replicas, in their order, have this, and should have that, as copies or shards of this number.
pub(crate) fn plan(holdings: &[(Replica, Holding)], expected: &Expected, copies: usize) -> Plan {
    let mut plan = Plan::default();
    let mut readable = BTreeSet::new();
    for (place, (replica, holding)) in holdings.iter().enumerate() {
        match holding {
            Holding::Needles(has) => {
                let needed = expected.at(place);
                readable.extend(has.intersection(&needed).copied());
                if needed.is_subset(has) { plan.whole.push(*replica) } else { plan.lacking.push(*replica) }
            }
            Holding::Away => plan.away.push(*replica),
            Holding::Lost => plan.lost.push(*replica),
        }
    }
    plan.unreadable = expected.unreadable(&readable);
    plan.missing = copies.saturating_sub(plan.whole.len() + plan.away.len());
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(needle: u64) -> Extent {
        Extent { chunk: 1, offset: 64, needle, bytes: 1 }
    }

    fn on(server: u64) -> Replica {
        Replica { server, file: server + 100 }
    }

    fn has(needles: &[u64]) -> Holding {
        Holding::Needles(needles.iter().map(|needle| extent(*needle)).collect())
    }

    #[test]
    fn what_is_whole_stays_and_what_lacks_is_copied() {
        let needed = Expected::Copies([1, 2].map(extent).into());
        let healthy = plan(&[(on(1), has(&[1, 2])), (on(2), has(&[1, 2, 3])), (on(3), has(&[1, 2]))], &needed, 3);
        assert!(healthy.is_healthy() && healthy.whole == [1, 2, 3].map(on));
        let one_lacks = plan(&[(on(1), has(&[1, 2])), (on(2), has(&[1])), (on(3), has(&[1, 2]))], &needed, 3);
        assert_eq!((one_lacks.lacking, one_lacks.missing), (vec![on(2)], 1));
        let too_few = plan(&[(on(1), has(&[1, 2])), (on(2), has(&[1, 2]))], &needed, 3);
        assert!(!too_few.is_healthy() && too_few.missing == 1);
    }

    #[test]
    fn one_that_may_come_back_is_waited_for_and_one_that_is_lost_is_not() {
        let needed = Expected::Copies([1].map(extent).into());
        let away = plan(&[(on(1), has(&[1])), (on(2), Holding::Away)], &needed, 2);
        assert!(away.missing == 0 && !away.is_healthy());
        let lost = plan(&[(on(1), has(&[1])), (on(2), Holding::Lost)], &needed, 2);
        assert_eq!(lost.missing, 1);
    }

    #[test]
    fn shards_are_each_of_one_server_and_two_of_six_can_be_lost() {
        let shards = Expected::Shards { extents: (0..6).map(extent).collect(), data: 4 };
        let holdings = |has_own: &[u64]| -> Vec<(Replica, Holding)> {
            (0..6).map(|at| (on(at + 10), if has_own.contains(&at) { has(&[at]) } else { has(&[]) })).collect()
        };
        assert!(plan(&holdings(&[0, 1, 2, 3, 4, 5]), &shards, 6).is_healthy());
        let two_lack = plan(&holdings(&[0, 2, 3, 5]), &shards, 6);
        assert_eq!((two_lack.lacking, two_lack.missing, two_lack.unreadable), (vec![on(11), on(14)], 2, vec![]));
        assert_eq!(plan(&holdings(&[0, 2, 3]), &shards, 6).unreadable.len(), 3);
        // What another should have is nothing.
        let mut swapped = holdings(&[2, 3, 4, 5]);
        swapped[0].1 = has(&[1]);
        assert_eq!(plan(&swapped, &shards, 6).lacking, [10, 11].map(on));
    }

    #[test]
    fn a_needle_that_no_one_gives_is_told() {
        let needed = Expected::Copies([1, 2].map(extent).into());
        // Each has what the other lacks: together all.
        let together = plan(&[(on(1), has(&[1])), (on(2), has(&[2]))], &needed, 2);
        assert!(together.unreadable.is_empty() && together.missing == 2);
        let lost = plan(&[(on(1), has(&[1])), (on(2), Holding::Away)], &needed, 2);
        assert_eq!(lost.unreadable, [extent(2)]);
    }
}
