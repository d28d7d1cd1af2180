//! What became of the rounds, for whoever scrapes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use eddy_storage_master::{Balanced, Coded, Collected, Compacted, Repaired, Scrubbed, Tiered};
use eddy_telemetry::{Figure, figure};

/// How old what is said of each work is.
const AGES: [(&str, &str, &str); 6] = [
    ("repair", "eddy_storage_last_repair_seconds", "Since the last round of repair that did not fail"),
    ("collect", "eddy_storage_last_collection_seconds", "Since the last round of collection that did not fail"),
    ("scrub", "eddy_storage_last_scrub_seconds", "Since the last round of scrubbing that did not fail"),
    ("expire", "eddy_storage_last_expiry_seconds", "Since the last round of expiry that did not fail"),
    ("balance", "eddy_storage_last_balancing_seconds", "Since the last round of balancing that did not fail"),
    ("tier", "eddy_storage_last_tiering_seconds", "Since the last round of tiers that did not fail"),
];

/// What became of the rounds. Nothing is said of a work before its first round has ended.
#[derive(Default)]
pub(super) struct Figures(Mutex<Rounds>);

#[derive(Default)]
struct Rounds {
    repaired: Repaired,
    collected: Collected,
    scrubbed: Scrubbed,
    balanced: Balanced,
    tiered: Tiered,
    coded: Coded,
    tiered_bytes: u64,
    coded_bytes: u64,
    expired: u64,
    compacted: u64,
    copies: u64,
    rescued: u64,
    repaired_bytes: u64,
    moved: u64,
    moved_bytes: u64,
    files: u64,
    ended: BTreeMap<&'static str, Instant>,
}

impl Figures {
    pub(super) fn ended(&self, work: &'static str) {
        self.lock().ended.insert(work, Instant::now());
    }

    pub(super) fn repaired(&self, repaired: Repaired) {
        let mut rounds = self.lock();
        rounds.copies += repaired.copies as u64;
        rounds.rescued += repaired.rescued as u64;
        rounds.repaired_bytes += repaired.bytes;
        rounds.repaired = repaired;
    }

    pub(super) fn scrubbed(&self, scrubbed: Scrubbed) {
        self.lock().scrubbed = scrubbed;
    }

    pub(super) fn expired(&self, number: u64) {
        self.lock().expired += number;
    }

    pub(super) fn collected(&self, collected: Collected, compacted: Compacted) {
        let mut rounds = self.lock();
        rounds.files += collected.files as u64;
        rounds.compacted += compacted.bytes;
        rounds.collected = collected;
    }

    pub(super) fn balanced(&self, balanced: Balanced) {
        let mut rounds = self.lock();
        rounds.moved += balanced.moved as u64;
        rounds.moved_bytes += balanced.bytes;
        rounds.balanced = balanced;
    }

    pub(super) fn tiered(&self, tiered: Tiered, coded: Coded) {
        let mut rounds = self.lock();
        rounds.tiered_bytes += tiered.bytes;
        rounds.coded_bytes += coded.bytes;
        (rounds.tiered, rounds.coded) = (tiered, coded);
    }

