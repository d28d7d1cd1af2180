//! What one caller sees.

use bytes::Bytes;

use super::Shared;
use eddy_kv::model::{KEY_BYTES_MAX, SCAN_BYTES_MAX, SCAN_ROWS_MAX, TRANSACTION_OPERATIONS_MAX, VALUE_BYTES_MAX, decode_counter};
use eddy_kv::{Invalid, KeyRange, KvError, Read, Scan, Store, Transaction};

/// The number that a counter holds.
pub(super) async fn counter(store: &dyn Store, key: &'static str) -> i64 {
    let value = store.get(key.into()).await.unwrap();
    value.map_or(0, |value| decode_counter(key.as_bytes(), &value.bytes).unwrap())
}

/// The keys of a page.
async fn keys(store: &dyn Store, scan: Scan) -> (Vec<Bytes>, bool) {
    let page = store.scan(scan).await.unwrap();
    (page.rows.into_iter().map(|row| row.key).collect(), page.more)
}

pub(super) async fn a_row_is_read_as_it_was_written(store: Shared) {
    assert_eq!(store.get("a".into()).await.unwrap(), None);
    let first = store.commit(Transaction::new().put("a", "1").put("b", "")).await.unwrap();
    let value = store.get("a".into()).await.unwrap().unwrap();
    assert_eq!((value.bytes.as_ref(), value.version), (&b"1"[..], first));
    assert_eq!(store.get("b".into()).await.unwrap().unwrap().bytes.len(), 0, "an empty value is a value");
    let second = store.commit(Transaction::new().put("a", "2").delete("b").delete("never-there")).await.unwrap();
    let value = store.get("a".into()).await.unwrap().unwrap();
    assert_eq!((value.bytes.as_ref(), value.version), (&b"2"[..], second));
    assert_eq!(store.get("b".into()).await.unwrap(), None);
}

pub(super) async fn keys_are_any_bytes_in_the_order_of_bytes(store: Shared) {
    let mut wanted: Vec<Bytes> =
        [&b"\x00"[..], b"\x00\x00", b"\x00\xff", b"A", b"a", b"a\x00", b"a\x00b", b"aa", b"\xc3\xa9", b"\xff", b"\xff\xff"]
            .into_iter()
            .map(Bytes::from_static)
            .collect();
    for key in wanted.iter().rev() {
        store.commit(Transaction::new().put(key.clone(), key.clone())).await.unwrap();
    }
    assert_eq!(keys(&*store, Scan::new(KeyRange::all(), 100)).await, (wanted.clone(), false));
    for key in &wanted {
        assert_eq!(store.get(key.clone()).await.unwrap().unwrap().bytes, key);
    }
    wanted.reverse();
    let backwards = Scan { reverse: true, ..Scan::new(KeyRange::all(), 100) };
    assert_eq!(keys(&*store, backwards).await, (wanted, false));
}

pub(super) async fn a_scan_stays_within_its_range_and_limit(store: Shared) {
    let put = ["a/1", "a/2", "a/3", "a0", "b/1"].into_iter().fold(Transaction::new(), |all, key| all.put(key, "v"));
    store.commit(put).await.unwrap();
    let within = |start: &'static str, end: &'static str| KeyRange { start: start.into(), end: end.into() };
    for (range, limit, reverse, wanted, more) in [
        (KeyRange::prefix("a/"), 10, false, &["a/1", "a/2", "a/3"][..], false),
        (KeyRange::prefix("a/"), 3, false, &["a/1", "a/2", "a/3"], false),
        (KeyRange::prefix("a/"), 2, false, &["a/1", "a/2"], true),
        (KeyRange::prefix("a/"), 2, true, &["a/3", "a/2"], true),
        (KeyRange::prefix("a/"), 0, false, &[], true),
        (KeyRange::prefix("c"), 0, false, &[], false),
        (within("a/1\0", "b/1"), 10, false, &["a/2", "a/3", "a0"], false),
        (within("a/2", "a/2"), 10, false, &[], false),
        (within("b", "a"), 10, true, &[], false),
        (KeyRange::prefix("c"), 10, true, &[], false),
    ] {
        let found = keys(&*store, Scan { range: range.clone(), limit, reverse }).await;
        assert_eq!(
            found,
            (wanted.iter().map(|key| Bytes::from_static(key.as_bytes())).collect(), more),
            "{range:?} {limit} {reverse}"
        );
    }
}

pub(super) async fn a_large_page_says_that_there_is_more(store: Shared) {
    let value = Bytes::from(vec![7; VALUE_BYTES_MAX]);
    let count = 3 * SCAN_BYTES_MAX / VALUE_BYTES_MAX;
    for number in 0..count {
        store.commit(Transaction::new().put(format!("{number:04}"), value.clone())).await.unwrap();
    }
    let (mut found, mut pages, mut start) = (0, 0, Bytes::from_static(b"0"));
    loop {
        let range = KeyRange { start, end: "1".into() };
        let page = store.scan(Scan::new(range, SCAN_ROWS_MAX)).await.unwrap();
        assert!(page.rows.iter().all(|row| row.value.bytes == value));
        pages += 1;
        found += page.rows.len();
        if !page.more {
            break;
        }
        start = [page.rows.last().unwrap().key.as_ref(), b"\0"].concat().into();
    }
    assert_eq!(found, count);
    assert!(pages >= 3, "{pages} pages");
}

