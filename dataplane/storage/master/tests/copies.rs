//! How many copies of what there are, and which are made first, on real chunkservers.
#![allow(clippy::unwrap_used)]

mod heal;

use std::num::NonZeroU64;
use std::time::Duration;

use eddy_object::schema::{ChunkRow, ETag, NamespaceSettings, PieceRow, UNSETTLED, configuration_key, decode};
use eddy_object::{Attributes, Completion, Memory, Objects, Precondition, WantedPart};
use eddy_storage_master::{Master, MasterOptions};
use eddy_storage_testing::{Cluster, SPACE, random_bytes, until};

use crate::heal::{at_once, check_copies, collect_all, heal};

const LONG: Duration = Duration::from_secs(60);

fn master(cluster: &Cluster) -> Master {
    Master::new(cluster.objects.clone(), cluster.client(), at_once())
}

async fn put(objects: &Objects, space: &str, key: &str, data: bytes::Bytes) -> u64 {
    let mut upload = objects.upload(space, Some(data.len() as u64)).await.unwrap();
    upload.write(data).await.unwrap();
    let row = upload.finish(key, Attributes::default(), &Precondition::None).await.unwrap();
    row.contents.needles()[0].chunk
}

/// Puts an object into a chunk that it shares with none that others put.
async fn put_apart(cluster: &Cluster, space: &str, key: &str, data: bytes::Bytes) -> u64 {
    let objects = Objects::open(cluster.metadata().clone(), cluster.client(), Memory::default()).await.unwrap();
    put(&objects, space, key, data).await
}

