//! Pages of a range.

use foundationdb::options::StreamingMode;
use foundationdb::{RangeOption, Transaction as FdbTransaction};

use super::Fdb;
use super::attempt::Failed;
use crate::error::Result;
use crate::model::{Page, SCAN_BYTES_MAX, Scan};

impl Fdb {
    /// A page, in rounds of as much as FoundationDB sends at once.
    pub(super) async fn page(&self, attempt: &FdbTransaction, scan: &Scan) -> Result<Page, Failed> {
        let (mut page, mut bytes) = (Page::default(), 0);
        // To FoundationDB, a range that is upside down is an error.
        let mut round = (scan.range.start < scan.range.end).then(|| self.first_round(scan));
        while let Some(range) = round {
            let found = attempt.get_range(&range, 1, true).await?;
            for found in &found {
                if page.rows.len() >= scan.limit || bytes >= SCAN_BYTES_MAX {
                    page.more = true;
                    return Ok(page);
                }
                let row = self.row(found)?;
                bytes += row.key.len() + row.value.bytes.len();
                page.rows.push(row);
            }
            round = range.next_range(&found);
        }
        Ok(page)
    }

    fn first_round(&self, scan: &Scan) -> RangeOption<'static> {
        let bounds = (self.fdb_key(&scan.range.start), self.fdb_key(&scan.range.end));
        // The row beyond the last one tells that there is more. FoundationDB's own word for it is only that there may be.
        let limit = Some(scan.limit.saturating_add(1));
        RangeOption { limit, mode: StreamingMode::WantAll, reverse: scan.reverse, ..RangeOption::from(bounds) }
    }
}
