//! All rows out of etcd, and into it.
//!
//! A restore takes many transactions. A key says that it is under way, which every other operation looks for: what is
//! restored by half is never served, and a restore that broke off with its process can only be begun anew.

use etcd_client::{Compare, CompareOp, DeleteOptions, ResponseHeader, Txn, TxnOp, TxnResponse};
use futures::{StreamExt, stream};

use super::scan::ROUND_ROWS_MAX;
use super::{Etcd, gets, range, unavailable};
use crate::error::{Invalid, KvError, Result};
use crate::model::{Row, TRANSACTION_BYTES_MAX, TRANSACTION_OPERATIONS_MAX, after_prefix};
use crate::store::RowStream;

impl Etcd {
    pub(super) async fn export_rows(&self) -> Result<RowStream<'_>> {
        let (revision, _) = self.read_at_once(Vec::new()).await?;
        let pages = stream::try_unfold(Some(self.rows.clone()), move |start| self.export_page(start, revision));
        Ok(pages.boxed())
    }

    async fn export_page(&self, start: Option<Vec<u8>>, revision: i64) -> Result<Option<(Vec<Row>, Option<Vec<u8>>)>> {
        let Some(start) = start else { return Ok(None) };
        let options = range(self.end(), ROUND_ROWS_MAX).with_revision(revision);
        let mut answer = self.client.clone().get(start, Some(options)).await.map_err(unavailable)?;
        let more = answer.more();
        let rows: Vec<Row> = answer.take_kvs().into_iter().map(|found| self.row(found)).collect();
        let next = rows.last().filter(|_| more).map(|last| [self.etcd_key(&last.key).as_slice(), b"\0"].concat());
        Ok((!rows.is_empty()).then_some((rows, next)))
    }

    pub(super) async fn import_rows(&self, rows: RowStream<'_>) -> Result<()> {
        let restore = self.begin_restore().await?;
        if let Err(error) = self.fill(restore, rows).await {
            self.end_restore(restore, true).await?;
            return Err(error);
        }
        self.end_restore(restore, false).await
    }

    /// Claims an empty store, or one whose restore broke off, or goes on without anyone's knowledge: the revision of the claim, without
    /// which nothing is changed any more.
    async fn begin_restore(&self) -> Result<i64> {
        let claim = TxnOp::put(self.restoring.clone(), "", None);
        let any_row = TxnOp::get(self.rows.clone(), Some(range(self.end(), 1).with_keys_only()));
        let empty = Compare::create_revision(self.rows.clone(), CompareOp::Equal, 0).with_range(self.end());
        let begun = Txn::new().when([self.in_service(), empty]).and_then([claim.clone()]);
        let begun = begun.or_else([TxnOp::get(self.restoring.clone(), None), any_row]);
        let answer = self.ask(begun).await.map_err(unavailable)?;
        if answer.succeeded() {
            return revision(&answer);
        }
        let broke_off = gets(&answer).first().is_some_and(|restoring| !restoring.kvs().is_empty());
        if !broke_off {
            return Err(Invalid::NotEmpty.into());
        }
        // Not where it ended just now: then it is in service.
        let under_way = Compare::create_revision(self.restoring.clone(), CompareOp::NotEqual, 0);
        let taken_over = Txn::new().when([under_way]).and_then([claim, self.delete_rows()]);
        let answer = self.ask(taken_over).await.map_err(unavailable)?;
        if answer.succeeded() { revision(&answer) } else { Err(Invalid::NotEmpty.into()) }
    }

    async fn fill(&self, restore: i64, mut rows: RowStream<'_>) -> Result<()> {
        while let Some(batch) = rows.next().await {
            let (mut puts, mut bytes) = (Vec::new(), 0);
            for Row { key, value } in batch? {
                bytes += key.len() + value.bytes.len();
                if puts.len() == TRANSACTION_OPERATIONS_MAX || bytes > TRANSACTION_BYTES_MAX {
                    self.put(restore, std::mem::take(&mut puts)).await?;
                    bytes = key.len() + value.bytes.len();
                }
                puts.push(TxnOp::put(self.etcd_key(&key), value.bytes, None));
            }
            self.put(restore, puts).await?;
        }
        Ok(())
    }

    /// Changes something while this restore is under way.
    async fn put(&self, restore: i64, changes: Vec<TxnOp>) -> Result<()> {
        let claimed = Compare::mod_revision(self.restoring.clone(), CompareOp::Equal, restore);
        let answer = self.ask(Txn::new().when([claimed]).and_then(changes)).await.map_err(unavailable)?;
        if answer.succeeded() { Ok(()) } else { Err(Invalid::OtherRestore.into()) }
    }

    async fn end_restore(&self, restore: i64, delete_rows: bool) -> Result<()> {
        let mut changes = vec![TxnOp::delete(self.restoring.clone(), None)];
        changes.extend(delete_rows.then(|| self.delete_rows()));
        self.put(restore, changes).await
    }

    fn delete_rows(&self) -> TxnOp {
        TxnOp::delete(self.rows.clone(), Some(DeleteOptions::new().with_range(self.end())))
    }

    fn end(&self) -> Vec<u8> {
        after_prefix(&self.rows).to_vec()
    }
}

/// That of a transaction that changed something.
fn revision(answer: &TxnResponse) -> Result<i64> {
    let revision = answer.header().map(ResponseHeader::revision);
    revision.ok_or_else(|| KvError::Unavailable { reason: "etcd's answer has no revision".into() })
}
