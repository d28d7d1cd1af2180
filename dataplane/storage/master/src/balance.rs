//! Which chunks are to go from one server to another (pure): those of servers that are being emptied, and from the fullest to the
//! emptiest while these differ too much.
//!
//! Room is that of disks, not counted chunks, less what is on them only until it is collected: so a move counts when it is made.

use std::collections::{BTreeMap, BTreeSet};

use eddy_object::schema::Class;

/// Of a disk's room, in percent, so much stays when chunks come to it.
const LEFT_PERCENT: u64 = 10;

/// What a server may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It may get chunks and give them.
    Serving,
    /// All that it has is to go elsewhere.
    Draining,
    /// It does not answer; what it has counts, and stays.
    Away,
}

/// A server's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its number.
    pub server: u64,
    /// What fails as one with it.
    pub failure_domain: String,
    /// How fast it is.
    pub class: Class,
    /// What it may do.
    pub role: Role,
    /// Its room.
    pub total_bytes: u64,
    /// What is taken of it, but for what is about to be collected.
    pub used_bytes: u64,
    /// What may be written to it now.
    pub available_bytes: u64,
}

/// A chunk, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its number.
    pub chunk: u64,
    /// Those that have it.
    pub servers: Vec<u64>,
    /// The length of its file.
    pub bytes: u64,
    /// Nobody writes to it, so it may go where nothing else makes it.
    pub settled: bool,
    /// So many of them may be lost at once and leave enough: of whole copies one, of shards as many as are made good.
    pub together_max: usize,
}

/// A chunk's copy that is to go from one server to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The chunk.
    pub chunk: u64,
    /// Who has it.
    pub from: u64,
    /// Who gets it.
    pub to: u64,
    /// The length of its file.
    pub bytes: u64,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// In the order in which it is done.
    pub moves: Vec<Move>,
    /// Chunks of servers that are being emptied for which there is no other server with room.
    pub stuck: usize,
}

/// What is to be done with these disks and chunks, so many moves at most, where disks' shares that are taken may differ by so
/// many percent. Copies that would be lost together go apart first, as after machines were away while chunks were written.
pub fn plan_moves(disks: &[Disk], chunks: &[Placed], above_percent: u8, most: usize) -> Moves {
    let mut state = State::new(disks, chunks);
    let mut moves = Moves::default();
    state.drain(&mut moves, most);
    state.spread(&mut moves, most);
    state.level(&mut moves, u64::from(above_percent) * 10, most);
    moves
}

/// So many moves would be made besides if chunks were written to no more.
pub fn count_later(disks: &[Disk], chunks: &[Placed], above_percent: u8, most: usize) -> usize {
    let written: BTreeSet<u64> = chunks.iter().filter(|chunk| !chunk.settled).map(|chunk| chunk.chunk).collect();
    let draining: BTreeSet<u64> = disks.iter().filter(|disk| disk.role == Role::Draining).map(|disk| disk.server).collect();
    let settled: Vec<Placed> = chunks.iter().map(|chunk| Placed { settled: true, ..chunk.clone() }).collect();
    let moves = plan_moves(disks, &settled, above_percent, most).moves;
    moves.iter().filter(|one| written.contains(&one.chunk) && !draining.contains(&one.from)).count()
}

struct State<'a> {
    disks: BTreeMap<u64, Disk>,
    chunks: &'a [Placed],
    /// Who has each chunk after the moves so far.
    holders: Vec<Vec<u64>>,
    /// The chunks of each server at the beginning, as places in `chunks`. Each chunk goes once.
    of: BTreeMap<u64, Vec<usize>>,
    moved: BTreeSet<usize>,
}

impl<'a> State<'a> {
    fn new(disks: &[Disk], chunks: &'a [Placed]) -> Self {
        let mut of: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (at, chunk) in chunks.iter().enumerate() {
            for server in &chunk.servers {
                of.entry(*server).or_default().push(at);
            }
        }
        Self {
            disks: disks.iter().map(|disk| (disk.server, disk.clone())).collect(),
            chunks,
            holders: chunks.iter().map(|chunk| chunk.servers.clone()).collect(),
            of,
            moved: BTreeSet::new(),
        }
    }

    /// The share of a disk that is taken, in thousandths.
    fn fill(&self, server: u64) -> u64 {
        self.disks.get(&server).map_or(0, |disk| share(disk.used_bytes, disk.total_bytes))
    }

    /// Servers that may get chunks, the emptiest first.
    fn serving(&self) -> Vec<u64> {
        let mut serving: Vec<u64> =
            self.disks.values().filter(|disk| disk.role == Role::Serving).map(|disk| disk.server).collect();
        serving.sort_by_key(|server| (self.fill(*server), *server));
        serving
    }

