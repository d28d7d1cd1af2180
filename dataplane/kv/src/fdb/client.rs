//! FoundationDB's client, of which a process has one.

use std::sync::Arc;

use foundationdb::FdbError;
use foundationdb::api::{FdbApiBuilder, NetworkAutoStop};

use crate::error::{KvError, Result};

/// FoundationDB's client: a thread that speaks with clusters for all stores of the process.
///
/// It ends with the last clone and the last store, and cannot be started again: whoever opens stores one after another
/// keeps a clone meanwhile.
#[derive(Clone)]
pub struct FdbClient {
    _network: Arc<NetworkAutoStop>,
}

impl FdbClient {
    /// Starts it.
    ///
    /// # Safety
    /// All clones, and all stores that were opened with them, must be dropped before the process ends, unless it aborts.
    ///
    /// # Errors
    /// [`KvError::Unavailable`] where the library that is installed is too old or does not start.
    ///
    /// # Panics
    /// The second time in a process.
    pub unsafe fn start() -> Result<Self> {
        let builder = FdbApiBuilder::default().build().map_err(not_started)?;
        // SAFETY: what it returns is dropped with the last clone, which by this function's own contract happens before
        // the process ends.
        let network = unsafe { builder.boot() }.map_err(not_started)?;
        Ok(Self { _network: Arc::new(network) })
    }
}

fn not_started(error: FdbError) -> KvError {
    KvError::Unavailable { reason: format!("FoundationDB's client did not start: {error}") }
}
