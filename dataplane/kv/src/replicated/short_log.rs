//! Keeps the log short in bytes. openraft counts commands, each of which may have megabytes; and after a restart it reads all that the rows
//! lack at once.

use std::time::Duration;

use openraft::Raft;

use super::log_store::LogStore;
use super::options::LogOptions;
use super::room::Room;
use super::types::Types;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Has rows made durable after so many bytes, and forgets what the log has beyond what it keeps, or all that the rows have while the disk is
/// full; until consensus ends.
pub(super) async fn keep_short(raft: Raft<Types>, log: LogStore, options: LogOptions, room: Room) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if log.has_grown_by(options.bytes_between_snapshots) && raft.trigger().snapshot().await.is_err() {
            return;
        }
        // What no snapshot has yet stays.
        let kept = if room.check().is_err() { 0 } else { options.bytes_kept };
        if let Some(upto) = log.beyond(kept)
            && raft.trigger().purge_log(upto).await.is_err()
        {
            return;
        }
    }
}
