//! What the metadata of many objects cost: bytes on disk and in memory for each, the time of a restart, lookups, lists and changes.
//! The store is one replica, as the chart runs it by default.
//!
//! Usage: `metadata_at_scale [objects] [folder]`.

#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eddy_chunks::Extent;
use eddy_chunks::format::{HEAD_BYTES, stored_bytes};
use eddy_kv::{Replicated, ReplicatedOptions, Row, Store, Value};
use eddy_object::schema::{
    Attributes, ChunkForm, ChunkRow, Contents, ETag, NamespaceRow, NamespaceSettings, Needed, ObjectRow, ReferenceRow, Replica,
    Tier, chunk_key, encode, live_key, namespace_key, object_key, reference_key, usage_bytes_key, usage_objects_key,
};
use eddy_object::{Listing, Metadata, Precondition};
use futures::StreamExt;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const NAMESPACE: u64 = 7;
const BYTES: u32 = 4096;
const IN_A_CHUNK: u64 = 10_000;
const AT_ONCE: u64 = 64;
const TIME: Duration = Duration::from_secs(5);

fn key(number: u64) -> String {
    format!("photos/2026/{:04}/IMG_{number:010}.jpeg", number / 1000)
}

fn extent(number: u64) -> Extent {
    let place = (number % IN_A_CHUNK) as u32;
    Extent { chunk: number / IN_A_CHUNK + 1, offset: HEAD_BYTES + place * stored_bytes(BYTES), needle: number, bytes: BYTES }
}

fn row(key: Bytes, bytes: Bytes) -> Row {
    Row { key, value: Value { bytes, version: 0 } }
}

/// The rows of so many objects, in the order of keys: those of chunks, counters, the namespace, objects and references.
fn rows(objects: u64) -> impl Iterator<Item = Result<Row>> {
    let chunks = objects.div_ceil(IN_A_CHUNK);
    let chunk = |number: u64| {
        let replicas = (1..4).map(|server| Replica::draw(server, number)).collect();
        let (tier, form, at_ms) = (Tier::Hot, ChunkForm::Whole, 1_790_000_000_000);
        let chunk = ChunkRow { replicas, copies: 3, tier, form, touched_ms: at_ms, verified_ms: at_ms };
        Ok(row(chunk_key(number), encode(&chunk)?))
    };
    let live = |number: u64| {
        let bytes = i64::from(stored_bytes(BYTES)) * i64::try_from(IN_A_CHUNK)?;
        Ok(row(live_key(number), Bytes::copy_from_slice(&bytes.to_le_bytes())))
    };
    let namespace = || {
        let settings = NamespaceSettings { owner: "ada".into(), ..NamespaceSettings::default() };
        Ok(row(namespace_key("space"), encode(&NamespaceRow { id: NAMESPACE, created_ms: 1, settings })?))
    };
    let object = |number: u64| {
        let attributes = Attributes {
            etag: ETag { digest: number.to_be_bytes().repeat(2), parts: 0 },
            content_type: "image/jpeg".into(),
            ..Attributes::default()
        };
        let object = ObjectRow {
            upload: number + 1,
            order: 1_790_000_000_000_000 + number,
            unversioned: true,
            deleted: false,
            bytes: u64::from(BYTES),
            modified_ms: 1_790_000_000_000,
            attributes,
            contents: Contents::Needles(vec![extent(number)]),
        };
        Ok(row(object_key(NAMESPACE, &key(number)), encode(&object)?))
    };
    let reference = |number: u64| {
        let by = Needed::Object { namespace: NAMESPACE, key: key(number), order: 1_790_000_000_000_000 + number };
        let extent = extent(number);
        let reference = ReferenceRow { upload: number + 1, by, extent };
        Ok(row(reference_key(extent.chunk, extent.offset), encode(&reference)?))
    };
    let counter = move |key: Bytes, count: u64| Ok(row(key, Bytes::copy_from_slice(&count.to_le_bytes())));
    (1..=chunks)
        .map(chunk)
        .chain((1..=chunks).map(live))
        .chain(std::iter::once_with(namespace))
        .chain((0..objects).map(object))
        .chain((0..objects).map(reference))
        .chain([counter(usage_bytes_key(NAMESPACE), objects * u64::from(BYTES)), counter(usage_objects_key(NAMESPACE), objects)])
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or_default() / 1024.0
}

