//! The store as one replica over log and rows: the suite, and what only they can show.

#![allow(clippy::unwrap_used)]

mod conformance;
mod crash;
mod flipped;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eddy_disk::{CountedDisk, Disk, RealDisk, SimulatedDisk};
use eddy_kv::backup::restore;
use eddy_kv::{
    GroupOptions, Invalid, KvError, LogOptions, ReplicaError, Replicated, ReplicatedOptions, Row, Store, Transaction, Value,
    salvage,
};
use futures::future::join_all;
use futures::{StreamExt, stream};

use crate::flipped::flip;

/// The store that the crash test kills.
async fn open_at(path: &Path) -> Arc<dyn Store> {
    Arc::new(open(path).await.unwrap())
}

async fn open(folder: &Path) -> Result<Replicated, ReplicaError> {
    Replicated::alone(ReplicatedOptions::alone(folder, 1024 * 1024)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let mut folders = Vec::new();
    conformance::run(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        folders.push(folder);
        async move { open_at(&path).await }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_rows_are_restored_nothing_else_is_served_and_of_two_restores_the_first_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder.path().join("store")).await.unwrap());
    let row = |key: &str| Row { key: key.to_owned().into(), value: Value { bytes: "1".into(), version: 0 } };
    let (goes_on, rest) = futures::channel::oneshot::channel();
    let rest = stream::once(async move { Ok(rest.await.unwrap()) });
    let mut first = store.import(stream::iter([Ok(vec![row("a")])]).chain(rest).boxed());
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut first).await.is_err());
    // All of a batch hear the same.
    let writers = (0..20).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.commit(Transaction::new().put(format!("{number}"), "")).await })
    });
    for refused in join_all(writers).await {
        assert!(matches!(refused.unwrap(), Err(KvError::Unavailable { .. })));
    }
    assert!(matches!(store.get("a".into()).await, Err(KvError::Unavailable { .. })));
    store.import(stream::iter([Ok(vec![row("b")])]).boxed()).await.unwrap();
    store.commit(Transaction::new().put("c", "1")).await.unwrap();
    goes_on.send(vec![row("d")]).unwrap();
    assert!(matches!(first.await, Err(KvError::Invalid(Invalid::OtherRestore))));
    for (key, is_there) in [("a", false), ("b", true), ("c", true), ("d", false)] {
        assert_eq!(store.get(key.into()).await.unwrap().is_some(), is_there, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_the_disk_is_kept_for_what_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path).await.unwrap();
    store.commit(Transaction::new().put("a", "1").put("b", "1").add("n", 2, None)).await.unwrap();
    store.close().await;
    drop(store);
    let full = ReplicatedOptions { reserved_bytes: u64::MAX, ..ReplicatedOptions::alone(&path, 1024 * 1024) };
    let store = Replicated::alone(full).await.unwrap();
    for more in [Transaction::new().put("c", "1"), Transaction::new().put("c", "1").put("d", "1").delete("a")] {
        assert!(matches!(store.commit(more).await, Err(KvError::Full { reserved_bytes: u64::MAX, .. })));
    }
    assert!(store.get("a".into()).await.unwrap().is_some(), "it is still read");
    store.commit(Transaction::new().delete("a").put("gone", "a").add("n", -1, None)).await.unwrap();
    let b = store.get("b".into()).await.unwrap();
    store.commit(Transaction::new().check("b", b.as_ref()).put("b", "2").delete("gone").put("x", "1")).await.unwrap();
    assert!(store.get("a".into()).await.unwrap().is_none());
    assert!(store.commit(Transaction::new().delete("b").add("n", -1, None)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_alone_refuses_a_row_that_the_disk_changed_and_serves_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let options = ReplicatedOptions {
        log: LogOptions { commands_between_snapshots: 20, commands_kept: 5, ..LogOptions::default() },
        ..ReplicatedOptions::alone(folder.path().join("store"), 1024 * 1024)
    };
    let store = Replicated::alone(options.clone()).await.unwrap();
    store.commit(Transaction::new().put("b", "visibility=private").put("c", "1")).await.unwrap();
    let b = store.get("b".into()).await.unwrap();
    for number in 0..100 {
        store.commit(Transaction::new().put("n", format!("{number}"))).await.unwrap();
    }
    store.close().await;
    drop(store);
    assert!(flip(&folder.path().join("store/rows"), b"visibility=private"));

    // Also after it was opened again, when the log has what it could not do, and all after that is what it was.
    let mut after = None;
    for _ in 0..2 {
        let store = Replicated::alone(options.clone()).await.unwrap();
        assert!(matches!(store.get("b".into()).await, Err(KvError::Broken { .. })));
        let changed = store.commit(Transaction::new().check("b", b.as_ref()).put("c", "2")).await;
        assert!(matches!(changed, Err(KvError::Broken { .. })), "{changed:?}");
        assert_eq!(store.get("c".into()).await.unwrap().unwrap().bytes, "1");
        let before = store.get("n".into()).await.unwrap();
        assert!(after.is_none() || after == before, "{after:?} {before:?}");
        store.commit(Transaction::new().check("n", before.as_ref()).put("n", "on")).await.unwrap();
        after = store.get("n".into()).await.unwrap();
        store.close().await;
    }
    // What is left of it goes on elsewhere.
    let file = folder.path().join("backup");
    assert_eq!(salvage(&folder.path().join("store"), &file).await.unwrap(), 2);
    let other = open(&folder.path().join("other")).await.unwrap();
    restore(&other, &file).await.unwrap();
    assert!(other.get("b".into()).await.unwrap().is_none());
    assert_eq!(other.get("n".into()).await.unwrap().unwrap().bytes, "on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_votes_are_lost_takes_no_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path).await.unwrap();
    store.commit(Transaction::new().put("a", "1")).await.unwrap();
    store.close().await;
    drop(store);
    std::fs::remove_dir_all(path.join("log")).unwrap();
    let group = GroupOptions { advertise: "127.0.0.1:1".into(), peers: Vec::new(), standby: false };
    let options = ReplicatedOptions { group: Some(group), ..ReplicatedOptions::alone(&path, 1024 * 1024) };
    assert!(matches!(Replicated::open(options, None).await, Err(ReplicaError::LogLost(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path).await.unwrap();
    let version = store.commit(Transaction::new().put("a", "1").add("n", 5, None)).await.unwrap();
    assert!(matches!(open(&path).await, Err(ReplicaError::Rows(_))), "one process has it");
    store.close().await;
    drop(store);
    let store = open(&path).await.unwrap();
    let read = store.get("a".into()).await.unwrap().unwrap();
    assert_eq!(read.version, version);
    let refused = store.commit(Transaction::new().add("n", 1, Some(5))).await;
    assert!(matches!(refused, Err(KvError::Exceeded { number: 5, .. })), "applied once: {refused:?}");
    assert!(store.commit(Transaction::new().check("a", Some(&read)).put("a", "2")).await.unwrap() > version);
}

/// A replica that could have others, on this disk.
async fn open_on(disk: Arc<dyn Disk>, folder: &Path) -> Replicated {
    let group = GroupOptions { advertise: "localhost:1".into(), peers: Vec::new(), standby: false };
    let options = ReplicatedOptions { group: Some(group), ..ReplicatedOptions::alone(folder, 1024 * 1024) };
    let store = Replicated::open_on(disk, options, None).await.unwrap();
    store.join().await;
    store
}

async fn commit_once_it_leads(store: &Replicated, transaction: &Transaction) {
    while store.commit(transaction.clone()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_crashed_leads_again_only_in_another_term() {
    let (disk, folder) = (SimulatedDisk::new(), Path::new("/kv"));
    let store = open_on(Arc::new(disk.clone()), folder).await;
    commit_once_it_leads(&store, &Transaction::new().put("a", "1")).await;
    let before = store.status();
    disk.crash(&mut fastrand::Rng::with_seed(1));
    store.close().await;
    let store = open_on(Arc::new(disk), folder).await;
    // In the old one it would not know what was acknowledged before it crashed, and answer reads all the same.
    commit_once_it_leads(&store, &Transaction::new().put("b", "2")).await;
    assert!(store.status().id == before.id && store.status().term > before.term);
    assert_eq!(store.get("a".into()).await.unwrap().unwrap().bytes, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commit_at_once_and_share_syncs() {
    const WRITERS: usize = 500;
    let folder = tempfile::tempdir().unwrap();
    let disk = CountedDisk::new(Arc::new(RealDisk), Duration::from_millis(2));
    let store = Arc::new(open_on(Arc::new(disk.clone()), &folder.path().join("store")).await);
    commit_once_it_leads(&store, &Transaction::new().put("first", "")).await;
    let before = disk.syncs();
    let writers = (0..WRITERS).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.commit(Transaction::new().put(format!("{number}"), "")).await })
    });
    for committed in join_all(writers).await {
        committed.unwrap().unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!((1..WRITERS / 2).contains(&syncs), "{syncs} for {WRITERS} transactions");
    store.close().await;
}
