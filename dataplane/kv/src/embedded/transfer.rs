//! All rows out of a store, and into one.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use eddy_disk::{Disk, RealDisk};
use futures::{StreamExt, stream};
use redb::{Database, ReadTransaction, ReadableDatabase};
use tokio::sync::{mpsc, oneshot};

use super::committer::{Import, Job};
use super::{broken, stopped};
use crate::error::{KvError, Result};
use crate::model::{Row, SCAN_BYTES_MAX};
use crate::rows::{ROWS, row};
use crate::store::RowStream;

/// Batches that are read ahead of who takes them.
const AHEAD: usize = 2;

/// All rows at the version of now.
pub(super) fn export(database: &Database) -> Result<RowStream<'static>> {
    Ok(export_view(Arc::new(RealDisk), database.begin_read().map_err(broken)?))
}

/// What becomes of rows that are not what was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Damage {
    Fails,
    IsLeftOut,
}

/// All rows that a transaction sees, in batches that are read as they are asked for.
pub(crate) fn export_view(disk: Arc<dyn Disk>, transaction: ReadTransaction) -> RowStream<'static> {
    export_with(disk, transaction, Damage::Fails)
}

/// The same, without rows that are not what was written, of which each is logged.
pub(crate) fn export_whole(disk: Arc<dyn Disk>, transaction: ReadTransaction) -> RowStream<'static> {
    export_with(disk, transaction, Damage::IsLeftOut)
}

fn export_with(disk: Arc<dyn Disk>, transaction: ReadTransaction, damage: Damage) -> RowStream<'static> {
    let transaction = Arc::new(transaction);
    let first = Some(Bound::Unbounded);
    stream::unfold(first, move |from| {
        let (disk, transaction) = (disk.clone(), transaction.clone());
        async move {
            let from = from?;
            let read = eddy_disk::run(&*disk, move || batch(&transaction, from, damage)).await;
            let read = read.map_err(|error| KvError::Unavailable { reason: error.to_string() });
            match read.and_then(|read| read.map_err(broken)) {
                Ok(rows) if rows.is_empty() => None,
                Ok(rows) => {
                    let next = rows.last().map(|last| Bound::Excluded(last.key.clone()));
                    Some((Ok(rows), next))
                }
                Err(error) => Some((Err(error), None)),
            }
        }
    })
    .boxed()
}

/// The next rows.
fn batch(transaction: &ReadTransaction, from: Bound<Bytes>, damage: Damage) -> std::result::Result<Vec<Row>, redb::Error> {
    let rows = transaction.open_table(ROWS)?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for found in rows.range::<&[u8]>((from.as_ref().map(|key| &key[..]), Bound::Unbounded))? {
        let (key, value) = found?;
        let row = match row(key.value(), value.value()) {
            Err(damaged) if damage == Damage::IsLeftOut => {
                tracing::error!(%damaged, "a row is left out");
                continue;
            }
            row => row.map_err(redb::StorageError::from)?,
        };
        bytes += row.key.len() + row.value.bytes.len();
        batch.push(row);
        if bytes >= SCAN_BYTES_MAX {
            break;
        }
    }
    Ok(batch)
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
