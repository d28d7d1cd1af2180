//! Transactions, tried until they have happened or cannot.

use std::ops::ControlFlow;

use async_trait::async_trait;
use foundationdb::{FdbError, Transaction as FdbTransaction};

use super::{Fdb, unavailable};
use crate::error::{KvError, Result};
use crate::model::Version;

/// What a transaction reads and writes.
#[async_trait]
pub(super) trait Work: Sync {
    /// Does so in one attempt, which is committed next.
    async fn prepare(&self, store: &Fdb, attempt: &FdbTransaction) -> Result<(), Failed>;
}

/// Why an attempt was not committed.
pub(super) enum Failed {
    /// FoundationDB says so. Another attempt may help.
    Fdb(FdbError),
    /// It must not be. The caller is told.
    Store(KvError),
}

impl From<FdbError> for Failed {
    fn from(error: FdbError) -> Self {
        Self::Fdb(error)
    }
}

impl From<KvError> for Failed {
    fn from(error: KvError) -> Self {
        Self::Store(error)
    }
}

impl Failed {
    /// The transaction, as it was before the attempt and after a wait that gives way to others.
    ///
    /// # Errors
    /// Where another attempt does not help, or there is no time left for one.
    pub(super) async fn again(self, attempt: FdbTransaction) -> Result<FdbTransaction> {
        match self {
            Self::Fdb(error) => attempt.on_error(error).await.map_err(unavailable),
            Self::Store(error) => Err(error),
        }
    }
}

impl Fdb {
    /// Makes it happen once and returns its version.
    ///
    /// # Errors
    /// What it fails with itself, [`KvError::Unavailable`], [`KvError::Unknown`].
    pub(super) async fn happen(&self, work: &dyn Work) -> Result<Version> {
        let mut attempt = self.begin()?;
        loop {
            let prepared = self.prepare(work, &attempt).await;
            let ended = match prepared {
                Ok(read_version) => finish(attempt, read_version).await?,
                Err(failed) => ControlFlow::Continue(failed.again(attempt).await?),
            };
            match ended {
                ControlFlow::Break(version) => return Ok(version.unsigned_abs()),
                ControlFlow::Continue(next) => attempt = next,
            }
        }
    }

    /// Returns the version at which it reads.
    async fn prepare(&self, work: &dyn Work, attempt: &FdbTransaction) -> Result<i64, Failed> {
        let version = attempt.get_read_version();
        work.prepare(self, attempt).await?;
        Ok(version.await?)
    }
}

/// Commits. What did not happen though it could, since another transaction was faster, is made ready for another attempt.
async fn finish(attempt: FdbTransaction, read_version: i64) -> Result<ControlFlow<i64, FdbTransaction>> {
    match attempt.commit().await {
        // One that writes nothing is committed as version -1. It happened when it read.
        Ok(committed) => {
            let version = committed.committed_version().map_err(unknown)?;
            Ok(ControlFlow::Break(version.max(read_version)))
        }
        Err(error) if error.is_retryable_not_committed() => {
            error.on_error().await.map(ControlFlow::Continue).map_err(unavailable)
        }
        // Whether it happened is said for few errors only: one that ran out of time may have, and may yet.
        Err(error) => Err(unknown(error.into())),
    }
}

fn unknown(error: FdbError) -> KvError {
    KvError::Unknown { reason: error.to_string() }
}