    pub(super) fn gauges(&self) -> Vec<Figure> {
        let rounds = self.lock();
        let of = |work: &str, figures: Vec<Figure>| if rounds.ended.contains_key(work) { figures } else { Vec::new() };
        let mut all = of("repair", repair(&rounds));
        all.extend(of("collect", collect(&rounds)));
        all.extend(of("scrub", scrub(&rounds)));
        all.extend(of("balance", balance(&rounds)));
        all.extend(of("tier", tier(&rounds)));
        all.extend(of(
            "expire",
            vec![(
                "eddy_storage_expired",
                "Objects, versions and uploads that this process let go by rules",
                figure(rounds.expired),
            )],
        ));
        // What is said above is as old as that.
        for (work, name, help) in AGES {
            all.extend(rounds.ended.get(work).map(|ended| (name, help, figure(ended.elapsed().as_secs()))));
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn repair(rounds: &Rounds) -> Vec<Figure> {
    let Repaired { under_replicated, at_risk, waiting, left, unreadable, .. } = &rounds.repaired;
    vec![
        (
            "eddy_storage_chunks_under_replicated",
            "Chunks of which a server lacks something or does not answer, or that lack a server",
            figure(*under_replicated),
        ),
        ("eddy_storage_chunks_at_risk", "Those of them of which nothing more may be lost", figure(*at_risk)),
        ("eddy_storage_chunks_waiting", "Chunks with too few copies that could not be made now", figure(*waiting)),
        ("eddy_storage_repairs_left", "Chunks that were to be repaired and that the last round did not come to", figure(*left)),
        ("eddy_storage_chunks_unreadable", "Chunks with bytes that no server gives", figure(unreadable.len())),
        ("eddy_storage_copies_made", "Copies that this process has made", figure(rounds.copies)),
        (
            "eddy_storage_needles_rescued",
            "Needles that this process moved out of chunks with bytes that no server gives",
            figure(rounds.rescued),
        ),
        ("eddy_storage_bytes_repaired", "Bytes of these copies and needles", figure(rounds.repaired_bytes)),
    ]
}

fn collect(rounds: &Rounds) -> Vec<Figure> {
    vec![
        ("eddy_storage_files_collected", "Files of chunks that this process has removed", figure(rounds.files)),
        ("eddy_storage_files_stray", "Files that no row names, and that are not old enough", figure(rounds.collected.strays)),
        (
            "eddy_storage_bytes_compacted",
            "Bytes that this process moved out of chunks of which too little is needed",
            figure(rounds.compacted),
        ),
    ]
}

fn scrub(rounds: &Rounds) -> Vec<Figure> {
    vec![
        ("eddy_storage_chunks_unverified", "Chunks whose turn to be read has come", figure(rounds.scrubbed.due)),
        (
            "eddy_storage_oldest_unverified_seconds",
            "Since all copies of the chunk were read for which that is longest ago",
            figure(rounds.scrubbed.oldest.as_secs()),
        ),
    ]
}

fn tier(rounds: &Rounds) -> Vec<Figure> {
    let (Tiered { left, cold_bytes, nowhere, .. }, coded) = (rounds.tiered, rounds.coded);
    vec![
        ("eddy_storage_cold_bytes", "Bytes of objects that are in the cold tier", figure(cold_bytes)),
        (
            "eddy_storage_tier_left",
            "Needles that the last round was to move to another tier, or to another number of copies, and did not come to",
            figure(left),
        ),
        ("eddy_storage_tier_nowhere", "1 where there are no slow servers, and too few for shards", figure(u8::from(nowhere))),
        (
            "eddy_storage_bytes_tiered",
            "Bytes that this process moved to another tier, or to another number of copies",
            figure(rounds.tiered_bytes),
        ),
        ("eddy_storage_chunks_coded", "Chunks that are kept as shards", figure(coded.coded + coded.chunks)),
        ("eddy_storage_coding_left", "Chunks that are to be coded", figure(coded.left)),
        ("eddy_storage_bytes_coded", "Bytes of shards that this process made", figure(rounds.coded_bytes)),
    ]
}

fn balance(rounds: &Rounds) -> Vec<Figure> {
    let Balanced { left, draining, stuck, .. } = rounds.balanced;
    vec![
        ("eddy_storage_chunks_moved", "Chunks that this process moved to another server", figure(rounds.moved)),
        ("eddy_storage_bytes_moved", "Bytes of these chunks", figure(rounds.moved_bytes)),
        ("eddy_storage_moves_left", "Moves that the last round planned and did not come to", figure(left)),
        ("eddy_storage_chunks_draining", "Chunks of servers that are being emptied", figure(draining)),
        ("eddy_storage_chunks_stuck", "Those of them for which no other server has room", figure(stuck)),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn value(figures: &Figures, name: &str) -> Option<i64> {
        let gauges = figures.gauges();
        gauges.into_iter().find(|(of, _, _)| of.strip_prefix("eddy_storage_") == Some(name)).map(|(_, _, value)| value)
    }

    #[test]
    fn nothing_is_said_of_a_work_before_a_round_of_it_has_ended() {
        let figures = Figures::default();
        figures.repaired(Repaired { under_replicated: 3, ..Repaired::default() });
        assert_eq!(value(&figures, "chunks_under_replicated"), None);
        figures.ended("repair");
        assert_eq!(value(&figures, "chunks_under_replicated"), Some(3));
        assert_eq!(value(&figures, "last_repair_seconds"), Some(0));
        assert_eq!(value(&figures, "last_scrub_seconds"), None, "of another work");
        assert_eq!(value(&figures, "oldest_unverified_seconds"), None, "of another work");
    }

    #[test]
    fn what_is_so_is_the_last_round_s_and_what_was_done_is_all_rounds() {
        let figures = Figures::default();
        for work in ["repair", "collect", "scrub", "balance", "tier", "expire"] {
            figures.ended(work);
        }
        let round =
            |under_replicated, copies, bytes| Repaired { under_replicated, at_risk: 1, copies, bytes, ..Repaired::default() };
        figures.repaired(round(7, 2, 100));
        figures.repaired(round(5, 3, 50));
        figures.repaired(Repaired { unreadable: vec![8, 9], rescued: 6, left: 3, ..round(4, 0, 0) });
        figures.scrubbed(Scrubbed { due: 6, oldest: Duration::from_millis(90_500), ..Scrubbed::default() });
        figures.collected(
            Collected { files: 3, strays: 2, ..Collected::default() },
            Compacted { bytes: 10, ..Compacted::default() },
        );
        figures.collected(
            Collected { files: 4, strays: 1, ..Collected::default() },
            Compacted { bytes: 11, ..Compacted::default() },
        );
        figures.balanced(Balanced { moved: 2, bytes: 20, left: 5, draining: 4, stuck: 3 });
        figures.balanced(Balanced { moved: 1, bytes: 10, left: 4, draining: 3, stuck: 2 });
        let tiered = Tiered { bytes: 5, left: 2, cold_bytes: 40, nowhere: true, ..Tiered::default() };
        let coded = Coded { chunks: 1, bytes: 9, left: 3, coded: 10, ..Coded::default() };
        figures.tiered(tiered, coded);
        figures.tiered(tiered, Coded { coded: 11, ..coded });
        figures.expired(3);
        figures.expired(4);
        for (name, expected) in [
            ("chunks_under_replicated", 4),
            ("chunks_at_risk", 1),
            ("chunks_unreadable", 2),
            ("repairs_left", 3),
            ("copies_made", 5),
            ("needles_rescued", 6),
            ("bytes_repaired", 150),
            ("chunks_unverified", 6),
            ("oldest_unverified_seconds", 90),
            ("files_collected", 7),
            ("files_stray", 1),
            ("bytes_compacted", 21),
            ("chunks_moved", 3),
            ("bytes_moved", 30),
            ("moves_left", 4),
            ("chunks_draining", 3),
            ("chunks_stuck", 2),
            ("cold_bytes", 40),
            ("tier_left", 2),
            ("tier_nowhere", 1),
            ("bytes_tiered", 10),
            ("chunks_coded", 12),
            ("coding_left", 3),
            ("bytes_coded", 18),
            ("expired", 7),
        ] {
            assert_eq!(value(&figures, name), Some(expected), "{name}");
        }
    }
}
