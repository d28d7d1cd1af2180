//! All rows out of etcd, and into it.
//!
//! A restore takes many transactions. A key says that it is under way, which every other operation looks for: what is
//! restored by half is never served, and a restore that broke off with its process can only be begun anew.

use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp};
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
        self.begin_restore().await?;
        if let Err(error) = self.fill(rows).await {
            self.end_restore(true).await?;
            return Err(error);
        }
        self.end_restore(false).await
    }

    /// Claims an empty store, or one whose restore broke off.
    async fn begin_restore(&self) -> Result<()> {
        let claim = TxnOp::put(self.restoring.clone(), "", None);
        let any_row = TxnOp::get(self.rows.clone(), Some(range(self.end(), 1).with_keys_only()));
        let empty = Compare::create_revision(self.rows.clone(), CompareOp::Equal, 0).with_range(self.end());
        let begun = Txn::new().when([self.in_service(), empty]).and_then([claim]);
        let begun = begun.or_else([TxnOp::get(self.restoring.clone(), None), any_row]);
        let answer = self.ask(begun).await.map_err(unavailable)?;
        if answer.succeeded() {
            return Ok(());
        }
        let broke_off = gets(&answer).first().is_some_and(|restoring| !restoring.kvs().is_empty());
        if !broke_off {
            return Err(Invalid::NotEmpty.into());
        }
        self.ask(Txn::new().and_then([self.delete_rows()])).await.map_err(unavailable)?;
        Ok(())
    }

    async fn fill(&self, mut rows: RowStream<'_>) -> Result<()> {
        while let Some(batch) = rows.next().await {
            let (mut puts, mut bytes) = (Vec::new(), 0);
            for Row { key, value } in batch? {
                bytes += key.len() + value.bytes.len();
                if puts.len() == TRANSACTION_OPERATIONS_MAX || bytes > TRANSACTION_BYTES_MAX {
                    self.put(std::mem::take(&mut puts)).await?;
                    bytes = key.len() + value.bytes.len();
                }
                puts.push(TxnOp::put(self.etcd_key(&key), value.bytes, None));
            }
            self.put(puts).await?;
        }
        Ok(())
    }

    async fn put(&self, puts: Vec<TxnOp>) -> Result<()> {
        let claimed = Compare::create_revision(self.restoring.clone(), CompareOp::NotEqual, 0);
        let answer = self.ask(Txn::new().when([claimed]).and_then(puts)).await.map_err(unavailable)?;
        if answer.succeeded() {
            return Ok(());
        }
        Err(KvError::Unavailable { reason: "another restore of the same store ended".into() })
    }

    async fn end_restore(&self, delete_rows: bool) -> Result<()> {
        let mut operations = vec![TxnOp::delete(self.restoring.clone(), None)];
        operations.extend(delete_rows.then(|| self.delete_rows()));
        self.ask(Txn::new().and_then(operations)).await.map(drop).map_err(unavailable)
    }

    fn delete_rows(&self) -> TxnOp {
        TxnOp::delete(self.rows.clone(), Some(DeleteOptions::new().with_range(self.end())))
    }

    fn end(&self) -> Vec<u8> {
        after_prefix(&self.rows).to_vec()
    }
}
