//! What many callers see at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::future::join_all;

use super::Shared;
use super::single::counter;
use eddy_kv::model::{decode_counter, encode_counter};
use eddy_kv::{KvError, Read, ReadResult, Store, Transaction, Value};

const ACCOUNTS: usize = 8;
const START: i64 = 100;

fn account(number: usize) -> Bytes {
    format!("account/{number}").into()
}

/// Makes accounts that hold [`START`] each.
pub(super) async fn open_accounts(store: &dyn Store) {
    let opened = (0..ACCOUNTS).fold(Transaction::new(), |all, number| all.put(account(number), encode_counter(START).to_vec()));
    store.commit(opened).await.unwrap();
}

/// Moves money from one account to another until it has worked this many times.
pub(super) async fn transfer(store: Shared, seed: u64, times: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut done = 0;
    while done < times {
        let from = random.usize(0..ACCOUNTS);
        let to = (from + random.usize(1..ACCOUNTS)) % ACCOUNTS;
        let before = values(store.read(vec![Read::Get(account(from)), Read::Get(account(to))]).await.unwrap());
        let amount = random.i64(1..10);
        let moved = |value: &Value, delta| encode_counter(decode_counter(b"", &value.bytes).unwrap() + delta).to_vec();
        let transaction = Transaction::new()
            .check(account(from), Some(&before[0]))
            .check(account(to), Some(&before[1]))
            .put(account(from), moved(&before[0], -amount))
            .put(account(to), moved(&before[1], amount));
        match store.commit(transaction).await {
            Ok(_) => done += 1,
            Err(KvError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn values(results: Vec<ReadResult>) -> Vec<Value> {
    let value = |result| if let ReadResult::Value(Some(value)) = result { value } else { panic!("{result:?}") };
    results.into_iter().map(value).collect()
}

/// What all accounts hold together.
pub(super) async fn total(store: &dyn Store) -> i64 {
    let reads = (0..ACCOUNTS).map(|number| Read::Get(account(number))).collect();
    values(store.read(reads).await.unwrap()).iter().map(|value| decode_counter(b"", &value.bytes).unwrap()).sum()
}

/// What all accounts hold together at any time.
pub(super) const TOTAL: i64 = START * ACCOUNTS as i64;

pub(super) async fn a_batch_of_reads_sees_one_version(store: Shared) {
    open_accounts(&*store).await;
    let ended = Arc::new(AtomicBool::new(false));
    let reader = {
        let (store, ended) = (store.clone(), ended.clone());
        tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                assert_eq!(total(&*store).await, TOTAL);
            }
        })
    };
    let writers = (0..8).map(|seed| tokio::spawn(transfer(store.clone(), seed, 20)));
    join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    ended.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    assert_eq!(total(&*store).await, TOTAL);
}

pub(super) async fn of_writers_who_read_the_same_one_wins(store: Shared) {
    let increment = |store: Shared| async move {
        let mut done = 0;
        while done < 20 {
            let read = store.get("n".into()).await.unwrap();
            let number = read.as_ref().map_or(0, |value| decode_counter(b"n", &value.bytes).unwrap());
            let next = Transaction::new().check("n", read.as_ref()).put("n", encode_counter(number + 1).to_vec());
            match store.commit(next).await {
                Ok(_) => done += 1,
                Err(KvError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let writers = (0..8).map(|_| tokio::spawn(increment(store.clone())));
    join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    assert_eq!(counter(&*store, "n").await, 160);
}

pub(super) async fn adds_do_not_get_lost(store: Shared) {
    let writers = (0..64).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.commit(Transaction::new().add("n", number, None).add("m", -1, None)).await })
    });
    join_all(writers).await.into_iter().for_each(|writer| assert!(writer.unwrap().is_ok()));
    assert_eq!((counter(&*store, "n").await, counter(&*store, "m").await), ((0..64).sum(), -64));
}

pub(super) async fn a_bound_holds_under_contention(store: Shared) {
    let writers = (0..64).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let claim = Transaction::new().put(format!("claim/{number}"), "").add("claims", 1, Some(40));
            match store.commit(claim).await {
                Ok(_) => 1,
                Err(KvError::Exceeded { .. }) => 0,
                Err(error) => panic!("{error}"),
            }
        })
    });
    let granted: i64 = join_all(writers).await.into_iter().map(|writer| writer.unwrap()).sum();
    let page = store.scan(eddy_kv::Scan::new(eddy_kv::KeyRange::prefix("claim/"), 100)).await.unwrap();
    assert_eq!((granted, page.rows.len(), counter(&*store, "claims").await), (40, 40, 40));
}

pub(super) async fn what_was_acknowledged_is_read_by_everyone(store: Shared) {
    let writers = (0..16).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let key = Bytes::from(format!("{number}"));
            for round in 0..10 {
                let written = store.commit(Transaction::new().put(key.clone(), format!("{round}"))).await.unwrap();
                let reader = store.clone();
                let wanted = key.clone();
                let read = tokio::spawn(async move { reader.get(wanted).await }).await.unwrap().unwrap().unwrap();
                assert_eq!((read.version, read.bytes.as_ref()), (written, format!("{round}").as_bytes()));
            }
        })
    });
    join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
}
