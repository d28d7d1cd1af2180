//! How fast chunks are erasure coded, and how fast what is coded is read, with all servers and with two of six away: chunkservers and
//! the metadata's file in this process, over loopback and the disk of the temporary folder.
//!
//! Usage: `coding_bench [objects] [bytes of each]`.

#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::time::{Duration, Instant};

use eddy_object::schema::Tiering;
use eddy_storage_master::{Master, MasterOptions};
use eddy_storage_testing::{Cluster, SPACE, random_bytes};
use futures::StreamExt;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const READERS: usize = 16;
const SMALL_BYTES: u64 = 4096;
const SMALL_READS: usize = 20_000;
const LONG: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> Result<()> {
    let argument = |at, default| std::env::args().nth(at).map_or(Ok(default), |said: String| said.parse::<usize>());
    let (objects, bytes) = (argument(1, 16)?, argument(2, 60_000_000)?);
    let mut cluster = Cluster::start(6).await;
    let tiering = Tiering { coded: true, cold_after_days: None };
    cluster.metadata().change_namespace(SPACE, |settings| settings.tiering = tiering).await?;
    let data = random_bytes(1, bytes);
    for number in 0..objects {
        cluster.put(&number.to_string(), &data).await?;
    }
    let options = MasterOptions { grace: Duration::ZERO, patience: Duration::ZERO, ..MasterOptions::default() };
    let master = Master::new(cluster.objects.clone(), cluster.client(), options);
    read(&cluster, "whole copies", objects).await?;
    let start = Instant::now();
    let coded = master.code(LONG).await?;
    let seconds = start.elapsed().as_secs_f64();
    let (megabytes, made) = ((objects * bytes) as f64 / 1e6, coded.bytes as f64 / 1e6);
    println!(
        "{} chunks, {megabytes:.0} MB as {made:.0} MB of shards, written, read back and decoded in {seconds:.1} s: {:.0} MB/s",
        coded.chunks,
        megabytes / seconds
    );
    read(&cluster, "coded", objects).await?;
    for server in [0, 3] {
        cluster.stop(server).await;
    }
    read(&cluster, "coded, two of six away", objects).await
}

/// One after the other as a whole, then short pieces at random, many at once.
async fn read(cluster: &Cluster, what: &str, objects: usize) -> Result<()> {
    let (start, mut bytes) = (Instant::now(), 0);
    for number in 0..objects {
        bytes += cluster.get(&number.to_string()).await?.len();
    }
    let whole = bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    let reads = futures::stream::iter(0..SMALL_READS).map(|_| async move {
        let row = cluster.metadata().object(cluster.namespace, &fastrand::usize(..objects).to_string()).await?;
        let from = fastrand::u64(..row.bytes.saturating_sub(SMALL_BYTES).max(1));
        cluster.read(&row, from, row.bytes.min(from + SMALL_BYTES)).await
    });
    let mut reads = reads.buffer_unordered(READERS);
    while let Some(read) = reads.next().await {
        read?;
    }
    let short = SMALL_READS as f64 / start.elapsed().as_secs_f64();
    println!("{what}: {whole:.0} MB/s one after the other, {short:.0} reads of 4 KB a second by {READERS}");
    Ok(())
}
