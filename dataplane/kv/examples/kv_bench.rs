//! What the store does in a file, or as a replica over log and rows: durable transactions, look-ups, listing, memory, and how soon it is back after kill -9.
//!
//! Usage: `kv_bench FOLDER [rows [file|replica]]`. FOLDER should be on the disk in question, not in memory.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eddy_kv::{Embedded, EmbeddedOptions, KeyRange, Replicated, ReplicatedOptions, Scan, Store, Transaction};

const VALUE_BYTES: usize = 200;
const MEASURED: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("usage: kv_bench FOLDER [rows]"));
    let rows: u64 = arguments.next().map_or(1_000_000, |rows| rows.parse().unwrap());
    let kind = arguments.next().unwrap_or("file".into());
    let path = folder.join("kv-bench");
    if arguments.next().as_deref() == Some("victim") {
        return write_forever(&kind, &path, rows).await;
    }
    let store = open(&kind, &path).await;

    let started = Instant::now();
    for first in (0..rows).step_by(100) {
        let put = (first..rows.min(first + 100)).fold(Transaction::new(), |all, number| all.put(key(number), value()));
        store.commit(put).await.unwrap();
    }
    println!("{rows} rows of {VALUE_BYTES} bytes, 100 a transaction, one writer: {:.1} s", started.elapsed().as_secs_f64());
    let bytes = std::fs::metadata(if kind == "file" { path.clone() } else { path.join("rows") }).unwrap().len();
    println!("file of rows: {:.0} bytes a row; memory: {} MB", bytes as f64 / rows as f64, resident_mb());

    for writers in [1, 16, 64, 256] {
        let store = store.clone();
        let (count, p99) = measure(writers, move |mut random| {
            let store = store.clone();
            async move { assert!(store.commit(Transaction::new().put(key(random.u64(0..rows)), value())).await.is_ok()) }
        })
        .await;
        println!("durable transactions of one row, {writers} writers: {count:.0}/s, p99 {:.1} ms", p99.as_secs_f64() * 1e3);
    }
    for readers in [1, 16] {
        let store = store.clone();
        let (count, p99) = measure(readers, move |mut random| {
            let store = store.clone();
            async move { assert!(store.get(key(random.u64(0..rows))).await.unwrap().is_some()) }
        })
        .await;
        println!("look-ups, {readers} readers: {count:.0}/s, p99 {:.0} us", p99.as_secs_f64() * 1e6);
    }
    let started = Instant::now();
    let (mut listed, mut range) = (0, KeyRange::all());
    loop {
        let page = store.scan(Scan::new(range.clone(), 1000)).await.unwrap();
        listed += page.rows.len();
        let Some(last) = page.rows.last().filter(|_| page.more) else { break };
        range.start = [last.key.as_ref(), b"\0"].concat().into();
    }
    println!("listing in pages of 1000: {:.0} rows/s", listed as f64 / started.elapsed().as_secs_f64());
    drop(store);
    // A replica ends what runs in the background before its files are free.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([folder.as_os_str(), rows.to_string().as_ref(), kind.as_ref(), "victim".as_ref()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    victim.kill().unwrap();
    victim.wait().unwrap();
    let started = Instant::now();
    let store = open(&kind, &path).await;
    assert!(store.get(key(0)).await.unwrap().is_some());
    println!("after kill -9: open and the first look-up in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
}

async fn open(kind: &str, path: &Path) -> Arc<dyn Store> {
    match kind {
        "file" => Arc::new(Embedded::open(&EmbeddedOptions::new(path)).unwrap()),
        "replica" => Arc::new(Replicated::alone(&replica(path)).await.unwrap()),
        other => panic!("there is no kind of store {other}"),
    }
}

fn replica(path: &Path) -> ReplicatedOptions {
    ReplicatedOptions { folder: path.to_owned(), id: 1, cache_bytes: 64 * 1024 * 1024 }
}

async fn write_forever(kind: &str, path: &Path, rows: u64) {
    let store = open(kind, path).await;
    let writers = (0..64).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                store.commit(Transaction::new().put(key(fastrand::u64(0..rows)), value())).await.unwrap();
            }
        })
    });
    futures::future::join_all(writers).await;
}

/// Calls a second, and the 99th percentile, of so many tasks that do nothing else.
async fn measure<F: Future<Output = ()> + Send + 'static>(
    tasks: u64,
    call: impl Fn(fastrand::Rng) -> F + Clone + Send + 'static,
) -> (f64, Duration) {
    let started = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|seed| {
            let call = call.clone();
            tokio::spawn(async move {
                let (mut random, mut took) = (fastrand::Rng::with_seed(seed), Vec::new());
                while started.elapsed() < MEASURED {
                    let asked = Instant::now();
                    call(random.fork()).await;
                    took.push(asked.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in running {
        took.extend(task.await.unwrap());
    }
    took.sort_unstable();
    (took.len() as f64 / started.elapsed().as_secs_f64(), took[took.len() * 99 / 100])
}

fn key(number: u64) -> Bytes {
    format!("bucket/object-{number:010}").into()
}

fn value() -> Bytes {
    Bytes::from_static(&[7; VALUE_BYTES])
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
