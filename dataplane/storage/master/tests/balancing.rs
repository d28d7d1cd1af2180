//! Servers that are emptied, added and filled, on real chunkservers.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eddy_object::schema::{ChunkRow, Replica, chunk_key, decode, encode};
use eddy_object::{Attributes, Memory, ObjectError, Objects, Precondition, Servers};
use eddy_storage_master::{Fresh, Master, MasterOptions, Survey, plan_moves};
use eddy_storage_testing::{Cluster, SPACE, put, random_bytes};

const LONG: Duration = Duration::from_secs(60);

fn options() -> MasterOptions {
    MasterOptions { grace: Duration::ZERO, patience: Duration::ZERO, settle: Duration::ZERO, ..MasterOptions::default() }
}

fn master(cluster: &Cluster, options: MasterOptions) -> Master {
    Master::new(cluster.objects.clone(), cluster.client(), options)
}

async fn survey(cluster: &Cluster) -> Survey {
    Survey::take(cluster.metadata(), &cluster.client(), &Servers::new(), Fresh::NEVER).await.unwrap()
}

/// Objects that each have a chunk of their own.
async fn fill(cluster: &Cluster, objects: usize, bytes: usize) -> BTreeMap<String, Bytes> {
    let mut all = BTreeMap::new();
    for number in 0..objects {
        let (key, data) = (number.to_string(), random_bytes(number as u64, bytes));
        cluster.put(&key, &data).await.unwrap();
        all.insert(key, data);
    }
    all
}

async fn check(cluster: &Cluster, objects: &BTreeMap<String, Bytes>) {
    for (key, data) in objects {
        assert!(cluster.get(key).await.unwrap() == *data, "{key}");
    }
    cluster.check().await;
}

/// Repairs until nothing is noted any more; all copies that were made.
async fn settle(cluster: &Cluster, master: &Master) -> usize {
    let mut copies = 0;
    while !cluster.rows(b"d").await.is_empty() {
        copies += master.repair().await.unwrap().copies;
    }
    copies
}

