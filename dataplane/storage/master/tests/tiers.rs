//! What is kept in less room, or on slower servers, on real chunkservers.
#![allow(clippy::unwrap_used)]

mod heal;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eddy_object::schema::{ChunkForm, ChunkRow, Class, Replica, ServerRow, Shards, Tier, Tiering, UNSETTLED, decode};
use eddy_object::{Memory, ObjectError, Objects, Precondition};
use eddy_storage_master::{Coded, Master, Tiered};
use eddy_storage_testing::{Cluster, Proxy, SPACE, random_bytes, until};

use crate::heal::{at_once, collect_all, heal};

const LONG: Duration = Duration::from_secs(60);
/// So long is a day here that nothing is cold, or so short that all is.
const LONG_DAY: Duration = Duration::from_secs(100_000);
const SHORT_DAY: Duration = Duration::from_millis(1);

fn master(cluster: &Cluster) -> Master {
    Master::new(cluster.objects.clone(), cluster.client(), at_once())
}

async fn set_tiering(cluster: &Cluster, coded: bool, cold_after_days: Option<u32>) {
    let tiering = Tiering { coded, cold_after_days };
    cluster.metadata().change_namespace(SPACE, |settings| settings.tiering = tiering).await.unwrap();
}

async fn make_slow(cluster: &Cluster, server: usize) {
    let (address, failure_domain) = (cluster.address(server).to_owned(), server.to_string());
    let row = ServerRow { address, failure_domain, class: Class::Slow };
    cluster.metadata().put_server(cluster.number(server), &row).await.unwrap();
}

/// Objects of all lengths: packed ones, one of several needles, and one whose needles have pieces of their own.
async fn fill(cluster: &Cluster) -> BTreeMap<String, Bytes> {
    let mut objects = BTreeMap::new();
    for (number, bytes) in [1, 4000, 65_536, 155_000, 1_000_001, 9_000_000, 70_000_000].into_iter().enumerate() {
        let (key, data) = (format!("{number}"), random_bytes(number as u64, bytes));
        cluster.put(&key, &data).await.unwrap();
        objects.insert(key, data);
    }
    let data = random_bytes(99, 45_000_000);
    cluster.put_in_pieces("long", &data, None, 100_000).await.unwrap();
    objects.insert("long".into(), data);
    objects
}

async fn check(cluster: &Cluster, objects: &BTreeMap<String, Bytes>) {
    for (key, data) in objects {
        assert!(cluster.get(key).await.unwrap() == *data, "{key}");
    }
    cluster.check().await;
}

async fn chunks(cluster: &Cluster) -> BTreeMap<u64, ChunkRow> {
    let rows = cluster.rows(b"c").await;
    rows.iter().map(|row| (u64::from_be_bytes(row.key[1..].try_into().unwrap()), decode(&row.value.bytes).unwrap())).collect()
}

/// All shards, and the chunks that they are.
async fn shards(cluster: &Cluster) -> Vec<(u64, Shards, Vec<Replica>)> {
    let shards = chunks(cluster).await.into_iter().filter_map(|(chunk, row)| match row.form {
        ChunkForm::Shards(shards) => Some((chunk, shards, row.replicas)),
        _ => None,
    });
    shards.collect()
}

async fn code_all(cluster: &Cluster, master: &Master) -> Coded {
    // Chunks that are written to while they are coded are coded next time.
    let coded = master.code(LONG).await.unwrap();
    assert_eq!((coded.left, coded.too_few_servers), (0, false), "{coded:?}");
    assert_eq!(heal(cluster, master).await, 0, "all shards were written");
    coded
}