    /// Whether a server has room for a chunk, and does not have it.
    fn has_room(&self, at: usize, to: u64) -> bool {
        let Some(disk) = self.disks.get(&to).filter(|_| !self.holders[at].contains(&to)) else { return false };
        let left = disk.available_bytes.saturating_sub(self.chunks[at].bytes);
        u128::from(left) * 100 >= u128::from(disk.total_bytes) * u128::from(LEFT_PERCENT)
    }

    /// Whether what fails as one has no more of a chunk after it went than before.
    fn keeps_apart(&self, at: usize, from: u64, to: u64) -> bool {
        self.beside(at, from, to) <= self.beside(at, from, from)
    }

    /// How many of a chunk, but for what one server has, fail as one with another server.
    fn beside(&self, at: usize, but: u64, server: u64) -> usize {
        let domain = |server: u64| self.disks.get(&server).map(|disk| disk.failure_domain.as_str());
        self.holders[at].iter().filter(|holder| **holder != but && domain(**holder) == domain(server)).count()
    }

    fn class(&self, server: u64) -> Option<Class> {
        self.disks.get(&server).map(|disk| disk.class)
    }

    fn go(&mut self, at: usize, from: u64, to: u64) -> Move {
        let (chunk, bytes) = (self.chunks[at].chunk, self.chunks[at].bytes);
        if let Some(disk) = self.disks.get_mut(&from) {
            disk.used_bytes = disk.used_bytes.saturating_sub(bytes);
        }
        if let Some(disk) = self.disks.get_mut(&to) {
            disk.used_bytes += bytes;
            disk.available_bytes = disk.available_bytes.saturating_sub(bytes);
        }
        self.holders[at].retain(|holder| *holder != from);
        self.holders[at].push(to);
        self.moved.insert(at);
        Move { chunk, from, to, bytes }
    }

    /// All chunks of servers that are being emptied go to the emptiest, apart from their other copies as far as may be.
    fn drain(&mut self, moves: &mut Moves, most: usize) {
        let draining: Vec<u64> = self.disks.values().filter(|disk| disk.role == Role::Draining).map(|disk| disk.server).collect();
        for from in draining {
            for at in self.of.get(&from).cloned().unwrap_or_default() {
                if moves.moves.len() >= most {
                    return;
                }
                if self.moved.contains(&at) {
                    continue;
                }
                let mut may: Vec<u64> = self.serving().into_iter().filter(|to| self.has_room(at, *to)).collect();
                may.sort_by_key(|to| self.class(*to) != self.class(from));
                let apart = may.iter().find(|to| self.keeps_apart(at, from, **to));
                match apart.or(may.first()).copied() {
                    Some(to) => moves.moves.push(self.go(at, from, to)),
                    None => moves.stuck += 1,
                }
            }
        }
    }

    /// Where more of a chunk would be lost at once than may be, some of it goes to where fewer would.
    fn spread(&mut self, moves: &mut Moves, most: usize) {
        for at in 0..self.chunks.len() {
            if moves.moves.len() >= most {
                return;
            }
            if let Some((from, to)) = self.next_to_spread(at) {
                moves.moves.push(self.go(at, from, to));
            }
        }
    }

    fn next_to_spread(&self, at: usize) -> Option<(u64, u64)> {
        let chunk = &self.chunks[at];
        if !chunk.settled || self.moved.contains(&at) {
            return None;
        }
        let serves = |server: u64| self.disks.get(&server).is_some_and(|disk| disk.role == Role::Serving);
        let crowded = |server: &u64| serves(*server) && self.beside(at, *server, *server) >= chunk.together_max;
        let from = self.holders[at].iter().copied().find(crowded)?;
        let beside = self.beside(at, from, from);
        let may = |to: &u64| self.class(*to) == self.class(from) && self.has_room(at, *to) && self.beside(at, from, *to) < beside;
        self.serving().into_iter().filter(may).min_by_key(|to| self.beside(at, from, *to)).map(|to| (from, to))
    }

    /// From the fullest to the emptiest, while they differ by more than this.
    fn level(&mut self, moves: &mut Moves, above_thousandths: u64, most: usize) {
        while moves.moves.len() < most {
            let Some((at, from, to)) = self.next_to_level(above_thousandths) else { return };
            moves.moves.push(self.go(at, from, to));
        }
    }

