//! Which servers get a chunk.

use std::collections::{BTreeMap, BTreeSet};

use eddy_chunkserver::Load;
use fastrand::Rng;

use crate::coded::{DATA_SHARDS, PARITY_SHARDS};
use crate::schema::Class;

/// A server gets no new chunk with less of its room left, in thousandths.
pub const AVAILABLE_MIN_THOUSANDTHS: u64 = 50;
/// With less of its memory taken, in thousandths, a machine has plenty.
const MEMORY_PLENTY_THOUSANDTHS: u64 = 800;

/// A server that may get a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub server: u64,
    /// What fails as one with it.
    pub failure_domain: String,
    /// How fast its disk is.
    pub class: Class,
    /// The room of its disk.
    pub total_bytes: u64,
    /// What may still be written to it.
    pub available_bytes: u64,
    /// How busy its machine is.
    pub load: Load,
    /// What it has is to go elsewhere: it gets nothing.
    pub draining: bool,
}

impl Candidate {
    /// The share of its room that is left, in thousandths: real bytes, not counted chunks.
    fn available_thousandths(&self) -> u64 {
        let share = u128::from(self.available_bytes) * 1000 / u128::from(self.total_bytes.max(1));
        u64::try_from(share).unwrap_or(1000).min(1000)
    }

    /// Whether it may get a chunk.
    pub fn accepts(&self) -> bool {
        !self.draining && self.available_thousandths() >= AVAILABLE_MIN_THOUSANDTHS
    }

    /// Of two, the one with more gets a chunk: room counts, less so the busier its disk or its processors are, or the scarcer
    /// its memory. Even the busiest keeps a tenth, so that of two such the emptier is taken.
    fn score(&self) -> u64 {
        let [disk, processors, memory] = [self.load.disk, self.load.processors, self.load.memory].map(u64::from);
        // Memory that others could have is mostly files' pages: only the last fifth says that it is scarce.
        let scarcity = memory.saturating_sub(MEMORY_PLENTY_THOUSANDTHS) * 1000 / (1000 - MEMORY_PLENTY_THOUSANDTHS);
        let busy = disk.max(processors).max(scarcity).min(1000);
        self.available_thousandths() * (1000 - busy * 9 / 10)
    }
}

/// Of so many copies, those that must be durable before an upload may become an object.
pub fn needed(copies: u8) -> usize {
    usize::from(copies.clamp(1, 2))
}

/// So many servers, or as many as there are: those of a class first, spread over failure domains as evenly as may be, the emptier
/// and less busy of each two drawn at random, none that is almost full or draining, none of `not`.
pub fn choose(candidates: &[Candidate], count: usize, class: Class, not: &BTreeSet<u64>, random: &mut Rng) -> Vec<u64> {
    let mut left: Vec<&Candidate> = candidates.iter().filter(|one| !not.contains(&one.server) && one.accepts()).collect();
    let mut domains: BTreeMap<&str, usize> = BTreeMap::new();
    for one in candidates.iter().filter(|one| not.contains(&one.server)) {
        *domains.entry(&one.failure_domain).or_default() += 1;
    }
    let mut chosen = Vec::new();
    while chosen.len() < count && !left.is_empty() {
        let of_class = left.iter().any(|one| one.class == class);
        let taken = |one: &Candidate| domains.get(one.failure_domain.as_str()).copied().unwrap_or_default();
        let may = |at: &usize| !of_class || left[*at].class == class;
        let least = (0..left.len()).filter(may).map(|at| taken(left[at])).min().unwrap_or_default();
        let pool: Vec<usize> = (0..left.len()).filter(|at| may(at) && taken(left[*at]) == least).collect();
        let (first, second) = (pool[random.usize(..pool.len())], pool[random.usize(..pool.len())]);
        let better = if left[second].score() > left[first].score() { second } else { first };
        let one = left.swap_remove(better);
        *domains.entry(&one.failure_domain).or_default() += 1;
        chosen.push(one.server);
    }
    chosen
}

