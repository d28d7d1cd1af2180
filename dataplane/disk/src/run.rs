//! Work that waits for a disk, among tasks that wait for nothing.

use tokio::task::{JoinError, spawn_blocking};

use crate::Disk;

/// Runs what waits for a disk on a thread of its own; here and now where the disk is simulated, so that a simulation is one order
/// of events.
///
/// # Errors
/// Where the work panicked.
pub async fn run<T: Send + 'static>(disk: &dyn Disk, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    if disk.is_simulated() { Ok(work()) } else { spawn_blocking(work).await }
}
