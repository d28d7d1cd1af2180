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
    /// Those that have all that is needed, each on another server.
    pub(crate) whole: Vec<Replica>,
    /// Those that lack something, on servers that answer and have no whole one.
    pub(crate) lacking: Vec<Replica>,
    /// Those beside a whole one on the same server: one took another's place.
    pub(crate) beside: Vec<Replica>,
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
        self.missing == 0 && self.lacking.is_empty() && self.beside.is_empty() && self.away.is_empty()
    }

    /// A server is lost as a whole: what it has twice counts once.
    fn set_aside(&mut self) {
        let mut servers = BTreeSet::new();
        let whole = std::mem::take(&mut self.whole);
        let (whole, twice): (Vec<_>, Vec<_>) = whole.into_iter().partition(|replica| servers.insert(replica.server));
        let lacking = std::mem::take(&mut self.lacking);
        let (beside, lacking) = lacking.into_iter().partition(|replica| servers.contains(&replica.server));
        (self.whole, self.lacking, self.beside) = (whole, lacking, [beside, twice].concat());
    }
}

/// Replicas that may go though too few have all that is needed: of what is needed, others on as many servers as there should be copies
/// have all that they have, or another on the same server.
pub(crate) fn dispensable(holdings: &[(Replica, Holding)], needed: &BTreeSet<Extent>, copies: usize) -> Vec<Replica> {
    let mut gone: Vec<Replica> = Vec::new();
    for (replica, holding) in holdings {
        let Holding::Needles(has) = holding else { continue };
        let others_have = |extent: &Extent| {
            let others = holdings.iter().filter(|(other, holding)| {
                other != replica && !gone.contains(other) && matches!(holding, Holding::Needles(has) if has.contains(extent))
            });
            let servers: BTreeSet<u64> = others.map(|(other, _)| other.server).collect();
            servers.len() >= copies || servers.contains(&replica.server)
        };
        if !needed.is_subset(has) && has.intersection(needed).all(others_have) {
            gone.push(*replica);
        }
    }
    gone
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
    if matches!(expected, Expected::Copies(_)) {
        plan.set_aside();
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
    fn what_a_server_has_twice_counts_once() {
        let needed = Expected::Copies([1, 2].map(extent).into());
        let anew = Replica { file: 999, ..on(2) };
        let replaced = plan(&[(on(1), has(&[1, 2])), (on(2), has(&[1])), (anew, has(&[1, 2]))], &needed, 3);
        assert_eq!((replaced.whole, replaced.beside, replaced.missing), (vec![on(1), anew], vec![on(2)], 1));
        let twice = plan(&[(on(2), has(&[1, 2])), (anew, has(&[1, 2]))], &needed, 2);
        assert_eq!((twice.whole, twice.beside, twice.missing), (vec![on(2)], vec![anew], 1));
    }

    #[test]
    fn only_what_enough_others_have_may_go_before_enough_are_whole() {
        let needed: BTreeSet<Extent> = [1, 2].map(extent).into();
        let anew = Replica { file: 999, ..on(3) };
        let gone = |holdings: &[(Replica, Holding)]| dispensable(holdings, &needed, 2);
        // Without it, one server has the first needle.
        assert_eq!(gone(&[(on(1), has(&[1, 2])), (on(2), has(&[1]))]), []);
        // Only one of them, since then two are left with it. What nobody needs counts for nothing.
        assert_eq!(gone(&[(on(1), has(&[1, 2])), (on(2), has(&[1, 7])), (on(3), has(&[1]))]), [on(2)]);
        assert_eq!(gone(&[(on(1), has(&[1, 2])), (on(2), Holding::Away), (on(3), has(&[1]))]), []);
        // Its server has the same again.
        assert_eq!(gone(&[(on(1), has(&[1, 2])), (on(3), has(&[1])), (anew, has(&[1]))]), [on(3)]);
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