pub(super) async fn a_check_that_does_not_hold_leaves_everything_as_it_was(store: Shared) {
    store.commit(Transaction::new().put("a", "1").add("n", 1, None)).await.unwrap();
    let read = store.get("a".into()).await.unwrap();
    let change = || Transaction::new().put("b", "new").delete("a").add("n", 1, None);
    for (transaction, key) in
        [(change().check("a", None), "a"), (change().check("a", read.as_ref()).check("c", read.as_ref()), "c")]
    {
        let refused = store.commit(transaction).await;
        assert!(matches!(&refused, Err(KvError::Conflict { key: found }) if found == key), "{refused:?}");
        assert_eq!(store.get("a".into()).await.unwrap(), read);
        assert_eq!(store.get("b".into()).await.unwrap(), None);
        assert_eq!(counter(&*store, "n").await, 1);
    }
    store.commit(change().check("a", read.as_ref()).check("c", None)).await.unwrap();
    assert_eq!(counter(&*store, "n").await, 2);
    // A row that was deleted and written anew is another than the one that was read.
    store.commit(Transaction::new().put("a", "1")).await.unwrap();
    let refused = store.commit(Transaction::new().check("a", read.as_ref()).put("d", "")).await;
    assert!(matches!(refused, Err(KvError::Conflict { .. })), "{refused:?}");
    // A check alone is a transaction, too.
    assert!(store.commit(Transaction::new().check("d", None)).await.is_ok());
    assert!(matches!(store.commit(Transaction::new().check("a", None)).await, Err(KvError::Conflict { .. })));
}

pub(super) async fn versions_grow(store: Shared) {
    let mut last = 0;
    for number in 0..10 {
        let version = store.commit(Transaction::new().put("a", format!("{number}"))).await.unwrap();
        assert!(version > last, "{version} after {last}");
        assert_eq!(store.get("a".into()).await.unwrap().unwrap().version, version);
        last = version;
    }
}

pub(super) async fn a_counter_keeps_its_bound(store: Shared) {
    store.commit(Transaction::new().add("n", 7, Some(10)).add("m", -3, None)).await.unwrap();
    assert_eq!((counter(&*store, "n").await, counter(&*store, "m").await), (7, -3));
    let refused = store.commit(Transaction::new().put("a", "1").add("n", 4, Some(10))).await;
    assert!(matches!(refused, Err(KvError::Exceeded { number: 7, at_most: 10, .. })), "{refused:?}");
    assert_eq!(store.get("a".into()).await.unwrap(), None);
    store.commit(Transaction::new().put("a", "1").add("n", 3, Some(10))).await.unwrap();
    // What is above its bound, since the bound was lowered, may still shrink.
    store.commit(Transaction::new().add("n", -1, Some(5))).await.unwrap();
    assert_eq!(counter(&*store, "n").await, 9);
    let refused = store.commit(Transaction::new().add("a", 1, None)).await;
    assert!(matches!(refused, Err(KvError::Invalid(Invalid::NotACounter(_)))), "{refused:?}");
    let refused = store.commit(Transaction::new().add("n", i64::MAX, None)).await;
    assert!(matches!(refused, Err(KvError::Invalid(Invalid::CounterOverflow(_)))), "{refused:?}");
    assert_eq!(counter(&*store, "n").await, 9);
}

pub(super) async fn what_breaks_a_limit_is_refused_and_what_just_fits_is_not(store: Shared) {
    let key = |bytes: usize| Bytes::from(vec![b'k'; bytes]);
    let many = |count: usize, bytes: usize| {
        (0..count).fold(Transaction::new(), |all, number| all.put(format!("{number:04}"), vec![0; bytes]))
    };
    for fits in [
        Transaction::new().put(key(KEY_BYTES_MAX), vec![1; VALUE_BYTES_MAX]),
        many(TRANSACTION_OPERATIONS_MAX, 1),
        many(TRANSACTION_OPERATIONS_MAX, 5000),
        Transaction::new(),
    ] {
        store.commit(fits).await.unwrap();
    }
    assert_eq!(store.get(key(KEY_BYTES_MAX)).await.unwrap().unwrap().bytes.len(), VALUE_BYTES_MAX);
    for breaks in [
        Transaction::new().put(key(KEY_BYTES_MAX + 1), ""),
        Transaction::new().put("", "1"),
        Transaction::new().check("", None),
        Transaction::new().put("a", vec![1; VALUE_BYTES_MAX + 1]),
        Transaction::new().put("a", "1").delete("a"),
        many(TRANSACTION_OPERATIONS_MAX + 1, 1),
        many(9, VALUE_BYTES_MAX),
    ] {
        let refused = store.commit(breaks).await;
        assert!(matches!(refused, Err(KvError::Invalid(_))), "{refused:?}");
    }
    assert!(matches!(store.get(key(KEY_BYTES_MAX + 1)).await, Err(KvError::Invalid(Invalid::KeyBytes(_)))));
    let scan = Scan::new(KeyRange::all(), SCAN_ROWS_MAX + 1);
    assert!(matches!(store.scan(scan).await, Err(KvError::Invalid(Invalid::ScanRows(_)))));
    let reads = vec![Read::Get("a".into()); 101];
    assert!(matches!(store.read(reads).await, Err(KvError::Invalid(Invalid::Reads(101)))));
}