fn on_disk(folder: &PathBuf) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { on_disk(&entry.path())? } else { entry.metadata()?.blocks() * 512 };
    }
    Ok(bytes)
}

#[tokio::main]
async fn main() -> Result<()> {
    let objects: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |objects| objects.parse())?;
    let folder = tempfile::tempdir_in(std::env::args().nth(2).map_or_else(std::env::temp_dir, PathBuf::from))?;
    let path = folder.path().join("kv");
    let options = ReplicatedOptions::alone(&path, 128 * 1024 * 1024);
    let before_mb = resident_mb();
    let store = Replicated::alone(options.clone()).await?;
    let start = Instant::now();
    let mut all = rows(objects);
    let batches = std::iter::from_fn(|| {
        let batch: Result<Vec<Row>> = all.by_ref().take(2000).collect();
        let broken = |error: Box<dyn Error + Send + Sync>| eddy_kv::KvError::Broken { reason: error.to_string() };
        batch.map_err(broken).map(|batch| Some(batch).filter(|batch| !batch.is_empty())).transpose()
    });
    store.import(futures::stream::iter(batches).boxed()).await?;
    println!("{objects} objects restored in {:.1} s", start.elapsed().as_secs_f64());
    store.close().await;
    drop(store);
    let start = Instant::now();
    let store = Arc::new(Replicated::alone(options.clone()).await?);
    println!("opened in {:.2} s", start.elapsed().as_secs_f64());
    let metadata = Metadata::new(store.clone());
    lookups(&metadata, objects).await?;
    listing(&metadata).await?;
    changes(&metadata, objects).await?;
    println!("resident: {:.0} MB, of which {before_mb:.0} MB before", resident_mb());
    println!("on disk, with the log: {:.0} bytes an object", on_disk(&path)? as f64 / objects as f64);
    let rows = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path.join("rows"))?) * 512;
    println!("rows alone: {:.0} bytes an object", rows as f64 / objects as f64);
    let start = Instant::now();
    drop(metadata);
    store.close().await;
    drop(store);
    let store = Replicated::alone(options).await?;
    println!("closed and opened again in {:.2} s", start.elapsed().as_secs_f64());
    store.close().await;
    Ok(())
}

/// Runs the same again and again, many at once; how often a second.
async fn rate(metadata: &Metadata, work: impl AsyncFn(Metadata, u64) -> Result<u64>) -> Result<f64> {
    let start = Instant::now();
    let all = (0..AT_ONCE).map(async |task| {
        let mut done = 0;
        for round in 0.. {
            if start.elapsed() > TIME {
                break;
            }
            done += work(metadata.clone(), round * AT_ONCE + task).await?;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(done)
    });
    let done: u64 = futures::future::try_join_all(all).await?.into_iter().sum();
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

async fn lookups(metadata: &Metadata, objects: u64) -> Result<()> {
    let lookup = async |metadata: Metadata, _| {
        metadata.object(NAMESPACE, &key(fastrand::u64(..objects))).await?;
        Ok(1)
    };
    println!("lookups at random: {:.0}/s", rate(metadata, lookup).await?);
    Ok(())
}

async fn listing(metadata: &Metadata) -> Result<()> {
    let (start, mut listed, mut after) = (Instant::now(), 0, String::new());
    while start.elapsed() < TIME {
        let page = metadata.list(NAMESPACE, &Listing { after, limit: 1000, ..Listing::default() }).await?;
        listed += page.entries.len();
        let Some(eddy_object::Listed::Object(last, _)) = page.entries.last().filter(|_| page.more) else { break };
        after = last.clone();
    }
    println!("listed: {:.0} keys/s", listed as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

async fn changes(metadata: &Metadata, objects: u64) -> Result<()> {
    let delete = async |metadata: Metadata, number: u64| {
        metadata.delete("space", &key(number * 7919 % objects), &Precondition::None).await.map_or(Ok(0), |_| Ok(1))
    };
    println!("deletions, durable: {:.0}/s", rate(metadata, delete).await?);
    Ok(())
}
