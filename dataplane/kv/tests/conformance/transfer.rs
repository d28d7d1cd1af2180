//! All rows out of a store, and into one.

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};

use super::Shared;
use super::contended::{TOTAL, open_accounts, transfer};
use eddy_kv::model::decode_counter;
use eddy_kv::{Invalid, KeyRange, KvError, Result, Row, Scan, Store, Transaction, Value};

async fn rows(store: &dyn Store) -> Vec<Row> {
    store.export().await.unwrap().try_concat().await.unwrap()
}

fn contents(rows: Vec<Row>) -> Vec<(Bytes, Bytes)> {
    rows.into_iter().map(|row| (row.key, row.value.bytes)).collect()
}

fn batch(numbers: std::ops::Range<u32>) -> Result<Vec<Row>> {
    let row = |number| Row { key: format!("{number:06}").into(), value: Value { bytes: "v".into(), version: 9 } };
    Ok(numbers.map(row).collect())
}

async fn is_empty(store: &dyn Store) -> bool {
    store.scan(Scan::new(KeyRange::all(), 1)).await.unwrap().rows.is_empty()
}

pub(super) async fn what_is_exported_can_be_imported(store: Shared) {
    assert_eq!(rows(&*store).await, []);
    store.import(stream::iter([batch(0..500), batch(500..501), batch(501..1234)]).boxed()).await.unwrap();
    let exported = rows(&*store).await;
    let wanted = [batch(0..1234).unwrap()].concat();
    assert_eq!(contents(exported.clone()), contents(wanted));
    let page = store.scan(Scan::new(KeyRange::all(), 2000)).await.unwrap();
    assert_eq!(page.rows, exported, "versions are those that reads tell");
    // It goes on as any store does.
    let read = store.get("000001".into()).await.unwrap();
    store.commit(Transaction::new().check("000001", read.as_ref()).put("000001", "new")).await.unwrap();
}

pub(super) async fn an_export_is_of_one_version(store: Shared) {
    open_accounts(&*store).await;
    let writers: Vec<_> = (0..4).map(|seed| tokio::spawn(transfer(store.clone(), seed, 20))).collect();
    for _ in 0..5 {
        let total: i64 = rows(&*store).await.iter().map(|row| decode_counter(b"", &row.value.bytes).unwrap()).sum();
        assert_eq!(total, TOTAL);
    }
    join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
}

pub(super) async fn rows_are_imported_into_an_empty_store_only(store: Shared) {
    store.commit(Transaction::new().put("a", "1")).await.unwrap();
    let refused = store.import(stream::iter([batch(0..10)]).boxed()).await;
    assert!(matches!(refused, Err(KvError::Invalid(Invalid::NotEmpty))), "{refused:?}");
    assert_eq!(rows(&*store).await.len(), 1);
}

pub(super) async fn an_import_that_breaks_off_leaves_nothing(store: Shared) {
    let broken = || Err(KvError::Unavailable { reason: "the file ends early".into() });
    let failed = store.import(stream::iter([batch(0..500), batch(500..900), broken()]).boxed()).await;
    assert!(matches!(&failed, Err(KvError::Unavailable { reason }) if reason == "the file ends early"), "{failed:?}");
    assert!(is_empty(&*store).await);
    store.import(stream::iter([batch(0..10)]).boxed()).await.unwrap();
    assert_eq!(rows(&*store).await.len(), 10);
}
