//! openraft's own suite for logs and state machines.

use std::sync::Arc;

use eddy_disk::{Disk, RealDisk};
use openraft::testing::{StoreBuilder, Suite};

use super::log_store::LogStore;
use super::state_machine::StateMachine;
use super::types::{StorageError, Types};

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
