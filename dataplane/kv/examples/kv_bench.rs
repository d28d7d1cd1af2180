//! What the store does in a file, or as a replica over log and rows: durable transactions, look-ups, listing, memory, and
//! how soon it is back after kill -9.
//!
//! Usage: `kv_bench FOLDER [rows [file|replica|SERVERS]]`. FOLDER should be on the disk in question, not in memory;
//! SERVERS are the addresses of replicas in other processes, `host:port,host:port`.

#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eddy_kv::{Embedded, EmbeddedOptions, KeyRange, Remote, Replicated, ReplicatedOptions, Scan, Store, Transaction};
use eddy_rpc::TcpTransport;

/// Any failure ends the run with its sentence: a figure of a run that failed is none.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: kv_bench FOLDER [rows [file|replica|SERVERS]]";
const VALUE_BYTES: usize = 200;
const MEASURED: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or(USAGE)?);
    let rows: u64 = arguments.next().map_or(Ok(1_000_000), |rows| rows.parse()).map_err(|_| USAGE)?;
    if rows == 0 {
        return Err(USAGE.into());
    }
    let kind = arguments.next().unwrap_or("file".into());
    let path = folder.join("kv-bench");
    if arguments.next().as_deref() == Some("victim") {
        return write_forever(&kind, &path, rows).await;
    }
    let store = open(&kind, &path).await?;

    let started = Instant::now();
    for first in (0..rows).step_by(100) {
        let put = (first..rows.min(first + 100)).fold(Transaction::new(), |all, number| all.put(key(number), value()));
        store.commit(put).await?;
    }
    println!("{rows} rows of {VALUE_BYTES} bytes, 100 a transaction, one writer: {:.1} s", started.elapsed().as_secs_f64());
    let remote = kind.contains(':');
    if !remote {
        let bytes = std::fs::metadata(if kind == "file" { path.clone() } else { path.join("rows") })?.len();
        println!("file of rows: {:.0} bytes a row; memory: {} MB", bytes as f64 / rows as f64, resident_mb()?);
    }

    for writers in [1, 16, 64, 256] {
        let store = store.clone();
        let (count, p99) = measure(writers, move |mut random| {
            let store = store.clone();
            async move { Ok(store.commit(Transaction::new().put(key(random.u64(0..rows)), value())).await.map(drop)?) }
        })
        .await?;
        println!("durable transactions of one row, {writers} writers: {count:.0}/s, p99 {:.1} ms", p99.as_secs_f64() * 1e3);
    }
    for readers in [1, 16, 64, 256] {
        let store = store.clone();
        let (count, p99) = measure(readers, move |mut random| {
            let store = store.clone();
            async move { present(&*store, random.u64(0..rows)).await }
        })
        .await?;
        println!("look-ups, {readers} readers: {count:.0}/s, p99 {:.0} us", p99.as_secs_f64() * 1e6);
    }
    let started = Instant::now();
    let (mut listed, mut range) = (0, KeyRange::all());
    loop {
        let page = store.scan(Scan::new(range.clone(), 1000)).await?;
        listed += page.rows.len();
        let Some(last) = page.rows.last().filter(|_| page.more) else { break };
        range.start = [last.key.as_ref(), b"\0"].concat().into();
    }
    println!("listing in pages of 1000: {:.0} rows/s", listed as f64 / started.elapsed().as_secs_f64());
    drop(store);
    if remote {
        return Ok(());
    }
    // A replica ends what runs in the background before its files are free.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let mut victim = Command::new(std::env::current_exe()?)
        .args([folder.as_os_str(), rows.to_string().as_ref(), kind.as_ref(), "victim".as_ref()])
        .stdout(Stdio::null())
        .spawn()?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    victim.kill()?;
    victim.wait()?;
    let started = Instant::now();
    let store = open(&kind, &path).await?;
    present(&*store, 0).await?;
    println!("after kill -9: open and the first look-up in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// Looks up a row that was written.
async fn present(store: &dyn Store, number: u64) -> Result<()> {
    store.get(key(number)).await?.map(drop).ok_or_else(|| format!("row {number} was written and is not there").into())
}

async fn open(kind: &str, path: &Path) -> Result<Arc<dyn Store>> {
    Ok(match kind {
        "file" => Arc::new(Embedded::open(&EmbeddedOptions::new(path))?),
        "replica" => Arc::new(Replicated::alone(replica(path)).await?),
        servers if servers.contains(':') => {
            let servers: Vec<String> = servers.split(',').map(str::to_owned).collect();
            Arc::new(Remote::new(Arc::new(TcpTransport::default()), &servers))
        }
        other => return Err(format!("there is no kind of store {other}; {USAGE}").into()),
    })
}

fn replica(path: &Path) -> ReplicatedOptions {
    ReplicatedOptions::alone(path, 64 * 1024 * 1024)
}

async fn write_forever(kind: &str, path: &Path, rows: u64) -> Result<()> {
    let store = open(kind, path).await?;
    let writers = (0..64).map(|_| {
        let store = store.clone();
        async move {
            loop {
                store.commit(Transaction::new().put(key(fastrand::u64(0..rows)), value())).await?;
            }
        }
    });
    futures::future::try_join_all(writers).await.map(|_: Vec<()>| ())
}

/// Calls a second, and the 99th percentile, of so many tasks that do nothing else.
async fn measure<F: Future<Output = Result<()>> + Send + 'static>(
    tasks: u64,
    call: impl Fn(fastrand::Rng) -> F + Clone + Send + 'static,
) -> Result<(f64, Duration)> {
    let started = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|seed| {
            let call = call.clone();
            tokio::spawn(async move {
                let (mut random, mut took) = (fastrand::Rng::with_seed(seed), Vec::new());
                while started.elapsed() < MEASURED {
                    let asked = Instant::now();
                    call(random.fork()).await?;
                    took.push(asked.elapsed());
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(took)
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in running {
        took.extend(task.await??);
    }
    took.sort_unstable();
    Ok((took.len() as f64 / started.elapsed().as_secs_f64(), took[took.len() * 99 / 100]))
}

fn key(number: u64) -> Bytes {
    format!("bucket/object-{number:010}").into()
}

fn value() -> Bytes {
    Bytes::from_static(&[7; VALUE_BYTES])
}

fn resident_mb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("/proc/self/status has no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}
