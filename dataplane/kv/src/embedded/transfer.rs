//! All rows out of a store, and into one.

use futures::{StreamExt, stream};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};
use tokio::sync::{mpsc, oneshot};

use super::committer::{Import, Job};
use super::{broken, stopped};
use crate::error::Result;
use crate::model::{Row, SCAN_BYTES_MAX};
use crate::rows::{ROWS, row};
use crate::store::RowStream;

/// Batches that are read ahead of who takes them.
const AHEAD: usize = 2;

/// All rows at the version of now.
pub(super) fn export(database: &Database) -> Result<RowStream<'static>> {
    Ok(export_view(database.begin_read().map_err(broken)?))
}

/// All rows that a transaction sees.
pub(crate) fn export_view(transaction: ReadTransaction) -> RowStream<'static> {
    let (give, take) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = give_all(&transaction, &give) {
            // Whoever took them may be gone.
            let _ = give.blocking_send(Err(broken(error)));
        }
    });
    stream::unfold(take, async |mut take| take.recv().await.map(|batch| (batch, take))).boxed()
}

fn give_all(transaction: &ReadTransaction, give: &mpsc::Sender<Result<Vec<Row>>>) -> std::result::Result<(), redb::Error> {
    let rows = transaction.open_table(ROWS)?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for found in rows.iter()? {
        let (key, value) = found?;
        let row = row(key.value(), value.value());
        bytes += row.key.len() + row.value.bytes.len();
        batch.push(row);
        if bytes >= SCAN_BYTES_MAX {
            bytes = 0;
            if give.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                return Ok(());
            }
        }
    }
    if !batch.is_empty() {
        let _ = give.blocking_send(Ok(batch));
    }
    Ok(())
}

/// Hands a stream of rows to the thread that writes.
pub(super) async fn import(mut rows: RowStream<'_>, jobs: &mpsc::Sender<Job>) -> Result<()> {
    let (give, take) = mpsc::channel(AHEAD);
    let (reply, replied) = oneshot::channel();
    jobs.send(Job::Import(take, reply)).await.map_err(|_| stopped())?;
    while let Some(batch) = rows.next().await {
        // An error here drops the channel, and with it the import.
        if give.send(Import::Rows(batch?)).await.is_err() {
            break;
        }
    }
    // Where it has ended already, its reply says why.
    let _ = give.send(Import::End).await;
    replied.await.map_err(|_| stopped())?
}
