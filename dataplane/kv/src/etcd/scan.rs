//! Pages of a range, in rounds that bound an answer's memory.

use etcd_client::{GetResponse, SortOrder, SortTarget, TxnOp};

use super::{Etcd, range, unavailable};
use crate::error::Result;
use crate::model::{Page, SCAN_BYTES_MAX, Scan};

/// Rows that are asked for at first: most callers want few.
const FIRST_ROUND_ROWS: usize = 64;
/// Rows of each further round, which of the largest rows are 33 MiB.
pub(super) const ROUND_ROWS_MAX: usize = 512;

impl Etcd {
    /// The first rows of a page.
    pub(super) fn first_round(&self, scan: &Scan) -> TxnOp {
        let (start, end) = self.bounds(scan);
        // A limit of 0 is none to etcd.
        TxnOp::get(start, Some(sorted(range(end, scan.limit.clamp(1, FIRST_ROUND_ROWS)), scan)))
    }

    /// The page that the first round began, all of it at the same revision.
    pub(super) async fn rest_of_page(&self, scan: &Scan, mut answer: GetResponse, revision: i64) -> Result<Page> {
        let (mut page, mut bytes) = (Page::default(), 0);
        let (mut start, mut end) = self.bounds(scan);
        loop {
            let more = answer.more();
            for found in answer.take_kvs() {
                if page.rows.len() >= scan.limit || bytes >= SCAN_BYTES_MAX {
                    page.more = true;
                    return Ok(page);
                }
                let row = self.row(found);
                bytes += row.key.len() + row.value.bytes.len();
                page.rows.push(row);
            }
            let Some(last) = page.rows.last().filter(|_| more && page.rows.len() < scan.limit && bytes < SCAN_BYTES_MAX) else {
                page.more = more;
                return Ok(page);
            };
            let last = self.etcd_key(&last.key);
            if scan.reverse {
                end = last;
            } else {
                start = [last.as_slice(), b"\0"].concat();
            }
            let limit = (scan.limit - page.rows.len()).min(ROUND_ROWS_MAX);
            let options = sorted(range(end.clone(), limit).with_revision(revision), scan);
            answer = self.client.clone().get(start.clone(), Some(options)).await.map_err(unavailable)?;
        }
    }

    /// A range that is empty or upside down is empty to etcd, too.
    fn bounds(&self, scan: &Scan) -> (Vec<u8>, Vec<u8>) {
        (self.etcd_key(&scan.range.start), self.etcd_key(&scan.range.end))
    }
}

fn sorted(options: etcd_client::GetOptions, scan: &Scan) -> etcd_client::GetOptions {
    // Ascending is how etcd finds them; asked for, it would read the whole range first.
    if scan.reverse { options.with_sort(SortTarget::Key, SortOrder::Descend) } else { options }
}