async fn row_of(cluster: &Cluster, chunk: u64) -> ChunkRow {
    cluster.metadata().chunk(chunk).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_namespace_has_the_copies_that_it_asks_for_and_gets_them_again() {
    for copies in [1, 2, 5] {
        let mut cluster = Cluster::start(6).await;
        let settings = NamespaceSettings { copies, ..NamespaceSettings::default() };
        let space = cluster.metadata().create_namespace("asked", settings).await.unwrap();
        let data = random_bytes(1, 3_000_000);
        let chunk = put_apart(&cluster, "asked", "key", data.clone()).await;
        let master = master(&cluster);
        heal(&cluster, &master).await;
        let row = row_of(&cluster, chunk).await;
        assert_eq!((row.replicas.len(), row.copies), (usize::from(copies), copies));
        if copies > 1 {
            cluster.stop(cluster.place_of(row.replicas[1].server)).await;
            assert_eq!(master.note_lost_servers().await.unwrap(), 1);
            assert_eq!(master.repair().await.unwrap().copies, 1);
            heal(&cluster, &master).await;
        }
        check_copies(&cluster, usize::from(copies)).await;
        let row = cluster.metadata().object(space.id, "key").await.unwrap();
        assert!(cluster.read(&row, 0, row.bytes).await.unwrap() == data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_copies_is_soon_that_of_what_is_there_too() {
    let cluster = Cluster::start(5).await;
    let (small, large) = (random_bytes(1, 50_000), random_bytes(2, 9_000_000));
    let all = async |copies: usize| {
        check_copies(&cluster, copies).await;
        assert!(cluster.get("small").await.unwrap() == small);
        assert!(cluster.get("large").await.unwrap() == large);
        cluster.check().await;
    };
    let master = master(&cluster);
    for (key, data) in [("small", &small), ("large", &large)] {
        put(&cluster.objects, SPACE, key, data.clone()).await;
    }
    let is_unsettled = async || cluster.metadata().configuration(cluster.namespace, UNSETTLED).await.unwrap().is_some();
    assert_eq!(master.tier(LONG, LONG).await.unwrap().recopied, 0);
    assert!(!is_unsettled().await);
    for copies in [5, 1, 2] {
        cluster.metadata().change_namespace(SPACE, |settings| settings.copies = copies).await.unwrap();
        let before = cluster.rows(b"c").await.len();
        let nothing = master.tier(LONG, Duration::ZERO).await.unwrap();
        assert!(nothing.recopied == 0 && nothing.left > 0 && is_unsettled().await, "no time: {nothing:?}");
        let tiered = master.tier(LONG, LONG).await.unwrap();
        assert_eq!((tiered.recopied, tiered.left, tiered.bytes), (nothing.left, 0, 9_050_000));
        assert!(!is_unsettled().await);
        assert!(cluster.rows(b"c").await.len() > before);
        heal(&cluster, &master).await;
        collect_all(&cluster, &master).await;
        all(usize::from(copies)).await;
        assert_eq!(master.tier(LONG, LONG).await.unwrap().recopied, 0);
    }
    // Of more than there are servers there are as many as can be, and it is said that some are missing.
    cluster.metadata().change_namespace(SPACE, |settings| settings.copies = 9).await.unwrap();
    assert!(master.tier(LONG, LONG).await.unwrap().recopied > 0);
    let repaired = master.repair().await.unwrap();
    assert!(repaired.waiting > 0 && repaired.unreadable.is_empty(), "{repaired:?}");
    collect_all(&cluster, &master).await;
    all(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_being_written_when_the_number_of_copies_changed_gets_as_many_later() {
    let cluster = Cluster::start(5).await;
    let data = random_bytes(1, 3_000_000);
    let mut upload = cluster.objects.upload(SPACE, Some(3_000_000)).await.unwrap();
    upload.write(data.clone()).await.unwrap();
    cluster.metadata().change_namespace(SPACE, |settings| settings.copies = 5).await.unwrap();
    let options = MasterOptions { grace: Duration::from_secs(3600), ..at_once() };
    let patient = Master::new(cluster.objects.clone(), cluster.client(), options);
    assert_eq!(patient.tier(LONG, LONG).await.unwrap().recopied, 0);
    upload.finish("key", Attributes::default(), &Precondition::None).await.unwrap();
    assert_eq!(patient.tier(LONG, LONG).await.unwrap().recopied, 1);
    let row = cluster.metadata().object(cluster.namespace, "key").await.unwrap();
    assert_eq!(row_of(&cluster, row.contents.needles()[0].chunk).await.copies, 5);
    assert!(cluster.get("key").await.unwrap() == data);
}

/// All copies of all chunks are as many as the namespace asks for, once it is looked at so often.
async fn settle(cluster: &Cluster, master: &Master, copies: u8) {
    for _ in 0..2 {
        master.tier(LONG, LONG).await.unwrap();
    }
    heal(cluster, master).await;
    collect_all(cluster, master).await;
    for row in cluster.rows(b"c").await {
        let row: ChunkRow = decode(&row.value.bytes).unwrap();
        assert_eq!(row.copies, copies, "{row:?}");
    }
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_copies_is_also_that_of_parts_that_came_before_and_of_long_ones() {
    let cluster = Cluster::start(4).await;
    let (master, metadata) = (master(&cluster), cluster.metadata());
    // Without a length, a needle has 4 MiB: these are more than one row names.
    let (long, short) = (random_bytes(1, 40_000_000), random_bytes(2, 300_000));
    let upload = metadata.create_multipart(SPACE, "key", "owner", Attributes::default()).await.unwrap();
    for (number, data) in [(1, &long), (2, &short)] {
        let mut part = cluster.objects.upload(SPACE, None).await.unwrap();
        part.write(data.clone()).await.unwrap();
        let etag = ETag { digest: vec![number as u8], parts: 0 };
        part.finish_part("key", upload, number, Attributes { etag, ..Attributes::default() }).await.unwrap();
    }
    metadata.change_namespace(SPACE, |settings| settings.copies = 2).await.unwrap();
    settle(&cluster, &master, 2).await;
    let want = |number| WantedPart { number, digest: vec![number as u8], checksum: None };
    let completion = Completion { upload, wanted: &[want(1), want(2)], part_bytes_min: 0, precondition: &Precondition::None };
    let seal = |attributes: &Attributes, _: &[PieceRow]| Ok(attributes.clone());
    metadata.complete_multipart(SPACE, "key", completion, seal).await.unwrap();
    metadata.change_namespace(SPACE, |settings| settings.copies = 3).await.unwrap();
    settle(&cluster, &master, 3).await;
    assert!(cluster.get("key").await.unwrap() == [&long[..], &short].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_before_all_was_settled_and_comes_after_it_is_looked_at_too() {
    let cluster = Cluster::start(4).await;
    let master = master(&cluster);
    let is_unsettled = async || cluster.metadata().configuration(cluster.namespace, UNSETTLED).await.unwrap().is_some();
    let mut upload = cluster.objects.upload(SPACE, Some(2_000_000)).await.unwrap();
    upload.write(random_bytes(1, 1_500_000)).await.unwrap();
    cluster.metadata().change_namespace(SPACE, |settings| settings.copies = 2).await.unwrap();
    master.tier(LONG, LONG).await.unwrap();
    assert!(!is_unsettled().await);
    upload.write(random_bytes(2, 500_000)).await.unwrap();
    upload.finish("key", Attributes::default(), &Precondition::None).await.unwrap();
    assert!(is_unsettled().await);
    settle(&cluster, &master, 2).await;
    // What goes from where nobody has looked yet to where somebody has is not missed.
    cluster.metadata().change_namespace(SPACE, |settings| settings.copies = 3).await.unwrap();
    let noted = async || cluster.metadata().store().get(configuration_key(cluster.namespace, UNSETTLED)).await.unwrap();
    let before = noted().await;
    cluster.metadata().rename(SPACE, "key", "another", &Precondition::None).await.unwrap();
    assert_ne!(noted().await, before);
    settle(&cluster, &master, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_repair_ends_and_the_next_one_goes_on() {
    let mut cluster = Cluster::start(4).await;
    for key in 0..3 {
        put_apart(&cluster, SPACE, &key.to_string(), random_bytes(key, 1000)).await;
    }
    heal(&cluster, &master(&cluster)).await;
    let row = cluster.rows(b"c").await.into_iter().next().unwrap();
    let row: ChunkRow = decode(&row.value.bytes).unwrap();
    cluster.stop(cluster.place_of(row.replicas[0].server)).await;
    let hurried =
        Master::new(cluster.objects.clone(), cluster.client(), MasterOptions { repair_for: Duration::ZERO, ..at_once() });
    let noted = hurried.note_lost_servers().await.unwrap();
    let repaired = hurried.repair().await.unwrap();
    assert!(noted > 0 && (repaired.left, repaired.copies) == (noted, 0), "{repaired:?}");
    assert_eq!(repaired.under_replicated, noted);
    heal(&cluster, &master(&cluster)).await;
    check_copies(&cluster, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_the_fewest_copies_is_repaired_first_though_it_was_noted_last() {
    let cluster = Cluster::start(5).await;
    let mut chunks = Vec::new();
    for lost in [1, 2] {
        let chunk = put_apart(&cluster, SPACE, &lost.to_string(), random_bytes(lost, 1_500_000)).await;
        chunks.push((chunk, row_of(&cluster, chunk).await));
    }
    heal(&cluster, &master(&cluster)).await;
    for (lost, (chunk, row)) in (1..).zip(&chunks) {
        for replica in &row.replicas[..lost] {
            cluster.client().remove(cluster.address(cluster.place_of(replica.server)), replica.id(*chunk)).await.unwrap();
        }
        cluster.metadata().degrade(*chunk, &row.replicas[..lost]).await.unwrap();
    }
    // One at a time, and each takes more than a second.
    let options = MasterOptions { repairs_at_once: 1, repair_bytes_per_second: NonZeroU64::new(1_000_000), ..at_once() };
    let slow = Master::new(cluster.objects.clone(), cluster.client(), options);
    let mut first = Vec::new();
    let watch = until("one of them has changed", async || {
        first.clear();
        for (chunk, before) in &chunks {
            first.push(row_of(&cluster, *chunk).await.replicas != before.replicas);
        }
        first.contains(&true)
    });
    let (repaired, ()) = tokio::join!(slow.repair(), watch);
    assert_eq!((repaired.unwrap().copies, &first[..]), (3, &[false, true][..]));
    check_rows(&cluster).await;
}

/// No chunk has too few replicas by its row.
async fn check_rows(cluster: &Cluster) {
    for row in cluster.rows(b"c").await {
        let row: ChunkRow = decode(&row.value.bytes).unwrap();
        assert!(row.replicas.len() >= usize::from(row.copies), "{row:?}");
    }
}
