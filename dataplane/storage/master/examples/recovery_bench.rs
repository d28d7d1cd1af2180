//! How fast what a lost server had is copied from the others, while objects are read: four chunkservers and the metadata's file in
//! this process, over loopback and the disk of the temporary folder, three copies.
//!
//! Usage: `recovery_bench [objects] [bytes of each] [readers]`.

#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use eddy_storage_master::{Master, MasterOptions};
use eddy_storage_testing::{Cluster, random_bytes};
use futures::StreamExt;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const WRITERS: usize = 16;
const ALONE_FOR: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
    let argument = |at, default| std::env::args().nth(at).map_or(Ok(default), |said: String| said.parse::<usize>());
    let (objects, bytes, readers_at_once) = (argument(1, 400)?, argument(2, 8_000_000)?, argument(3, 8)?);
    let mut cluster = Cluster::start(4).await;
    let data = random_bytes(1, bytes);
    let put = futures::stream::iter(0..objects).map(|number| {
        let (cluster, data) = (&cluster, &data);
        async move { cluster.put(&number.to_string(), data).await }
    });
    let put: Vec<_> = put.buffer_unordered(WRITERS).collect().await;
    for outcome in put {
        outcome?;
    }
    let options = MasterOptions { patience: Duration::ZERO, ..MasterOptions::default() };
    let master = Master::new(cluster.objects.clone(), cluster.client(), options);
    while master.repair().await?.healthy > 0 {}
    cluster.stop(0).await;
    let (reads, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let cluster = Arc::new(cluster);
    let readers: Vec<_> = (0..readers_at_once)
        .map(|_| {
            let (cluster, reads, ended) = (cluster.clone(), reads.clone(), ended.clone());
            tokio::spawn(async move {
                while !ended.load(Ordering::Relaxed) {
                    let key = fastrand::usize(..objects).to_string();
                    let row = cluster.metadata().object(cluster.namespace, &key).await?;
                    let start = fastrand::u64(..row.bytes.saturating_sub(155_000).max(1));
                    cluster.read(&row, start, row.bytes.min(start + 155_000)).await?;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, eddy_object::ObjectError>(())
            })
        })
        .collect();
    let rate = |before: u64, since: Instant| (reads.load(Ordering::Relaxed) - before) as f64 / since.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, start) = (reads.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(ALONE_FOR).await;
    println!("reads of 155 KB by {readers_at_once}, alone: {:.0}/s", rate(before, start));
    let (before, start) = (reads.load(Ordering::Relaxed), Instant::now());
    let noted = master.note_lost_servers().await?;
    let mut repaired = master.repair().await?;
    let copied = start.elapsed();
    println!("reads meanwhile: {:.0}/s", rate(before, start));
    println!(
        "{} of {noted} chunks, {:.0} MB, copied in {:.1} s: {:.0} MB/s",
        repaired.copies,
        repaired.bytes as f64 / 1e6,
        copied.as_secs_f64(),
        repaired.bytes as f64 / 1e6 / copied.as_secs_f64()
    );
    while repaired.copies > 0 || repaired.waiting > 0 {
        repaired = master.repair().await?;
    }
    println!("every copy read again and found whole after {:.1} s", start.elapsed().as_secs_f64());
    ended.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await??;
    }
    Ok(())
}