const BIG: usize = 9 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_emptied_gives_all_it_has_and_gets_nothing_while_objects_are_written_and_read() {
    let cluster = Cluster::start(4).await;
    let mut objects = fill(&cluster, 8, BIG).await;
    cluster.put("small", &random_bytes(77, 1000)).await.unwrap();
    let shared = cluster.metadata().object(cluster.namespace, "small").await.unwrap().contents.needles()[0].chunk;
    let leaving = cluster.metadata().chunk(shared).await.unwrap().unwrap().replicas[0].server;
    let at = cluster.place_of(leaving);
    let master = master(&cluster, options());
    assert!(survey(&cluster).await.counts[&leaving] > 0);
    cluster.metadata().drain_server(leaving).await.unwrap();
    // The door learns of it when it next asks; what it writes until then is moved like all else.
    let late = random_bytes(99, BIG);
    cluster.put("late", &late).await.unwrap();
    objects.insert("late".into(), late);
    for round in 0.. {
        let balanced = master.balance(100, LONG).await.unwrap();
        assert_eq!(settle(&cluster, &master).await, 0, "each move made a whole copy");
        if balanced.draining == 0 {
            break;
        }
        assert!(balanced.moved > 0 && balanced.stuck == 0 && round < 10, "{balanced:?}");
        check(&cluster, &objects).await;
    }
    assert_eq!(survey(&cluster).await.counts.get(&leaving), None);
    for row in cluster.rows(b"c").await {
        assert_eq!(decode::<ChunkRow>(&row.value.bytes).unwrap().replicas.len(), 3);
    }
    eddy_storage_testing::until("the door knows", async || {
        cluster.put("probe", &random_bytes(5, BIG)).await.unwrap();
        let probe = cluster.metadata().object(cluster.namespace, "probe").await.unwrap();
        let chunk = probe.contents.needles()[0].chunk;
        !cluster.metadata().chunk(chunk).await.unwrap().unwrap().is_on(leaving)
    })
    .await;
    // The chunk that small ones shared is written to no more, either: each that came to it there would be missing elsewhere.
    eddy_storage_testing::until("small ones go elsewhere, too", async || {
        settle(&cluster, &master).await;
        cluster.put("small probe", &random_bytes(6, 1000)).await.unwrap();
        cluster.rows(b"d").await.is_empty()
    })
    .await;
    // What is left there is garbage.
    while master.collect().await.unwrap().files > 0 || !cluster.rows(b"g").await.is_empty() {}
    assert!(cluster.client().list(cluster.address(at)).await.unwrap().is_empty());
    check(&cluster, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_nowhere_to_give_to_keeps_what_it_has_and_that_is_told() {
    let cluster = Cluster::start(3).await;
    let objects = fill(&cluster, 3, BIG).await;
    let master = master(&cluster, options());
    cluster.metadata().drain_server(cluster.number(0)).await.unwrap();
    let balanced = master.balance(100, LONG).await.unwrap();
    assert_eq!((balanced.moved, balanced.draining, balanced.stuck), (0, 3, 3));
    check(&cluster, &objects).await;
    cluster.metadata().use_server(cluster.number(0)).await.unwrap();
    assert_eq!(master.balance(100, LONG).await.unwrap().draining, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_not_know_yet_is_not_acted_on() {
    let cluster = Cluster::start(4).await;
    fill(&cluster, 3, BIG).await;
    let leaving = cluster.number(0);
    cluster.metadata().drain_server(leaving).await.unwrap();
    let master = master(&cluster, MasterOptions { settle: Duration::from_secs(600), ..options() });
    assert_eq!(master.balance(100, LONG).await.unwrap().moved, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_is_used_at_once_until_all_disks_are_alike() {
    let mut cluster = Cluster::start_with_capacity(3, Some(300_000_000)).await;
    let objects = fill(&cluster, 20, BIG).await;
    cluster.add().await;
    let master = master(&cluster, options());
    let fills = async || {
        let disks = survey(&cluster).await.disks;
        disks.iter().map(|disk| disk.used_bytes * 100 / disk.total_bytes).collect::<Vec<_>>()
    };
    let spread = |fills: &[u64]| fills.iter().max().unwrap() - fills.iter().min().unwrap();
    let before = fills().await;
    assert!(spread(&before) > 50, "{before:?}");
    let balanced = master.balance(10, LONG).await.unwrap();
    assert!(balanced.moved > 0 && balanced.left == 0, "{balanced:?}");
    let after = fills().await;
    assert!(spread(&after) <= 10, "{after:?}");
    settle(&cluster, &master).await;
    assert_eq!(master.balance(10, LONG).await.unwrap().moved, 0, "what is about to be collected does not count");
    check(&cluster, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_changes_nothing_and_is_what_the_master_does_then() {
    let mut cluster = Cluster::start_with_capacity(3, Some(300_000_000)).await;
    fill(&cluster, 12, BIG).await;
    let new = cluster.add().await;
    let rows = async || cluster.rows(b"c").await.into_iter().map(|row| (row.key, row.value.bytes)).collect::<BTreeMap<_, _>>();
    let before = rows().await;
    let found = survey(&cluster).await;
    let planned = plan_moves(&found.disks, &found.chunks, 10, usize::MAX);
    assert!(!planned.moves.is_empty() && planned.stuck == 0);
    assert!(planned.moves.iter().all(|one| one.to == cluster.number(new)), "{:?}", planned.moves);
    assert!(rows().await == before);
    let balanced = master(&cluster, options()).balance(10, LONG).await.unwrap();
    assert_eq!((balanced.moved, balanced.left), (planned.moves.len(), 0));
    let mut wanted: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let servers = |bytes: &Bytes| decode::<ChunkRow>(bytes).unwrap().servers().collect::<Vec<_>>();
    for (key, value) in &before {
        wanted.insert(u64::from_be_bytes(key[1..].try_into().unwrap()), servers(value));
    }
    for one in &planned.moves {
        let of_chunk = wanted.get_mut(&one.chunk).unwrap();
        *of_chunk.iter_mut().find(|server| **server == one.from).unwrap() = one.to;
    }
    for (key, value) in rows().await {
        let (mut is, mut wanted) = (servers(&value), wanted.remove(&u64::from_be_bytes(key[1..].try_into().unwrap())).unwrap());
        is.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(is, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_take_the_time_that_they_are_given() {
    let cluster = Cluster::start(4).await;
    fill(&cluster, 4, BIG).await;
    // Four chunks of three copies on four servers: one has three at least.
    let counts = survey(&cluster).await.counts;
    let leaving = *counts.iter().max_by_key(|(_, count)| **count).unwrap().0;
    cluster.metadata().drain_server(leaving).await.unwrap();
    let pace = NonZeroU64::new(20 * 1024 * 1024);
    let master = master(&cluster, MasterOptions { move_bytes_per_second: pace, ..options() });
    let (start, balanced) = (Instant::now(), master.balance(100, LONG).await.unwrap());
    assert!(balanced.moved > 1, "{balanced:?}");
    // The first may begin at once.
    let least = Duration::from_secs_f64((balanced.moved - 1) as f64 * BIG as f64 / (20.0 * 1024.0 * 1024.0));
    assert!(start.elapsed() >= least, "{:?} of {least:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_does_not_go_from_one_who_took_what_somebody_came_to_need_meanwhile() {
    let cluster = Cluster::start(4).await;
    let mut objects = fill(&cluster, 1, BIG).await;
    let first: ChunkRow = decode(&cluster.rows(b"c").await[0].value.bytes).unwrap();
    let drain = async |server| cluster.metadata().drain_server(server).await.unwrap();
    drain(first.replicas[0].server).await;
    // What comes next waits for what was moved first.
    let pace = NonZeroU64::new(BIG as u64 / 4);
    let master = master(&cluster, MasterOptions { move_bytes_per_second: pace, ..options() });
    assert_eq!(master.balance(100, LONG).await.unwrap().moved, 1);
    settle(&cluster, &master).await;
    cluster.metadata().use_server(first.replicas[0].server).await.unwrap();

    // A door that does not know of the next one yet.
    let door = Objects::open(cluster.metadata().clone(), cluster.client(), Memory::default()).await.unwrap();
    let put = async |key: &str, data: &Bytes| put(&door, key, data).await.unwrap().contents.needles()[0].chunk;
    for key in ["before", "meanwhile"] {
        objects.insert(key.into(), random_bytes(key.len() as u64, 1000));
    }
    let chunk = put("before", &objects["before"]).await;
    let before = cluster.metadata().chunk(chunk).await.unwrap().unwrap();
    drain(before.replicas[0].server).await;
    let others: Vec<Bytes> = cluster.rows(b"g").await.into_iter().map(|row| row.key).collect();
    let (balanced, ()) = tokio::join!(master.balance(100, LONG), async {
        let is_being_made = |key: &Bytes| key[9..17] == chunk.to_be_bytes() && !others.contains(key);
        eddy_storage_testing::until("it is being copied", async || {
            cluster.rows(b"g").await.iter().any(|row| is_being_made(&row.key))
        })
        .await;
        assert_eq!(put("meanwhile", &objects["meanwhile"]).await, chunk);
    });
    balanced.unwrap();
    assert_eq!(cluster.metadata().chunk(chunk).await.unwrap().unwrap().replicas, before.replicas);
    while master.balance(100, LONG).await.unwrap().draining > 0 {
        settle(&cluster, &master).await;
    }
    assert!(!cluster.metadata().chunk(chunk).await.unwrap().unwrap().is_on(before.replicas[0].server));
    check(&cluster, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_is_repaired_before_it_goes() {
    let cluster = Cluster::start(4).await;
    let objects = fill(&cluster, 1, BIG).await;
    let row = cluster.metadata().object(cluster.namespace, "0").await.unwrap();
    let chunk = row.contents.needles()[0].chunk;
    let have = cluster.metadata().chunk(chunk).await.unwrap().unwrap();
    let at: Vec<usize> = (0..4).filter(|at| have.is_on(cluster.number(*at))).collect();
    for server in &at[..2] {
        cluster.flip(*server, chunk, 100_000);
    }
    let master = master(&cluster, options());
    cluster.metadata().drain_server(cluster.number(at[2])).await.unwrap();
    for round in 0.. {
        let balanced = master.balance(100, LONG).await.unwrap();
        master.repair().await.unwrap();
        if balanced.draining == 0 && cluster.rows(b"d").await.is_empty() {
            break;
        }
        assert!(round < 30, "{balanced:?}");
    }
    check(&cluster, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_with_a_server_outlives_the_master_that_first_missed_it() {
    let mut cluster = Cluster::start(4).await;
    fill(&cluster, 4, 1000).await;
    let row: ChunkRow = decode(&cluster.rows(b"c").await[0].value.bytes).unwrap();
    let gone = (0..4).find(|at| row.is_on(cluster.number(*at))).unwrap();
    cluster.stop(gone).await;
    let patient = MasterOptions { patience: Duration::from_secs(600), ..options() };
    assert_eq!(master(&cluster, patient).note_lost_servers().await.unwrap(), 0);
    let seen = cluster.metadata().aways().await.unwrap()[&cluster.number(gone)].since_ms;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let less_patient = MasterOptions { patience: Duration::from_millis(40), ..options() };
    assert!(master(&cluster, less_patient).note_lost_servers().await.unwrap() > 0, "it was seen before this one began");
    assert_eq!(cluster.metadata().aways().await.unwrap()[&cluster.number(gone)].since_ms, seen);
    cluster.start_again(gone).await;
    master(&cluster, patient).note_lost_servers().await.unwrap();
    assert!(cluster.metadata().aways().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_chunk_went_elsewhere_while_it_was_written_is_not_acknowledged() {
    let cluster = Cluster::start(4).await;
    cluster.put("first", &random_bytes(1, 1000)).await.unwrap();
    let chunk = cluster.metadata().object(cluster.namespace, "first").await.unwrap().contents.needles()[0].chunk;
    let mut upload = cluster.objects.upload(SPACE, Some(3)).await.unwrap();
    upload.write(Bytes::from_static(b"abc")).await.unwrap();
    let row = cluster.metadata().chunk(chunk).await.unwrap().unwrap();
    // Two were lost, or what they had was damaged, also where others are on the same servers.
    let remade = row.replicas.iter().enumerate().map(|(at, one)| if at == 0 { *one } else { Replica::draw(one.server, chunk) });
    let elsewhere = ChunkRow { replicas: remade.collect(), ..row };
    let put = eddy_kv::Transaction::new().put(chunk_key(chunk), encode(&elsewhere).unwrap());
    cluster.metadata().store().commit(put).await.unwrap();
    let refused = upload.finish("second", Attributes::default(), &Precondition::None).await;
    assert!(matches!(refused, Err(ObjectError::NoRoom(_))), "{refused:?}");
    assert!(matches!(cluster.get("second").await, Err(ObjectError::NoObject(_))));
    // The chunk takes no more.
    cluster.put("third", &random_bytes(3, 1000)).await.unwrap();
}