async fn stored_bytes(cluster: &Cluster, servers: usize) -> u64 {
    let mut bytes = 0;
    for server in 0..servers {
        let listed = cluster.client().list(cluster.address(server)).await.unwrap_or_default();
        bytes += listed.iter().map(|(_, bytes)| bytes).sum::<u64>();
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_coded_is_read_with_two_of_six_away_takes_half_as_much_again_and_is_made_whole() {
    let mut cluster = Cluster::start(7).await;
    set_tiering(&cluster, true, None).await;
    let objects = fill(&cluster).await;
    let master = master(&cluster);
    let coded = code_all(&cluster, &master).await;
    assert!(coded.chunks >= 3, "{coded:?}");
    check(&cluster, &objects).await;
    collect_all(&cluster, &master).await;
    let bytes: u64 = objects.values().map(|data| data.len() as u64).sum();
    let stored = stored_bytes(&cluster, 7).await;
    assert!(stored < bytes * 151 / 100, "{stored} bytes for {bytes}");
    check(&cluster, &objects).await;
    // Ranges within, across blocks, and across shards.
    let row = cluster.metadata().object(cluster.namespace, "6").await.unwrap();
    for start in [0, 1, 65_530, 16_000_000, 33_000_000, 69_999_990] {
        let end = (start + 3_000_000).min(row.bytes);
        assert!(cluster.read(&row, start, end).await.unwrap() == objects["6"][start as usize..end as usize], "{start}");
    }
    // One that stalls is not waited for.
    let (_, _, replicas) = shards(&cluster).await.swap_remove(0);
    let stalls = cluster.place_of(replicas[1].server);
    let proxy = Proxy::stalling(cluster.address(stalls), 14).await;
    let objects_by_proxy = proxy.stand_before(&cluster, stalls).await;
    let (start, mut read) = (Instant::now(), Vec::new());
    let mut download = objects_by_proxy.download(&row, 0, 20_000_000).unwrap();
    while let Some(block) = download.next().await.unwrap() {
        read.extend_from_slice(&block);
    }
    assert!(read == objects["6"][..20_000_000] && proxy.held() > 0);
    assert!(start.elapsed() < Duration::from_secs(8), "each part of it was waited for: {:?}", start.elapsed());
    let back = ServerRow { address: cluster.address(stalls).to_owned(), failure_domain: stalls.to_string(), class: Class::Fast };
    cluster.metadata().put_server(cluster.number(stalls), &back).await.unwrap();
    let (first, second) = (cluster.place_of(replicas[0].server), cluster.place_of(replicas[3].server));
    for server in [first, second] {
        cluster.stop(server).await;
    }
    check(&cluster, &objects).await;
    // Five are left for six shards.
    assert!(master.note_lost_servers().await.unwrap() > 0);
    let waiting = master.repair().await.unwrap();
    assert!(waiting.waiting > 0 && waiting.unreadable.is_empty(), "{waiting:?}");
    cluster.start_again(second).await;
    assert!(heal(&cluster, &master).await + waiting.copies > 0);
    for (_, _, replicas) in shards(&cluster).await {
        assert!(replicas.iter().all(|replica| replica.server != cluster.number(first)), "it is lost, and there is another");
    }
    // Another two.
    let (_, _, replicas) = shards(&cluster).await.swap_remove(0);
    for replica in [replicas[1], replicas[5]] {
        let place = cluster.place_of(replica.server);
        cluster.stop(place).await;
    }
    check(&cluster, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_rots_is_not_noticed_by_readers_and_is_made_anew() {
    let cluster = Cluster::start(6).await;
    set_tiering(&cluster, true, None).await;
    let data = random_bytes(5, 9_000_000);
    cluster.put("key", &data).await.unwrap();
    let master = master(&cluster);
    code_all(&cluster, &master).await;
    collect_all(&cluster, &master).await;
    let (chunk, code, replicas) = shards(&cluster).await.swap_remove(0);
    // One that is read, and one that is not.
    for index in [1, 5] {
        cluster.flip(cluster.place_of(replicas[index].server), chunk, u64::from(code.shard_bytes()) / 2);
    }
    assert!(cluster.get("key").await.unwrap() == data);
    until("the reader says so", async || !cluster.rows(b"d").await.is_empty()).await;
    // Repair reads the others, too.
    assert_eq!(heal(&cluster, &master).await, 2);
    let (_, _, made) = shards(&cluster).await.swap_remove(0);
    assert!(made[1] != replicas[1] && made[5] != replicas[5] && made[0] == replicas[0], "{replicas:?} {made:?}");
    for (index, replica) in made.into_iter().enumerate() {
        let address = cluster.address(cluster.place_of(replica.server));
        let found = cluster.client().scan(address, replica.id(chunk)).await.unwrap();
        assert_eq!(found, [(code.extent(chunk, index), false)]);
    }
    assert!(cluster.get("key").await.unwrap() == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_of_a_coded_chunk_goes_and_what_stays_moves_together() {
    let cluster = Cluster::start(6).await;
    set_tiering(&cluster, true, None).await;
    let data: Vec<Bytes> = (0..10).map(|number| random_bytes(number, 500_000)).collect();
    for (number, data) in data.iter().enumerate() {
        cluster.put(&number.to_string(), data).await.unwrap();
    }
    let master = master(&cluster);
    assert_eq!(code_all(&cluster, &master).await.chunks, 1);
    for number in 1..10 {
        cluster.metadata().delete(SPACE, &number.to_string(), &Precondition::None).await.unwrap();
    }
    assert_eq!(master.compact(30).await.unwrap().needles, 1);
    while master.collect().await.unwrap().chunks == 0 {}
    assert!(shards(&cluster).await.is_empty() || master.collect().await.unwrap().chunks == 1);
    code_all(&cluster, &master).await;
    collect_all(&cluster, &master).await;
    assert_eq!(chunks(&cluster).await.len(), 2, "a chunk, and its shards");
    assert!(cluster.get("0").await.unwrap() == data[0]);
    cluster.metadata().delete(SPACE, "0", &Precondition::None).await.unwrap();
    while !chunks(&cluster).await.is_empty() {
        master.collect().await.unwrap();
    }
    collect_all(&cluster, &master).await;
    assert_eq!(stored_bytes(&cluster, 6).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_shards_is_emptied() {
    let mut cluster = Cluster::start(6).await;
    set_tiering(&cluster, true, None).await;
    let data = random_bytes(5, 9_000_000);
    cluster.put("key", &data).await.unwrap();
    let master = master(&cluster);
    code_all(&cluster, &master).await;
    let before = shards(&cluster).await.swap_remove(0).2;
    cluster.metadata().drain_server(before[2].server).await.unwrap();
    assert!(master.balance(100, LONG).await.unwrap().stuck > 0, "there is no seventh");
    let added = cluster.add().await;
    while master.balance(100, LONG).await.unwrap().draining > 0 {
        heal(&cluster, &master).await;
    }
    let after = shards(&cluster).await.swap_remove(0).2;
    let mut expected = before.clone();
    expected[2] = Replica { server: cluster.number(added), ..after[2] };
    assert_eq!(after, expected, "each keeps its place");
    cluster.stop(cluster.place_of(before[0].server)).await;
    assert!(cluster.get("key").await.unwrap() == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_too_few_servers_nothing_is_coded_and_nothing_is_lost() {
    let cluster = Cluster::start(5).await;
    set_tiering(&cluster, true, Some(1)).await;
    let objects = fill(&cluster).await;
    let master = master(&cluster);
    let coded = master.code(LONG).await.unwrap();
    assert!(coded.too_few_servers && coded.left > 0 && coded.chunks == 0, "{coded:?}");
    let tiered = master.tier(SHORT_DAY, LONG).await.unwrap();
    assert!(tiered.nowhere && tiered.cooled == 0, "{tiered:?}");
    check(&cluster, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_goes_to_slow_servers_and_comes_back_when_it_is_read() {
    let cluster = Cluster::start(6).await;
    for server in 3..6 {
        make_slow(&cluster, server).await;
    }
    let slow: Vec<u64> = (3..6).map(|server| cluster.number(server)).collect();
    until("the door knows which are slow", async || {
        // One may be on fast ones by chance, not so many.
        for _ in 0..6 {
            let probe = cluster.put("probe", &random_bytes(1, 9_000_000)).await.unwrap();
            let row = cluster.metadata().chunk(probe.contents.needles()[0].chunk).await.unwrap().unwrap();
            if row.servers().any(|server| slow.contains(&server)) {
                return false;
            }
        }
        true
    })
    .await;
    cluster.metadata().delete(SPACE, "probe", &Precondition::None).await.unwrap();
    let objects = fill(&cluster).await;
    let master = master(&cluster);
    assert_eq!(master.tier(SHORT_DAY, LONG).await.unwrap(), Tiered::default(), "nobody asked for it");
    set_tiering(&cluster, false, Some(2)).await;
    assert_eq!(master.tier(LONG_DAY, LONG).await.unwrap(), Tiered::default(), "it is too early");
    let space = cluster.metadata().namespace(SPACE).await.unwrap();
    until("all others are cold", async || master.tier(SHORT_DAY, Duration::from_secs(5)).await.unwrap().left == 0).await;
    check(&cluster, &objects).await;
    collect_all(&cluster, &master).await;
    for row in chunks(&cluster).await.into_values() {
        assert_eq!(row.tier, Tier::Cold);
        assert!(row.servers().all(|server| slow.contains(&server)), "{row:?}");
    }
    check(&cluster, &objects).await;
    // What is read comes back, what is not stays.
    cluster.objects.note_read(&space, "4");
    cluster.objects.write_down_reads().await.unwrap();
    assert_eq!(cluster.rows(b"h").await.len(), 1);
    let tiered = master.tier(LONG_DAY, LONG).await.unwrap();
    assert!(tiered.warmed > 0 && tiered.cold_bytes == 0, "nothing is so old: {tiered:?}");
    check(&cluster, &objects).await;
    // Without the policy all of it comes back, and what was noted goes.
    while master.tier(SHORT_DAY, LONG).await.unwrap().cold_bytes == 0 {}
    set_tiering(&cluster, false, None).await;
    assert_eq!(master.tier(SHORT_DAY, LONG).await.unwrap().cold_bytes, 0);
    collect_all(&cluster, &master).await;
    assert!(chunks(&cluster).await.into_values().all(|row| row.tier == Tier::Hot));
    assert!(
        cluster.rows(b"h").await.is_empty() && cluster.metadata().configuration(space.id, UNSETTLED).await.unwrap().is_none()
    );
    check(&cluster, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_too_few_servers_for_shards_what_is_cold_is_whole_copies_on_slow_ones() {
    let cluster = Cluster::start(5).await;
    for server in 2..5 {
        make_slow(&cluster, server).await;
    }
    let slow: Vec<u64> = (2..5).map(|server| cluster.number(server)).collect();
    set_tiering(&cluster, true, Some(1)).await;
    let objects = fill(&cluster).await;
    // Others than those that were told before which servers are slow.
    let informed = Objects::open(cluster.metadata().clone(), cluster.client(), Memory::default()).await.unwrap();
    let master = Master::new(informed, cluster.client(), at_once());
    until("all is cold", async || {
        let tiered = master.tier(SHORT_DAY, LONG).await.unwrap();
        assert!(!tiered.nowhere, "{tiered:?}");
        tiered.left == 0
    })
    .await;
    collect_all(&cluster, &master).await;
    let coded = master.code(LONG).await.unwrap();
    assert!(coded.too_few_servers && coded.chunks == 0 && coded.left > 0, "{coded:?}");
    for row in chunks(&cluster).await.into_values() {
        assert_eq!((row.tier, row.form, row.replicas.len()), (Tier::Cold, ChunkForm::Whole, 3));
        assert!(row.servers().all(|server| slow.contains(&server)), "{row:?}");
    }
    check(&cluster, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_keeps_one_object_warm_among_cold_ones() {
    let cluster = Cluster::start(6).await;
    set_tiering(&cluster, false, Some(1)).await;
    for key in ["a", "b", "c"] {
        cluster.put(key, &random_bytes(1, 50_000)).await.unwrap();
    }
    let space = cluster.metadata().namespace(SPACE).await.unwrap();
    let master = master(&cluster);
    // A day is as long as it took since they were written; b is read now.
    let day = Duration::from_millis(1500);
    tokio::time::sleep(day).await;
    cluster.objects.note_read(&space, "b");
    cluster.objects.write_down_reads().await.unwrap();
    let tiered = master.tier(day, LONG).await.unwrap();
    assert_eq!((tiered.cooled, tiered.cold_bytes), (2, 100_000));
    let tier = async |key: &str| {
        let row = cluster.metadata().object(cluster.namespace, key).await.unwrap();
        chunks(&cluster).await[&row.contents.needles()[0].chunk].tier
    };
    assert_eq!((tier("a").await, tier("b").await, tier("c").await), (Tier::Cold, Tier::Hot, Tier::Cold));
    // With six servers, what is cold is coded.
    assert_eq!(code_all(&cluster, &master).await.chunks, 1);
    assert!(cluster.get("a").await.unwrap() == random_bytes(1, 50_000));
    assert!(matches!(cluster.get("d").await, Err(ObjectError::NoObject(_))));
}
