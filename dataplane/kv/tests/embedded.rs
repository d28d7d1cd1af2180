//! The store in a file: the suite, and what only a file can show.

#![allow(clippy::unwrap_used)]

mod conformance;
mod crash;
mod flipped;

use std::path::Path;
use std::sync::Arc;

use eddy_kv::backup::{BackupError, Damage, backup, restore, verify};
use eddy_kv::{Embedded, EmbeddedOptions, KeyRange, KvError, OpenError, Scan, Store, Transaction};

use crate::flipped::flip;

/// The store that the crash test kills.
async fn open_at(path: &Path) -> Arc<dyn Store> {
    Arc::new(Embedded::open(&EmbeddedOptions::new(path)).unwrap())
}

fn open(folder: &tempfile::TempDir) -> Embedded {
    Embedded::open(&EmbeddedOptions::new(folder.path().join("store"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let mut folders = Vec::new();
    conformance::run(|| {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(open(&folder));
        folders.push(folder);
        async { store }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let version = open(&folder).commit(Transaction::new().put("a", "1")).await.unwrap();
    let store = open(&folder);
    assert_eq!(store.get("a".into()).await.unwrap().unwrap().version, version);
    assert!(store.commit(Transaction::new().put("a", "2")).await.unwrap() > version, "versions go on growing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_opened_once_and_only_if_it_is_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let _open = open(&folder);
    let options = EmbeddedOptions::new(folder.path().join("store"));
    assert!(matches!(Embedded::open(&options), Err(OpenError::Open { .. })));
    let other = folder.path().join("other");
    std::fs::write(&other, "no store at all, but long enough to look like something\n".repeat(100)).unwrap();
    assert!(matches!(Embedded::open(&EmbeddedOptions::new(other)), Err(OpenError::Open { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_disk_changed_is_an_error_and_never_another_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let rows = [("a", "plain"), ("b", "visibility=private"), ("c", "plain")];
    let all = rows.iter().fold(Transaction::new(), |all, (key, value)| all.put(*key, *value));
    store.commit(all).await.unwrap();
    drop(store);
    assert!(flip(&folder.path().join("store"), b"visibility=private"));

    let store = open(&folder);
    assert_eq!(store.get("a".into()).await.unwrap().unwrap().bytes, "plain");
    let read = store.get("b".into()).await;
    assert!(matches!(&read, Err(KvError::Broken { reason }) if reason.contains("the row b")), "{read:?}");
    let listed = store.scan(Scan::new(KeyRange::prefix(""), 10)).await;
    assert!(matches!(listed, Err(KvError::Broken { .. })), "{listed:?}");
    let copied = backup(&store, &folder.path().join("backup")).await;
    assert!(matches!(copied, Err(BackupError::Store(KvError::Broken { .. }))), "{copied:?}");
    let added = store.commit(Transaction::new().add("b", 1, None)).await;
    assert!(matches!(added, Err(KvError::Broken { .. })), "{added:?}");
    store.commit(Transaction::new().put("c", "changed")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for number in 0..300 {
        store.commit(Transaction::new().put(format!("{number:03}"), vec![7; 10_000])).await.unwrap();
    }
    let file = folder.path().join("backup");
    assert_eq!(backup(&store, &file).await.unwrap(), 300);
    assert_eq!(verify(&file).await.unwrap(), 300);
    assert!(!folder.path().join("backup.unfinished").exists());

    let other = tempfile::tempdir().unwrap();
    let restored = open(&other);
    let whole = std::fs::read(&file).unwrap();
    let damaged = other.path().join("damaged");
    let flipped = |at: usize| [&whole[..at], &[whole[at] ^ 1], &whole[at + 1..]].concat();
    for (bytes, damage) in [
        (whole[..whole.len() / 2].to_vec(), Damage::CutOff),
        (whole[..whole.len() - 1].to_vec(), Damage::CutOff),
        (whole[..whole.len() - 24].to_vec(), Damage::CutOff),
        (flipped(whole.len() / 2), Damage::Checksum),
        ([whole.as_slice(), b"x"].concat(), Damage::Trailing),
        (b"\x03\0\0\0\xb7\x3f\x4b\x36abc".to_vec(), Damage::NotABackup),
    ] {
        std::fs::write(&damaged, bytes).unwrap();
        let refused = restore(&restored, &damaged).await;
        assert!(matches!(&refused, Err(BackupError::Damaged { source, .. }) if *source == damage), "{refused:?} {damage:?}");
    }
    assert_eq!(restore(&restored, &file).await.unwrap(), 300);
    assert_eq!(restored.get("299".into()).await.unwrap().unwrap().bytes, vec![7; 10_000]);
    assert!(restore(&restored, &file).await.is_err(), "a store that holds something is not overwritten");
    assert!(matches!(backup(&store, &folder.path().join("no/such/folder")).await, Err(BackupError::File { .. })));
}
