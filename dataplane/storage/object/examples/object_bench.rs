//! What objects cost without a door in front: three chunkservers and the metadata's file in this process, over loopback and the disk
//! of the temporary folder; three copies, two of them durable before a write is acknowledged.
//!
//! Usage: `object_bench [seconds a row]`.

#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use eddy_object::Listing;
use eddy_storage_testing::{Cluster, random_bytes};

/// Any failure ends the run with its sentence: a figure of a run that failed is none.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const LARGE_BYTES: usize = 512 * 1024 * 1024;
const LISTED: usize = 1000;

#[tokio::main]
async fn main() -> Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |seconds| seconds.parse())?;
    let cluster = Arc::new(Cluster::start(3).await);
    large(&cluster).await?;
    for (size, name) in [(4096, "4 KB"), (155_000, "155 KB")] {
        let data = random_bytes(1, size);
        for writers in [1, 16, 64] {
            let put = measure(cluster.clone(), writers, seconds, {
                let (data, next) = (data.clone(), Arc::new(AtomicU64::new(0)));
                move |cluster| {
                    let (data, number) = (data.clone(), next.fetch_add(1, Ordering::Relaxed));
                    async move { Ok(cluster.put(&format!("{}/{number:08}", data.len()), &data).await.map(drop)?) }
                }
            });
            report(&format!("PUT {name}, {writers} at once"), put.await?);
        }
        for readers in [1, 16, 64] {
            let get = measure(cluster.clone(), readers, seconds, move |cluster| async move {
                let key = format!("{size}/{:08}", fastrand::u64(0..100));
                whole(cluster.get(&key).await?.len(), size)
            });
            report(&format!("GET {name}, {readers} at once"), get.await?);
        }
    }
    listing(&cluster).await
}

async fn large(cluster: &Cluster) -> Result<()> {
    let data = random_bytes(2, LARGE_BYTES);
    let rate = |started: Instant| LARGE_BYTES as f64 / 1e6 / started.elapsed().as_secs_f64();
    let started = Instant::now();
    cluster.put("large", &data).await?;
    println!("PUT of {} MB: {:.0} MB/s", LARGE_BYTES / 1_000_000, rate(started));
    let row = cluster.metadata().object(cluster.namespace, "large").await?;
    let started = Instant::now();
    let mut download = cluster.objects.download(&row, 0, row.bytes)?;
    let mut bytes = 0;
    while let Some(block) = download.next().await? {
        bytes += block.len();
    }
    whole(bytes, LARGE_BYTES)?;
    println!("GET of it, from memory: {:.0} MB/s", rate(started));
    Ok(())
}

async fn listing(cluster: &Cluster) -> Result<()> {
    let (started, mut count, mut after) = (Instant::now(), 0, String::new());
    loop {
        let listing = Listing { after, limit: LISTED, ..Listing::default() };
        let page = cluster.metadata().list(cluster.namespace, &listing).await?;
        count += page.entries.len();
        match page.entries.last() {
            Some(last) if page.more => after = last.name().to_owned(),
            _ => break,
        }
    }
    println!("listing {count} keys in pages of {LISTED}: {:.0}/s", count as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

/// How many a second, and the 99th percentile.
async fn measure<A>(
    cluster: Arc<Cluster>,
    tasks: usize,
    seconds: u64,
    act: impl Fn(Arc<Cluster>) -> A + Clone + Send + 'static,
) -> Result<(f64, Duration)>
where
    A: Future<Output = Result<()>> + Send,
{
    let started = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (cluster, act) = (cluster.clone(), act.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while started.elapsed() < Duration::from_secs(seconds) {
                    let begun = Instant::now();
                    act(cluster.clone()).await?;
                    times.push(begun.elapsed());
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in running {
        times.extend(task.await??);
    }
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).copied().ok_or("nothing was measured: more seconds are needed")?;
    Ok((times.len() as f64 / started.elapsed().as_secs_f64(), p99))
}

/// Whether all bytes came.
fn whole(came: usize, written: usize) -> Result<()> {
    if came == written { Ok(()) } else { Err(format!("{came} of {written} bytes came").into()) }
}

fn report(what: &str, (rate, p99): (f64, Duration)) {
    println!("{what}: {rate:.0}/s, p99 {:.1} ms", p99.as_secs_f64() * 1e3);
}
