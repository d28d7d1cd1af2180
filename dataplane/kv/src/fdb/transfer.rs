//! All rows out of FoundationDB, and into it.
//!
//! A restore takes many transactions. A key says that it is under way, which every other operation looks for: what is
//! restored by half is never served, and a restore that broke off with its process can only be begun anew. The key's
//! version tells whose restore it is: where another begins, the one before ends without touching its rows.

use async_trait::async_trait;
use foundationdb::options::StreamingMode;
use foundationdb::{FdbError, RangeOption, Transaction as FdbTransaction};
use futures::{StreamExt, stream};

use super::attempt::{Failed, Work};
use super::{Fdb, stamp, unavailable};
use crate::error::{Invalid, KvError, Result};
use crate::model::{Row, TRANSACTION_BYTES_MAX, Version, after_prefix};
use crate::store::RowStream;

/// Most rows that a transaction restores: FoundationDB allows 10 MB, and keeps several times each key.
const RESTORED_ROWS_MAX: usize = 1000;
/// FoundationDB's `transaction_too_old`: it does not keep the version any more.
const TOO_OLD: i32 = 1007;

impl Fdb {
    pub(super) async fn export_rows(&self) -> Result<RowStream<'_>> {
        let (version, _) = self.read_at_once(&[]).await?;
        let pages = stream::try_unfold(Some(self.all_rows()), move |range| self.export_page(range, version));
        Ok(pages.boxed())
    }

    async fn export_page(
        &self,
        range: Option<RangeOption<'static>>,
        version: i64,
    ) -> Result<Option<(Vec<Row>, Option<RangeOption<'static>>)>> {
        let Some(range) = range else { return Ok(None) };
        // One for each page: a transaction keeps all that it has read.
        let mut attempt = self.begin()?;
        let found = loop {
            attempt.set_read_version(version);
            let found = attempt.get_range(&range, 1, true).await;
            match found {
                Ok(found) => break found,
                Err(error) if error.code() == TOO_OLD => return Err(too_large(error)),
                Err(error) => attempt = attempt.on_error(error).await.map_err(unavailable)?,
            }
        };
        let rows = found.iter().map(|found| self.row(found)).collect::<Result<Vec<Row>>>()?;
        Ok((!rows.is_empty()).then(|| (rows, range.next_range(&found))))
    }

    pub(super) async fn import_rows(&self, rows: RowStream<'_>) -> Result<()> {
        let claim = self.happen(&Begin).await?;
        if let Err(error) = self.fill(claim, rows).await {
            self.happen(&End { claim, keep: false }).await?;
            return Err(error);
        }
        self.happen(&End { claim, keep: true }).await.map(drop)
    }

    async fn fill(&self, claim: Version, mut rows: RowStream<'_>) -> Result<()> {
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let mut rest = batch.as_slice();
            while !rest.is_empty() {
                let (rows, later) = rest.split_at(fitting(rest));
                self.happen(&Fill { claim, rows }).await?;
                rest = later;
            }
        }
        Ok(())
    }

    /// That the restore which was begun as this version is the one under way, until the commit.
    async fn claimed(&self, attempt: &FdbTransaction, claim: Version) -> Result<(), Failed> {
        let found = attempt.get(&self.restoring, false).await?;
        let holder = found.as_deref().map(stamp::split).transpose()?.map(|(version, _)| version);
        if holder != Some(claim) {
            let reason = "another restore of the same store was begun, or ended".into();
            return Err(KvError::Unavailable { reason }.into());
        }
        Ok(())
    }

    fn clear_rows(&self, attempt: &FdbTransaction) {
        attempt.clear_range(&self.rows, &after_prefix(&self.rows));
    }

    fn all_rows(&self) -> RangeOption<'static> {
        let bounds = (self.rows.clone(), after_prefix(&self.rows).to_vec());
        RangeOption { mode: StreamingMode::WantAll, ..RangeOption::from(bounds) }
    }
}

/// Claims an empty store, or one whose restore broke off.
struct Begin;

#[async_trait]
impl Work for Begin {
    async fn prepare(&self, store: &Fdb, attempt: &FdbTransaction) -> Result<(), Failed> {
        if attempt.get(&store.restoring, false).await?.is_some() {
            store.clear_rows(attempt);
        } else {
            let any_row = RangeOption { limit: Some(1), ..store.all_rows() };
            if !attempt.get_range(&any_row, 1, false).await?.is_empty() {
                return Err(Failed::Store(Invalid::NotEmpty.into()));
            }
        }
        stamp::put(attempt, &store.restoring, b"")?;
        Ok(())
    }
}

/// Some of the rows.
struct Fill<'a> {
    claim: Version,
    rows: &'a [Row],
}

#[async_trait]
impl Work for Fill<'_> {
    async fn prepare(&self, store: &Fdb, attempt: &FdbTransaction) -> Result<(), Failed> {
        store.claimed(attempt, self.claim).await?;
        for Row { key, value } in self.rows {
            stamp::put(attempt, &store.fdb_key(key), &value.bytes)?;
        }
        Ok(())
    }
}

/// All rows are there, or none may stay.
struct End {
    claim: Version,
    keep: bool,
}

#[async_trait]
impl Work for End {
    async fn prepare(&self, store: &Fdb, attempt: &FdbTransaction) -> Result<(), Failed> {
        store.claimed(attempt, self.claim).await?;
        if !self.keep {
            store.clear_rows(attempt);
        }
        attempt.clear(&store.restoring);
        Ok(())
    }
}

/// How many of the rows a transaction restores.
fn fitting(rows: &[Row]) -> usize {
    let mut bytes = 0;
    let fit = rows.iter().take(RESTORED_ROWS_MAX).take_while(|row| {
        bytes += row.key.len() + row.value.bytes.len();
        bytes <= TRANSACTION_BYTES_MAX
    });
    fit.count().max(1)
}

fn too_large(error: FdbError) -> KvError {
    KvError::Unavailable { reason: format!("the export took longer than FoundationDB keeps a version, use fdbbackup: {error}") }
}