/// Servers for the shards of a chunk, one each; none where there are too few, or where more of them would fail as one than can be lost.
pub fn choose_for_shards(candidates: &[Candidate], class: Class, random: &mut Rng) -> Option<Vec<u64>> {
    let count = usize::from(DATA_SHARDS + PARITY_SHARDS);
    let chosen = choose(candidates, count, class, &BTreeSet::new(), random);
    let mut domains: BTreeMap<&str, u8> = BTreeMap::new();
    for one in candidates.iter().filter(|one| chosen.contains(&one.server)) {
        *domains.entry(&one.failure_domain).or_default() += 1;
    }
    (chosen.len() == count && domains.values().all(|taken| *taken <= PARITY_SHARDS)).then_some(chosen)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(server: u64, domain: u8, available_bytes: u64) -> Candidate {
        let failure_domain = domain.to_string();
        let (class, load) = (Class::Fast, Load::default());
        Candidate { server, failure_domain, class, total_bytes: 1000, available_bytes, load, draining: false }
    }

    proptest! {
        #[test]
        fn distinct_servers_with_room_in_as_many_domains_as_there_are(
            servers in prop::collection::vec((0..6u8, 0..=1000u64, prop::bool::weighted(0.1)), 0..12),
            count in 0..6usize,
            seed: u64,
        ) {
            let made = servers.iter().zip(1..).map(|((domain, available, draining), server)| {
                Candidate { draining: *draining, ..candidate(server, *domain, *available) }
            });
            let candidates: Vec<Candidate> = made.collect();
            let not = BTreeSet::from([1]);
            let chosen = choose(&candidates, count, Class::Fast, &not, &mut fastrand::Rng::with_seed(seed));
            let may = |one: &&Candidate| one.available_bytes >= 50 && one.server != 1 && !one.draining;
            let with_room: Vec<&Candidate> = candidates.iter().filter(may).collect();
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

    fn counts(candidates: &[Candidate; 3]) -> [u32; 4] {
        let mut random = fastrand::Rng::with_seed(1);
        let mut counts = [0; 4];
        for _ in 0..3000 {
            counts[choose(candidates, 1, Class::Fast, &BTreeSet::new(), &mut random)[0] as usize] += 1;
        }
        counts
    }

    #[test]
    fn those_of_the_class_come_first_and_others_before_none() {
        let of = |server, class| Candidate { class, ..candidate(server, server as u8, 500) };
        let candidates = [of(1, Class::Slow), of(2, Class::Fast), of(3, Class::Slow), of(4, Class::Fast)];
        for seed in 0..100 {
            let chosen = |count, class| choose(&candidates, count, class, &BTreeSet::new(), &mut fastrand::Rng::with_seed(seed));
            assert!(chosen(2, Class::Slow).iter().all(|server| [1, 3].contains(server)));
            assert!(chosen(2, Class::Fast).iter().all(|server| [2, 4].contains(server)));
            let three = chosen(3, Class::Slow);
            assert!(three.len() == 3 && [1, 3].iter().all(|server| three.contains(server)), "{three:?}");
        }
    }

    #[test]
    fn no_more_shards_than_can_be_lost_fail_as_one() {
        let on = |domains: &[u8]| -> Vec<Candidate> {
            domains.iter().zip(1..).map(|(domain, server)| candidate(server, *domain, 500)).collect()
        };
        for seed in 0..100 {
            let chosen = |domains: &[u8]| choose_for_shards(&on(domains), Class::Fast, &mut fastrand::Rng::with_seed(seed));
            assert_eq!(chosen(&[1, 2, 3, 4, 5]), None, "five servers");
            assert_eq!(chosen(&[1, 1, 1, 2, 2, 3, 3]).map(|chosen| chosen.len()), Some(6));
            assert_eq!(chosen(&[1, 1, 1, 2, 2, 2]), None, "a machine would have three");
            let two_of_each = chosen(&[1, 1, 1, 1, 2, 2, 2, 3, 3]).unwrap();
            assert!(two_of_each.contains(&8) && two_of_each.contains(&9), "{two_of_each:?}");
        }
    }

    #[test]
    fn the_emptier_get_more() {
        let counts = counts(&[candidate(1, 1, 200), candidate(2, 2, 500), candidate(3, 3, 900)]);
        assert!(counts[1] < counts[2] && counts[2] < counts[3] && counts[1] > 100, "{counts:?}");
    }

    #[test]
    fn the_busier_get_less() {
        let busy = |server, load| Candidate { load, ..candidate(server, server as u8, 500) };
        let idle = Load::default();
        for load in [
            Load { disk: 900, ..idle },
            Load { processors: 900, ..idle },
            Load { memory: 950, ..idle },
            Load { disk: 9999, ..idle },
        ] {
            let half = Load { disk: 400, ..idle };
            let counts = counts(&[busy(1, load), busy(2, half), busy(3, idle)]);
            assert!(counts[1] < counts[2] && counts[2] < counts[3] && counts[1] > 100, "{load:?}: {counts:?}");
        }
        // Files' pages are memory that can be had.
        let counts = counts(&[busy(1, Load { memory: 790, ..idle }), busy(2, idle), busy(3, idle)]);
        assert!(counts[1] > 800, "{counts:?}");
    }
}
