//! openraft's own suite for logs and state machines, and what it does not ask for.

use std::path::Path;
use std::sync::Arc;

use eddy_disk::{Disk, RealDisk, SimulatedDisk};
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EntryPayload, RaftSnapshotBuilder};

use super::log_store::LogStore;
use super::state_machine::StateMachine;
use super::types::{Entry, LogId, StorageError, Types};

struct Builder;

impl StoreBuilder<Types, LogStore, StateMachine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, StateMachine), StorageError> {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let log = LogStore::open(disk.clone(), &folder.path().join("log")).unwrap();
        let rows = StateMachine::open(&disk, &folder.path().join("rows"), 1024 * 1024).unwrap();
        Ok((folder, log, rows))
    }
}

type Cases = Suite<Types, LogStore, StateMachine, Builder, tempfile::TempDir>;

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            let (_folder, log, rows) = Builder.build().await.unwrap();
            Cases::$case(log, rows).await.unwrap();
        })*
    };
}

// Left out: get_initial_state_membership_from_log_and_sm appends entry 3 after entry 1, which openraft itself forbids
// and this log refuses.
cases![
    last_membership_in_log_initial,
    last_membership_in_log,
    last_membership_in_log_multi_step,
    get_membership_initial,
    get_membership_from_log_and_empty_sm,
    get_membership_from_empty_log_and_sm,
    get_membership_from_log_le_sm_last_applied,
    get_membership_from_log_gt_sm_last_applied_1,
    get_membership_from_log_gt_sm_last_applied_2,
    get_initial_state_without_init,
    get_initial_state_with_state,
    get_initial_state_last_log_gt_sm,
    get_initial_state_last_log_lt_sm,
    get_initial_state_log_ids,
    get_initial_state_re_apply_committed,
    save_vote,
    get_log_entries,
    limited_get_log_entries,
    try_get_log_entry,
    initial_logs,
    get_log_state,
    get_log_id,
    last_id_in_log,
    last_applied_state,
    purge_logs_upto_0,
    purge_logs_upto_5,
    purge_logs_upto_20,
    delete_logs_since_11,
    delete_logs_since_0,
    append_to_log,
    snapshot_meta,
    apply_single,
    apply_multiple,
];

#[tokio::test]
async fn transfer_snapshot() {
    Cases::transfer_snapshot(&Builder).await.unwrap();
}

/// What an entry says does not matter here.
fn entries(indexes: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    let leader = CommittedLeaderId::new(1, 7);
    indexes.map(|index| Entry { log_id: LogId::new(leader, index), payload: EntryPayload::Blank }).collect()
}

async fn append(log: &mut LogStore, indexes: std::ops::RangeInclusive<u64>) {
    openraft::storage::RaftLogStorageExt::blocking_append(log, entries(indexes)).await.unwrap();
}

fn open(disk: &SimulatedDisk) -> (LogStore, StateMachine) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let rows = StateMachine::open(&disk, Path::new("/kv/rows"), 1024 * 1024).unwrap();
    let log = LogStore::open(disk, Path::new("/kv/log")).unwrap().purge_after(rows.durable());
    (log, rows)
}

/// A snapshot of rows up to a command, from another replica.
async fn snapshot_of(index: u64) -> openraft::Snapshot<Types> {
    let (_, mut rows) = open(&SimulatedDisk::new());
    rows.apply(entries(0..=index)).await.unwrap();
    rows.build_snapshot().await.unwrap()
}

#[tokio::test]
async fn the_log_forgets_what_a_snapshot_has_only_when_the_rows_have_the_snapshot() {
    let disk = SimulatedDisk::new();
    let (mut log, mut rows) = open(&disk);
    append(&mut log, 0..=9).await;
    rows.apply(entries(0..=5)).await.unwrap();
    // As openraft does when a snapshot has come: the rows get it, and before they have it the log is purged.
    let snapshot = snapshot_of(20).await;
    let mut other_log = log.clone();
    let mut purge = Box::pin(other_log.purge(snapshot.meta.last_log_id.unwrap()));
    assert!(futures::poll!(&mut purge).is_pending());
    assert_eq!(log.get_log_state().await.unwrap().last_log_id.unwrap().index, 9, "it is all there");
    rows.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    purge.await.unwrap();
    assert_eq!(log.purged_index(), Some(20));
    disk.crash(&mut fastrand::Rng::with_seed(1));
    let (mut log, rows) = open(&disk);
    assert_eq!(rows.applied_index().unwrap(), Some(20));
    assert_eq!(log.get_log_state().await.unwrap().last_log_id.unwrap().index, 20);
}

#[tokio::test]
async fn a_log_stays_where_the_rows_fail_to_take_a_snapshot() {
    let disk = SimulatedDisk::new();
    let (mut log, mut rows) = open(&disk);
    append(&mut log, 0..=9).await;
    let snapshot = snapshot_of(20).await;
    disk.fail_syncs(1);
    rows.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap_err();
    log.purge(snapshot.meta.last_log_id.unwrap()).await.unwrap_err();
    disk.crash(&mut fastrand::Rng::with_seed(1));
    let (mut log, rows) = open(&disk);
    assert_eq!((rows.applied_index().unwrap(), log.purged_index()), (None, None));
    assert_eq!(log.get_log_state().await.unwrap().last_log_id.unwrap().index, 9);
}

#[tokio::test]
async fn whoever_led_comes_back_as_a_follower_and_others_as_they_were() {
    for (led, committed) in [(7, false), (8, true)] {
        let disk = SimulatedDisk::new();
        open(&disk).0.save_vote(&openraft::Vote::new_committed(3, led)).await.unwrap();
        open(&disk).0.end_leadership(7).unwrap();
        disk.crash(&mut fastrand::Rng::with_seed(1));
        let vote = open(&disk).0.read_vote().await.unwrap().unwrap();
        assert_eq!(vote, openraft::Vote { committed, ..openraft::Vote::new(3, led) });
    }
}