    fn next_to_level(&self, above_thousandths: u64) -> Option<(usize, u64, u64)> {
        let serving = self.serving();
        for from in serving.iter().rev() {
            for to in serving.iter().filter(|to| self.class(**to) == self.class(*from)) {
                if self.fill(*from) <= self.fill(*to) + above_thousandths {
                    break;
                }
                let chunks = self.of.get(from).map(Vec::as_slice).unwrap_or_default();
                if let Some(at) = chunks.iter().find(|at| self.levels(**at, *from, *to)) {
                    return Some((*at, *from, *to));
                }
            }
        }
        None
    }

    /// Whether a chunk may go, and the one that gets it is not the fuller afterwards.
    fn levels(&self, at: usize, from: u64, to: u64) -> bool {
        let (Some(giving), Some(getting)) = (self.disks.get(&from), self.disks.get(&to)) else { return false };
        let bytes = self.chunks[at].bytes;
        let after = (
            share(giving.used_bytes.saturating_sub(bytes), giving.total_bytes),
            share(getting.used_bytes + bytes, getting.total_bytes),
        );
        self.chunks[at].settled
            && !self.moved.contains(&at)
            && after.0 >= after.1
            && self.has_room(at, to)
            && self.keeps_apart(at, from, to)
    }
}

fn share(used: u64, total: u64) -> u64 {
    u64::try_from(u128::from(used) * 1000 / u128::from(total.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn disk(server: u64, domain: u64, role: Role, total_bytes: u64, used_bytes: u64) -> Disk {
        let available_bytes = total_bytes.saturating_sub(used_bytes);
        let class = Class::Fast;
        Disk { server, failure_domain: domain.to_string(), class, role, total_bytes, used_bytes, available_bytes }
    }

    fn placed(chunk: u64, servers: &[u64], bytes: u64) -> Placed {
        Placed { chunk, servers: servers.to_vec(), bytes, settled: true, together_max: 1 }
    }

    /// Disks and chunks as they are after the moves.
    fn after(disks: &[Disk], chunks: &[Placed], moves: &[Move]) -> (Vec<Disk>, Vec<Placed>) {
        let (mut disks, mut chunks) = (disks.to_vec(), chunks.to_vec());
        for one in moves {
            let chunk = chunks.iter_mut().find(|chunk| chunk.chunk == one.chunk).unwrap();
            assert!(chunk.servers.contains(&one.from) && !chunk.servers.contains(&one.to), "{one:?} of {chunk:?}");
            chunk.servers.retain(|server| *server != one.from);
            chunk.servers.push(one.to);
            for disk in &mut disks {
                if disk.server == one.from {
                    disk.used_bytes -= one.bytes;
                    disk.available_bytes += one.bytes;
                } else if disk.server == one.to {
                    disk.used_bytes += one.bytes;
                    disk.available_bytes -= one.bytes;
                }
            }
        }
        (disks, chunks)
    }

    fn fills(disks: &[Disk]) -> Vec<u64> {
        disks.iter().filter(|disk| disk.role == Role::Serving).map(|disk| disk.used_bytes * 100 / disk.total_bytes).collect()
    }

    #[test]
    fn a_new_server_is_filled_until_all_are_alike() {
        let mut disks: Vec<Disk> = (1..=4).map(|server| disk(server, server, Role::Serving, 1000, 600)).collect();
        disks[3] = disk(4, 4, Role::Serving, 1000, 0);
        let chunks: Vec<Placed> = (0..60).map(|chunk| placed(chunk, &[1, 2, 3], 10)).collect();
        let plan = plan_moves(&disks, &chunks, 5, 1000);
        let (disks, chunks) = after(&disks, &chunks, &plan.moves);
        let fills = fills(&disks);
        assert!(fills.iter().max().unwrap() - fills.iter().min().unwrap() <= 5, "{fills:?}");
        assert_eq!(plan_moves(&disks, &chunks, 5, 1000), Moves::default(), "then nothing is left to do");
    }

    #[test]
    fn it_is_the_share_of_a_disk_that_counts_and_what_others_put_there_counts_too() {
        // The big one is as full as the small one; the third is full of something else.
        let disks =
            [disk(1, 1, Role::Serving, 10_000, 5000), disk(2, 2, Role::Serving, 1000, 500), disk(3, 3, Role::Serving, 1000, 520)];
        let chunks: Vec<Placed> = (0..50).map(|chunk| placed(chunk, &[1], 100)).collect();
        assert_eq!(plan_moves(&disks, &chunks, 5, 1000), Moves::default());
    }

    #[test]
    fn a_server_that_is_emptied_gives_all_it_has_also_what_is_being_written_and_not_more_than_others_can_take() {
        let serving = |server| disk(server, server, Role::Serving, 1000, 0);
        let disks = [disk(1, 1, Role::Draining, 1000, 500), serving(2), serving(3)];
        let chunks: Vec<Placed> = (0..5).map(|chunk| Placed { settled: false, ..placed(chunk, &[1, 2], 100) }).collect();
        let plan = plan_moves(&disks, &chunks, 5, 1000);
        assert!(plan.stuck == 0 && plan.moves.len() == 5 && plan.moves.iter().all(|one| (one.from, one.to) == (1, 3)));
        assert_eq!(plan_moves(&disks, &chunks, 5, 2).moves.len(), 2);
        let full = [disks[0].clone(), serving(2), disk(3, 3, Role::Serving, 1000, 700)];
        let plan = plan_moves(&full, &chunks, 100, 1000);
        assert_eq!((plan.moves.len(), plan.stuck), (2, 3));
        // Two servers for two copies: there is no third.
        assert_eq!(plan_moves(&disks[..2], &chunks, 5, 1000), Moves { moves: Vec::new(), stuck: 5 });
    }

    #[test]
    fn fast_and_slow_servers_are_levelled_apart_and_emptied_to_their_like_while_there_is_room() {
        let slow = |disk: Disk| Disk { class: Class::Slow, ..disk };
        let disks = [
            disk(1, 1, Role::Serving, 1000, 900),
            slow(disk(2, 2, Role::Serving, 1000, 0)),
            slow(disk(3, 3, Role::Draining, 1000, 100)),
            disk(4, 4, Role::Serving, 1000, 890),
            slow(disk(5, 5, Role::Serving, 1000, 650)),
        ];
        let mut chunks: Vec<Placed> = (0..9).map(|chunk| placed(chunk, &[1], 50)).collect();
        chunks.extend((10..14).map(|chunk| placed(chunk, &[3], 100)));
        let plan = plan_moves(&disks, &chunks, 100, 1000);
        assert!(plan.moves.iter().all(|one| one.from == 3 && [2, 5].contains(&one.to)) && plan.moves.len() == 4, "{plan:?}");
    }

    #[test]
    fn shards_stay_spread_as_they_are() {
        // Two on each of three machines; a fourth machine is empty.
        let mut disks: Vec<Disk> = (1..=6).map(|server| disk(server, server.div_ceil(2), Role::Serving, 1000, 500)).collect();
        disks.extend([disk(7, 4, Role::Serving, 1000, 0), disk(8, 3, Role::Serving, 1000, 0)]);
        let shards = |chunk| Placed { together_max: 2, ..placed(chunk, &[1, 2, 3, 4, 5, 6], 10) };
        let chunks: Vec<Placed> = (0..50).map(shards).collect();
        let plan = plan_moves(&disks, &chunks, 5, 1000);
        assert!(!plan.moves.is_empty());
        let (_, chunks) = after(&disks, &chunks, &plan.moves);
        for chunk in &chunks {
            let on = |domain: &str| {
                let of = |server: &&u64| disks[**server as usize - 1].failure_domain == domain;
                chunk.servers.iter().filter(of).count()
            };
            assert!(["1", "2", "3", "4"].iter().all(|domain| on(domain) <= 2), "{chunk:?}");
        }
    }

    #[test]
    fn copies_that_would_be_lost_together_go_apart_whatever_the_balance() {
        // Two machines of two servers; while one was away, all went to the other.
        let disks: Vec<Disk> = (1..=4).map(|server| disk(server, server.div_ceil(2), Role::Serving, 1000, 500)).collect();
        let chunks = [
            placed(1, &[1, 2], 10),
            placed(2, &[1, 3], 10),
            Placed { settled: false, ..placed(3, &[3, 4], 10) },
            Placed { together_max: 2, ..placed(4, &[1, 2], 10) },
            placed(5, &[1, 2, 3], 10),
        ];
        let plan = plan_moves(&disks, &chunks, 100, 1000);
        assert_eq!(plan.moves.len(), 1, "{plan:?}");
        assert!(plan.moves[0].chunk == 1 && [3, 4].contains(&plan.moves[0].to));
        let (disks, chunks) = after(&disks, &chunks, &plan.moves);
        assert_eq!(plan_moves(&disks, &chunks, 100, 1000), Moves::default());
    }

    #[test]
    fn what_is_being_written_stays_where_only_balance_is_asked_for() {
        let disks = [disk(1, 1, Role::Serving, 1000, 500), disk(2, 2, Role::Serving, 1000, 0)];
        let chunks = [Placed { settled: false, ..placed(1, &[1], 100) }];
        assert_eq!(plan_moves(&disks, &chunks, 5, 1000), Moves::default());
        assert_eq!(count_later(&disks, &chunks, 5, 1000), 1);
    }

    #[test]
    fn later_is_what_waits_for_those_who_write_and_not_what_is_emptied_in_spite_of_them() {
        // The third is emptied; of the first chunk two copies are on one machine since the other was away.
        let of = |server, domain, role| disk(server, domain, role, 1000, 500);
        let disks = [of(1, 1, Role::Serving), of(2, 1, Role::Serving), of(3, 2, Role::Draining), of(4, 3, Role::Serving)];
        let written = |chunk, servers| Placed { settled: false, ..placed(chunk, servers, 10) };
        let chunks = [written(1, &[1, 2]), written(2, &[1, 3])];
        let now = plan_moves(&disks, &chunks, 100, 1000).moves;
        assert!(now.len() == 1 && (now[0].chunk, now[0].from, now[0].to) == (2, 3, 4), "{now:?}");
        assert_eq!(count_later(&disks, &chunks, 100, 1000), 1);
        let settled = chunks.map(|chunk| Placed { settled: true, ..chunk });
        assert_eq!(count_later(&disks, &settled, 100, 1000), 0);
    }

    fn domains(disks: &[Disk], chunk: &Placed) -> usize {
        let of = |server: &u64| disks.iter().find(|disk| disk.server == *server).map(|disk| disk.failure_domain.clone());
        chunk.servers.iter().map(of).collect::<BTreeSet<_>>().len()
    }

    proptest! {
        #[test]
        fn moves_make_nothing_worse_and_end(
            shape in prop::collection::vec((0..4u64, 0..8u8, 500..2000u64, 0..1500u64), 1..8),
            copies in prop::collection::vec((1..4usize, 1..60u64, any::<bool>(), any::<u64>()), 0..60),
            above in 0..30u8,
        ) {
            let disks: Vec<Disk> = shape.iter().zip(1..).map(|((domain, role, total, other), server)| {
                let role = match role { 0 => Role::Draining, 1 => Role::Away, _ => Role::Serving };
                disk(server, *domain, role, *total, (*other).min(*total))
            }).collect();
            let mut chunks = Vec::new();
            for (number, (count, bytes, settled, seed)) in copies.iter().enumerate() {
                let mut all: Vec<u64> = disks.iter().map(|disk| disk.server).collect();
                fastrand::Rng::with_seed(*seed).shuffle(&mut all);
                all.truncate(*count);
                chunks.push(Placed { settled: *settled, ..placed(number as u64, &all, *bytes) });
            }
            let mut disks = disks;
            for disk in &mut disks {
                let held: u64 = chunks.iter().filter(|chunk| chunk.servers.contains(&disk.server)).map(|chunk| chunk.bytes).sum();
                disk.total_bytes += 2 * held;
                disk.used_bytes += held;
                disk.available_bytes = disk.total_bytes - disk.used_bytes;
            }
            let plan = plan_moves(&disks, &chunks, above, usize::MAX);
            let (disks_after, chunks_after) = after(&disks, &chunks, &plan.moves);
            let role = |server: u64| disks[server as usize - 1].role;
            for one in &plan.moves {
                prop_assert!(role(one.to) == Role::Serving && role(one.from) != Role::Away);
                prop_assert!(role(one.from) == Role::Draining || chunks[one.chunk as usize].settled);
            }
            for (before, after) in chunks.iter().zip(&chunks_after) {
                let drained = before.servers.iter().any(|server| role(*server) == Role::Draining);
                prop_assert!(drained || domains(&disks, after) >= domains(&disks, before));
            }
            for (before, after) in disks.iter().zip(&disks_after) {
                let left = after.available_bytes * 100 / after.total_bytes;
                prop_assert!(left >= LEFT_PERCENT || after.used_bytes <= before.used_bytes);
            }
            let left = chunks_after.iter().flat_map(|chunk| &chunk.servers).filter(|server| role(**server) == Role::Draining).count();
            // One with two such copies gives one, and the other next time.
            prop_assert!(left >= plan.stuck);
            let mut state = (disks_after, chunks_after);
            for _ in 0..10 {
                let plan = plan_moves(&state.0, &state.1, above, usize::MAX);
                if plan.moves.is_empty() {
                    return Ok(());
                }
                state = after(&state.0, &state.1, &plan.moves);
            }
            prop_assert!(false, "it goes on for ever");
        }
    }
}
