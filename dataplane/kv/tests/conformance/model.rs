//! A store beside a sorted map that is told the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;

use super::Shared;
use eddy_kv::model::{decode_counter, encode_counter};
use eddy_kv::{KeyRange, KvError, Row, Scan, Transaction, Value, Version, Write};

const SEEDS: u64 = 4;
const STEPS: usize = 100;

/// What the store should hold.
type Model = BTreeMap<Bytes, Value>;

pub(super) async fn a_random_history_is_that_of_a_sorted_map(store: Shared) {
    let mut model = Model::new();
    for seed in 0..SEEDS {
        let mut random = Rng::with_seed(seed);
        for step in 0..STEPS {
            let transaction = transaction(&mut random, &model);
            let wanted = apply(&model, &transaction);
            match (store.commit(transaction.clone()).await, wanted) {
                (Ok(version), Some(next)) => model = next(version),
                (Err(KvError::Conflict { .. } | KvError::Exceeded { .. }), None) => {}
                (found, wanted) => {
                    panic!("seed {seed}, step {step}: {transaction:?}: {found:?}, should happen: {}", wanted.is_some());
                }
            }
            let scan = scan(&mut random);
            let page = store.scan(scan.clone()).await.unwrap();
            let (rows, more) = rows(&model, &scan);
            assert_eq!((page.rows, page.more), (rows, more), "seed {seed}, step {step}: {scan:?}");
        }
    }
}

fn key(random: &mut Rng) -> Bytes {
    let bytes = random.usize(1..=3);
    (0..bytes).map(|_| *random.choice(b"\x00a/\xff").unwrap_or(&0)).collect::<Vec<u8>>().into()
}

/// Counters are apart from other rows.
fn counter_key(random: &mut Rng) -> Bytes {
    [b"n/", key(random).as_ref()].concat().into()
}

fn transaction(random: &mut Rng, model: &Model) -> Transaction {
    let mut transaction = Transaction::new();
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..random.usize(0..4) {
        let key = key(random);
        if !keys.insert(key.clone()) {
            continue;
        }
        let read = model.get(&key);
        // One check in eight is of what was never there.
        let stale = Value { bytes: Bytes::new(), version: Version::MAX >> 1 };
        transaction = if random.u8(0..8) == 0 { transaction.check(key, Some(&stale)) } else { transaction.check(key, read) };
    }
    keys.clear();
    for _ in 0..random.usize(0..6) {
        let counter = random.bool();
        let key = if counter { counter_key(random) } else { key(random) };
        if key.starts_with(b"n/") != counter || !keys.insert(key.clone()) {
            continue;
        }
        transaction = match random.u8(0..3) {
            0 => transaction.delete(key),
            _ if counter => transaction.add(key, random.i64(-5..10), random.bool().then_some(20)),
            _ => transaction.put(key, vec![random.u8(..); random.usize(0..20)]),
        };
    }
    transaction
}

/// What the model becomes, given the version; none if the transaction must fail.
fn apply(model: &Model, transaction: &Transaction) -> Option<impl FnOnce(Version) -> Model + use<>> {
    let holds = transaction.checks.iter().all(|check| model.get(&check.key).map(|value| value.version) == check.version);
    let mut changes = Vec::new();
    for write in &transaction.writes {
        changes.push(match write {
            Write::Put { key, value } => (key.clone(), Some(value.clone())),
            Write::Delete { key } => (key.clone(), None),
            Write::Add { key, delta, at_most } => {
                let sum = model.get(key).map_or(0, |value| decode_counter(key, &value.bytes).unwrap()) + delta;
                if *delta > 0 && at_most.is_some_and(|at_most| sum > at_most) {
                    return None;
                }
                (key.clone(), Some(Bytes::copy_from_slice(&encode_counter(sum))))
            }
        });
    }
    let mut next = model.clone();
    holds.then_some(move |version| {
        for (key, bytes) in changes {
            match bytes {
                Some(bytes) => drop(next.insert(key, Value { bytes, version })),
                None => drop(next.remove(&key)),
            }
        }
        next
    })
}

fn scan(random: &mut Rng) -> Scan {
    let range = match random.u8(0..3) {
        0 => KeyRange::all(),
        1 => KeyRange::prefix(key(random)),
        _ => KeyRange { start: key(random), end: key(random) },
    };
    Scan { range, limit: random.usize(0..20), reverse: random.bool() }
}

fn rows(model: &Model, scan: &Scan) -> (Vec<Row>, bool) {
    let within = model.iter().filter(|(key, _)| scan.range.start <= *key && *key < &scan.range.end);
    let mut rows: Vec<Row> = within.map(|(key, value)| Row { key: key.clone(), value: value.clone() }).collect();
    if scan.reverse {
        rows.reverse();
    }
    let more = rows.len() > scan.limit;
    rows.truncate(scan.limit);
    (rows, more)
}
