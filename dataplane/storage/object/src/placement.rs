//! Which servers get a chunk.

use std::collections::BTreeSet;

use fastrand::Rng;

/// A server gets no new chunk with less of its room left, in thousandths.
pub const AVAILABLE_MIN_THOUSANDTHS: u64 = 50;

/// A server that may get a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub server: u64,
    /// What fails as one with it.
    pub failure_domain: String,
    /// The room of its disk.
    pub total_bytes: u64,
    /// What may still be written to it.
    pub available_bytes: u64,
}

impl Candidate {
    /// The share of its room that is left, in thousandths: real bytes, not counted chunks.
    fn available_thousandths(&self) -> u64 {
        let share = u128::from(self.available_bytes) * 1000 / u128::from(self.total_bytes.max(1));
        u64::try_from(share).unwrap_or(1000).min(1000)
    }
}

/// So many servers, or as many as there are: in distinct failure domains as far as there are such, the emptier of each two
/// drawn at random, none that is almost full, none of `not`.
pub fn choose(candidates: &[Candidate], count: usize, not: &BTreeSet<u64>, random: &mut Rng) -> Vec<u64> {
    let mut left: Vec<&Candidate> = candidates
        .iter()
        .filter(|one| !not.contains(&one.server) && one.available_thousandths() >= AVAILABLE_MIN_THOUSANDTHS)
        .collect();
    let taken = candidates.iter().filter(|one| not.contains(&one.server));
    let mut domains: BTreeSet<&str> = taken.map(|one| one.failure_domain.as_str()).collect();
    let mut chosen = Vec::new();
    while chosen.len() < count && !left.is_empty() {
        let elsewhere: Vec<usize> = (0..left.len()).filter(|at| !domains.contains(left[*at].failure_domain.as_str())).collect();
        let pool = if elsewhere.is_empty() { (0..left.len()).collect() } else { elsewhere };
        let (first, second) = (pool[random.usize(..pool.len())], pool[random.usize(..pool.len())]);
        let emptier = if left[second].available_thousandths() > left[first].available_thousandths() { second } else { first };
        let one = left.swap_remove(emptier);
        domains.insert(&one.failure_domain);
        chosen.push(one.server);
    }
    chosen
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(server: u64, domain: u8, available_bytes: u64) -> Candidate {
        Candidate { server, failure_domain: domain.to_string(), total_bytes: 1000, available_bytes }
    }

    proptest! {
        #[test]
        fn distinct_servers_with_room_in_as_many_domains_as_there_are(
            servers in prop::collection::vec((0..6u8, 0..=1000u64), 0..12),
            count in 0..6usize,
            seed: u64,
        ) {
            let candidates: Vec<Candidate> =
                servers.iter().zip(1..).map(|((domain, available), server)| candidate(server, *domain, *available)).collect();
            let not = BTreeSet::from([1]);
            let chosen = choose(&candidates, count, &not, &mut fastrand::Rng::with_seed(seed));
            let with_room: Vec<&Candidate> = candidates.iter().filter(|one| one.available_bytes >= 50 && one.server != 1).collect();
            prop_assert_eq!(chosen.len(), count.min(with_room.len()));
            let distinct: BTreeSet<u64> = chosen.iter().copied().collect();
            prop_assert_eq!(distinct.len(), chosen.len());
            prop_assert!(with_room.iter().filter(|one| distinct.contains(&one.server)).count() == chosen.len());
            let domain_of = |server: u64| candidates[server as usize - 1].failure_domain.clone();
            let domains: BTreeSet<String> = chosen.iter().map(|server| domain_of(*server)).collect();
            let taken: BTreeSet<String> = candidates.first().map(|one| one.failure_domain.clone()).into_iter().collect();
            let free: BTreeSet<String> =
                with_room.iter().map(|one| one.failure_domain.clone()).filter(|domain| !taken.contains(domain)).collect();
            prop_assert!(domains.difference(&taken).count() >= chosen.len().min(free.len()));
        }
    }

    #[test]
    fn the_emptier_get_more() {
        let candidates = [candidate(1, 1, 200), candidate(2, 2, 500), candidate(3, 3, 900)];
        let mut random = fastrand::Rng::with_seed(1);
        let mut counts = [0; 4];
        for _ in 0..3000 {
            counts[choose(&candidates, 1, &BTreeSet::new(), &mut random)[0] as usize] += 1;
        }
        assert!(counts[1] < counts[2] && counts[2] < counts[3] && counts[1] > 100, "{counts:?}");
    }
}
