//! What is damaged, missing or needed by nobody, on real chunkservers.
#![allow(clippy::unwrap_used)]

mod heal;

use std::collections::BTreeSet;
use std::time::Duration;

use eddy_chunks::FileId;
use eddy_kv::KvError;
use eddy_object::schema::{ChunkRow, NamespaceSettings, Replica, Tier, decode};
use eddy_object::{Attributes, Memory, ObjectError, Objects, Precondition};
use eddy_storage_master::{Master, MasterOptions, Repaired};
use eddy_storage_testing::{Cluster, Proxy, SPACE, Way, put, random_bytes, until};

use crate::heal::{check_copies, collect_all, heal};

fn master(cluster: &Cluster, grace: Duration, patience: Duration) -> Master {
    let options = MasterOptions { grace, patience, settle: Duration::ZERO, ..MasterOptions::default() };
    Master::new(cluster.objects.clone(), cluster.client(), options)
}

fn at_once(cluster: &Cluster) -> Master {
    master(cluster, Duration::ZERO, Duration::ZERO)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_server_s_copies_are_made_elsewhere_and_others_are_left_alone() {
    let mut cluster = Cluster::start(4).await;
    let data: Vec<_> = (0..20).map(|number| random_bytes(number, 100_000 * number as usize)).collect();
    for (number, data) in data.iter().enumerate() {
        cluster.put(&number.to_string(), data).await.unwrap();
    }
    let master = at_once(&cluster);
    assert_eq!(heal(&cluster, &master).await, 0, "nothing is wrong");
    let rows = cluster.rows(b"c").await;
    let row: ChunkRow = decode(&rows[0].value.bytes).unwrap();
    let of = |server: u64| cluster.place_of(server);
    let (first, second) = (of(row.replicas[0].server), of(row.replicas[1].server));
    cluster.stop(first).await;
    let noted = master.note_lost_servers().await.unwrap();
    assert!(noted > 0);
    assert_eq!(heal(&cluster, &master).await, noted);
    cluster.stop(second).await;
    for (number, data) in data.iter().enumerate() {
        assert!(cluster.get(&number.to_string()).await.unwrap() == *data, "with two of four away");
    }
    // Now there are two servers for three copies.
    master.note_lost_servers().await.unwrap();
    let waiting = master.repair().await.unwrap();
    assert!(waiting.waiting > 0 && waiting.unreadable.is_empty(), "{waiting:?}");
    cluster.start_again(first).await;
    cluster.start_again(second).await;
    heal(&cluster, &master).await;
    check_copies(&cluster, 3).await;
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_server_s_copies_are_made_of_those_that_are_whole_and_damage_that_shows_is_repaired() {
    let mut cluster = Cluster::start(5).await;
    let data: Vec<_> = (0..40).map(|number| random_bytes(number, 200_000)).collect();
    for (number, data) in data.iter().enumerate() {
        cluster.put(&number.to_string(), data).await.unwrap();
    }
    let master = at_once(&cluster);
    heal(&cluster, &master).await;
    let of = |server: u64| cluster.place_of(server);
    let mut lost = BTreeSet::new();
    // Of each chunk one copy is damaged, which nobody has noticed, and a server is lost.
    for row in cluster.rows(b"c").await {
        let chunk = u64::from_be_bytes(row.key[1..].try_into().unwrap());
        let row: ChunkRow = decode(&row.value.bytes).unwrap();
        cluster.flip(of(row.replicas[0].server), chunk, 1000);
        lost.insert(of(row.replicas[1].server));
    }
    let lost = *lost.iter().next().unwrap();
    cluster.stop(lost).await;
    let noted = master.note_lost_servers().await.unwrap();
    let repaired = master.repair().await.unwrap();
    assert!(noted > 0 && repaired.copies == noted && repaired.waiting == 0 && repaired.unreadable.is_empty(), "{repaired:?}");
    // Who is read from is by chance; then all copies are read.
    assert!(repaired.healthy == 0 && !cluster.rows(b"d").await.is_empty());
    heal(&cluster, &master).await;
    check_copies(&cluster, 3).await;
    for (number, data) in data.iter().enumerate() {
        assert!(cluster.get(&number.to_string()).await.unwrap() == *data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_server_is_not_forgotten_while_nobody_else_has_what_it_has() {
    let mut cluster = Cluster::start(3).await;
    let data = random_bytes(1, 500_000);
    cluster.put("key", &data).await.unwrap();
    let master = at_once(&cluster);
    heal(&cluster, &master).await;
    cluster.stop(0).await;
    assert!(master.note_lost_servers().await.unwrap() > 0);
    // There is no other server for the third copy.
    assert!(master.repair().await.unwrap().waiting > 0);
    let row: ChunkRow = decode(&cluster.rows(b"c").await[0].value.bytes).unwrap();
    assert!(row.is_on(cluster.number(0)), "{row:?}");
    // The others lose it; it comes back.
    cluster.start_again(0).await;
    for server in [1, 2] {
        cluster.stop(server).await;
    }
    assert!(cluster.get("key").await.unwrap() == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_beyond_what_is_asked_for_go_after_lost_servers_came_back() {
    let mut cluster = Cluster::start(3).await;
    let data = random_bytes(1, 500_000);
    cluster.put("key", &data).await.unwrap();
    let master = at_once(&cluster);
    heal(&cluster, &master).await;
    for server in [0, 1] {
        cluster.stop(server).await;
    }
    master.note_lost_servers().await.unwrap();
    // One copy can be made, and two are missing.
    cluster.add().await;
    assert_eq!(master.repair().await.unwrap().copies, 1);
    let row: ChunkRow = decode(&cluster.rows(b"c").await[0].value.bytes).unwrap();
    assert_eq!(row.replicas.len(), 4, "the lost are kept: {row:?}");
    for server in [0, 1] {
        cluster.start_again(server).await;
    }
    heal(&cluster, &master).await;
    check_copies(&cluster, 3).await;
    // The fourth is collected.
    while master.collect().await.unwrap().files == 0 {}
    assert!(cluster.get("key").await.unwrap() == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_come_back_is_waited_for() {
    let mut cluster = Cluster::start(4).await;
    cluster.put("key", &random_bytes(1, 1000)).await.unwrap();
    let master = master(&cluster, Duration::ZERO, Duration::from_secs(600));
    let chunk = u64::from_be_bytes(cluster.rows(b"c").await[0].key[1..].try_into().unwrap());
    let row = cluster.metadata().chunk(chunk).await.unwrap().unwrap();
    let of_it = row.replicas[0];
    let away = cluster.place_of(of_it.server);
    cluster.stop(away).await;
    assert_eq!(master.note_lost_servers().await.unwrap(), 0);
    // It is not copied, and it is not said that all is well.
    let round = master.repair().await.unwrap();
    assert_eq!((round.noted, round.under_replicated, round.at_risk, round.copies), (0, 1, 0, 0));
    cluster.metadata().degrade(chunk, &[of_it]).await.unwrap();
    assert_eq!(master.repair().await.unwrap().copies, 0);
    assert_eq!(cluster.rows(b"d").await.len(), 1, "it stays noted");
    cluster.start_again(away).await;
    assert_eq!(master.repair().await.unwrap(), Repaired { noted: 1, under_replicated: 1, healthy: 1, ..Repaired::default() });
    assert!(cluster.rows(b"d").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_are_repaired_also_where_there_is_no_other_server() {
    for servers in [3, 4] {
        let cluster = Cluster::start(servers).await;
        let data = random_bytes(5, 900_000);
        let row = cluster.put("key", &data).await.unwrap();
        cluster.put("other", &random_bytes(6, 10_000)).await.unwrap();
        let (chunk, master) = (row.contents.needles()[0].chunk, at_once(&cluster));
        let have = cluster.metadata().chunk(chunk).await.unwrap().unwrap();
        let at: Vec<usize> = (0..servers).filter(|at| have.is_on(cluster.number(*at))).collect();
        cluster.flip(at[0], chunk, 100_000);
        cluster.flip(at[1], chunk, 700_000);
        until("readers have met both", async || {
            assert!(cluster.get("key").await.unwrap() == data);
            let noted = cluster.rows(b"d").await;
            noted.iter().any(|row| decode::<eddy_object::schema::DegradedRow>(&row.value.bytes).unwrap().servers.len() == 2)
        })
        .await;
        assert_eq!(master.repair().await.unwrap().copies, 2);
        // Those that lack something may have what somebody came to need since they were read: they stay until others were, again.
        let named = cluster.metadata().chunk(chunk).await.unwrap().unwrap().replicas;
        assert!(named.len() == 5 && have.replicas.iter().all(|one| named.contains(one)), "{named:?}");
        assert_eq!(heal(&cluster, &master).await, 0);
        let named = cluster.metadata().chunk(chunk).await.unwrap().unwrap().replicas;
        assert_eq!(named.iter().filter(|one| have.replicas.contains(one)).count(), 1, "only the one that was whole");
        check_copies(&cluster, 3).await;
        // Whatever was wrong with any of them, it is not any more.
        for _ in 0..20 {
            assert!(cluster.get("key").await.unwrap() == data);
        }
        assert!(cluster.rows(b"d").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_lack_different_needles_make_each_other_whole() {
    let cluster = Cluster::start(3).await;
    let mut rows = Vec::new();
    for number in 0..3 {
        rows.push(cluster.put(&number.to_string(), &random_bytes(number, 50_000)).await.unwrap());
    }
    let chunk = rows[0].contents.needles()[0].chunk;
    for (server, row) in rows.iter().enumerate() {
        assert_eq!(row.contents.needles()[0].chunk, chunk);
        cluster.flip(server, chunk, u64::from(row.contents.needles()[0].offset) + 1000);
    }
    cluster.metadata().degrade(chunk, &[]).await.unwrap();
    heal(&cluster, &at_once(&cluster)).await;
    check_copies(&cluster, 3).await;
    for number in 0..3 {
        assert!(cluster.get(&number.to_string()).await.unwrap() == random_bytes(number, 50_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_server_can_give_is_told_and_nothing_of_it_is_removed() {
    let cluster = Cluster::start(3).await;
    let row = cluster.put("key", &random_bytes(1, 50_000)).await.unwrap();
    cluster.put("other", &random_bytes(2, 50_000)).await.unwrap();
    let chunk = row.contents.needles()[0].chunk;
    for server in 0..3 {
        cluster.flip(server, chunk, u64::from(row.contents.needles()[0].offset) + 1000);
    }
    cluster.metadata().degrade(chunk, &[]).await.unwrap();
    let master = at_once(&cluster);
    let repaired = master.repair().await.unwrap();
    // What can be read is moved to where it has all copies; what cannot stays where it may be once more.
    assert_eq!((&repaired.unreadable[..], repaired.rescued, repaired.bytes), (&[chunk][..], 1, 50_000));
    let other = cluster.metadata().object(cluster.namespace, "other").await.unwrap();
    assert!(other.contents.needles()[0].chunk != chunk);
    assert_eq!(master.repair().await.unwrap().rescued, 0);
    master.collect().await.unwrap();
    assert!(cluster.get("other").await.unwrap() == random_bytes(2, 50_000));
    assert_eq!(cluster.rows(b"d").await.len(), 1);
    assert!(cluster.metadata().chunk(chunk).await.unwrap().is_some());
    // A damaged object can be deleted; then what is left can be repaired.
    cluster.metadata().delete(SPACE, "key", &Precondition::None).await.unwrap();
    heal(&cluster, &master).await;
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_needs_goes_and_nothing_else() {
    let cluster = Cluster::start(3).await;
    let master = at_once(&cluster);
    for number in 0..10 {
        cluster.put(&number.to_string(), &random_bytes(number, 9_000_000)).await.unwrap();
    }
    let mut upload = cluster.objects.upload(SPACE, None).await.unwrap();
    upload.write(random_bytes(99, 9_000_000)).await.unwrap();
    drop(upload);
    for number in 0..5 {
        cluster.metadata().delete(SPACE, &number.to_string(), &Precondition::None).await.unwrap();
    }
    let before = cluster.rows(b"c").await.len();
    let first = master.collect().await.unwrap();
    assert!(first.chunks >= 5, "{first:?}");
    assert_eq!(first.files, 0, "first they are seen");
    let second = master.collect().await.unwrap();
    assert_eq!(second.files, first.chunks * 3, "then they go");
    assert_eq!(cluster.rows(b"c").await.len(), before - first.chunks);
    for number in 5..10 {
        assert!(cluster.get(&number.to_string()).await.unwrap() == random_bytes(number, 9_000_000));
    }
    assert_eq!(master.collect().await.unwrap().files, 0);
    assert!(cluster.rows(b"g").await.is_empty());
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn within_the_grace_nothing_goes_also_after_another_master_took_over() {
    let cluster = Cluster::start(3).await;
    cluster.put("key", &random_bytes(1, 9_000_000)).await.unwrap();
    cluster.metadata().delete(SPACE, "key", &Precondition::None).await.unwrap();
    let patient = || master(&cluster, Duration::from_secs(3600), Duration::ZERO);
    for _ in 0..3 {
        let collected = patient().collect().await.unwrap();
        assert_eq!((collected.chunks, collected.files), (0, 0));
    }
    // A file that no row names: when it was first seen is kept.
    cluster.client().create(cluster.address(0), FileId { chunk: 5, file: 6 }).await.unwrap();
    assert_eq!(patient().collect().await.unwrap().strays, 1);
    let since = cluster.rows(b"g").await;
    assert_eq!(patient().collect().await.unwrap().strays, 1);
    assert_eq!(cluster.rows(b"g").await, since);
    // Whoever made it and was slow to name it must not name it now.
    let replica = Replica { server: cluster.number(0), file: 6 };
    let named = cluster.metadata().put_chunk(5, vec![replica], 1, Tier::Hot).await;
    assert!(matches!(named, Err(ObjectError::Metadata(KvError::Conflict { .. }))), "{named:?}");
    assert_eq!(at_once(&cluster).collect().await.unwrap().files, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_given_a_chunk_while_it_is_written_to_gets_what_it_missed() {
    let cluster = Cluster::start(4).await;
    let data = random_bytes(1, 3_000_000);
    let mut upload = cluster.objects.upload(SPACE, Some(3_000_000)).await.unwrap();
    upload.write(data.clone()).await.unwrap();
    let chunk = u64::from_be_bytes(cluster.rows(b"c").await[0].key[1..].try_into().unwrap());
    // By then the needle is on three servers, and nothing says that anyone needs it.
    let row = cluster.metadata().chunk(chunk).await.unwrap().unwrap();
    let lost = cluster.place_of(row.replicas[0].server);
    let mut cluster = cluster;
    cluster.stop(lost).await;
    let master = at_once(&cluster);
    master.note_lost_servers().await.unwrap();
    assert_eq!(heal(&cluster, &master).await, 1);
    upload.finish("key", Attributes::default(), &Precondition::None).await.unwrap();
    assert_eq!(cluster.rows(b"d").await.len(), 1, "it is noted with the object");
    heal(&cluster, &master).await;
    check_copies(&cluster, 3).await;
    assert!(cluster.get("key").await.unwrap() == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_chunk_was_collected_fails_and_leaves_nothing() {
    let cluster = Cluster::start(3).await;
    let data = random_bytes(1, 3_000_000);
    let mut upload = cluster.objects.upload(SPACE, Some(3_000_000)).await.unwrap();
    upload.write(data.clone()).await.unwrap();
    let master = at_once(&cluster);
    assert_eq!(master.collect().await.unwrap().chunks, 1);
    master.collect().await.unwrap();
    let failed = upload.finish("key", Attributes::default(), &Precondition::None).await;
    assert!(failed.is_err(), "{failed:?}");
    assert!(cluster.get("key").await.is_err());
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_is_read_in_turn_and_rot_is_found() {
    let mut cluster = Cluster::start(3).await;
    let mut rows = Vec::new();
    for number in 0..4 {
        // Each has a chunk of its own.
        rows.push(cluster.put(&number.to_string(), &random_bytes(number, 9_000_000)).await.unwrap());
    }
    let master = at_once(&cluster);
    let turn = Duration::from_millis(1);
    tokio::time::sleep(2 * turn).await;
    let first = master.scrub(turn, turn).await.unwrap();
    assert_eq!((first.whole, first.noted, first.due), (4, 0, 4));
    let soon = master.scrub(Duration::from_secs(600), turn).await.unwrap();
    assert_eq!((soon.whole, soon.due), (0, 0), "they have just been read");
    // What nobody has read since it was written is, in time, also where nothing is due.
    let new = cluster.put("new", &random_bytes(9, 9_000_000)).await.unwrap();
    let chunk = new.contents.needles()[0].chunk;
    let replica = cluster.metadata().chunk(chunk).await.unwrap().unwrap().replicas[2];
    let address = cluster.address(cluster.place_of(replica.server));
    let has_all =
        async || cluster.client().scan(address, replica.id(chunk)).await.is_ok_and(|found| !found.is_empty() && !found[0].1);
    until("it has all", has_all).await;
    cluster.client().remove(address, replica.id(chunk)).await.unwrap();
    let seen = master.scrub(Duration::from_secs(600), Duration::from_secs(600)).await.unwrap();
    assert_eq!((seen.whole, seen.noted, seen.due), (0, 1, 0));
    assert_eq!(heal(&cluster, &master).await, 1);
    assert_eq!(master.scrub(Duration::from_secs(600), turn).await.unwrap().whole, 1);

    cluster.flip(1, rows[2].contents.needles()[0].chunk, 5_000_000);
    // It does not answer: that is no rot.
    cluster.stop(0).await;
    tokio::time::sleep(2 * turn).await;
    let found = master.scrub(turn, turn).await.unwrap();
    assert_eq!((found.whole, found.noted, found.due), (0, 1, 5));
    assert!(found.oldest >= turn);
    cluster.start_again(0).await;
    assert_eq!(heal(&cluster, &master).await, 1);
    check_copies(&cluster, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_needed_of_wasteful_chunks_moves_and_they_go() {
    let cluster = Cluster::start(4).await;
    // Two chunks of seven, and one of an object by itself.
    for number in 0..14 {
        cluster.put(&number.to_string(), &random_bytes(number, 7_900_000)).await.unwrap();
    }
    cluster.put("alone", &random_bytes(99, 9_000_000)).await.unwrap();
    for number in (0..14).filter(|number| *number % 7 > 2) {
        cluster.metadata().delete(SPACE, &number.to_string(), &Precondition::None).await.unwrap();
    }
    let patient = master(&cluster, Duration::from_secs(3600), Duration::ZERO);
    assert_eq!(patient.compact(30).await.unwrap().chunks, 0, "it may still be written to");
    let master = at_once(&cluster);
    assert_eq!(master.compact(90).await.unwrap().chunks, 0);
    // Another object is read meanwhile.
    let row = cluster.metadata().object(cluster.namespace, "0").await.unwrap();
    let compacted = master.compact(30).await.unwrap();
    assert_eq!((compacted.chunks, compacted.needles), (2, 6));
    assert!(cluster.read(&row, 0, row.bytes).await.unwrap() == random_bytes(0, 7_900_000), "who began before ends well");
    cluster.check().await;
    assert_eq!(master.collect().await.unwrap().chunks, 2);
    master.collect().await.unwrap();
    check_copies(&cluster, 3).await;
    for number in (0..14).filter(|number| *number % 7 <= 2) {
        assert!(cluster.get(&number.to_string()).await.unwrap() == random_bytes(number, 7_900_000));
    }
    assert!(cluster.get("alone").await.unwrap() == random_bytes(99, 9_000_000));
    assert_eq!(master.compact(30).await.unwrap().chunks, 0, "nothing is wasted now");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_collection_and_repair_at_once_lose_nothing() {
    let cluster = Cluster::start(4).await;
    cluster.metadata().create_namespace("two", NamespaceSettings { copies: 2, ..NamespaceSettings::default() }).await.unwrap();
    let objects: Objects = cluster.objects.clone();
    let write = async |writer: u64| {
        for number in 0..15 {
            let key = format!("{writer}/{number}");
            cluster.put(&key, &random_bytes(writer * 100 + number, 40_000)).await.unwrap();
            if number % 3 == 0 {
                objects.metadata().delete(SPACE, &key, &Precondition::None).await.unwrap();
            }
        }
    };
    let writers = futures::future::join_all((0..8).map(&write));
    let tend = async {
        // No upload is as slow as this grace.
        let master = master(&cluster, Duration::from_secs(20), Duration::ZERO);
        for _ in 0..10 {
            for row in cluster.rows(b"c").await {
                let chunk = u64::from_be_bytes(row.key[1..].try_into().unwrap());
                let replicas = decode::<ChunkRow>(&row.value.bytes).unwrap().replicas;
                cluster.metadata().degrade(chunk, &replicas[..1]).await.unwrap();
            }
            master.repair().await.unwrap();
            master.collect().await.unwrap();
        }
    };
    futures::future::join(writers, tend).await;
    let master = at_once(&cluster);
    heal(&cluster, &master).await;
    master.collect().await.unwrap();
    master.collect().await.unwrap();
    check_copies(&cluster, 3).await;
    for (writer, number) in (0..8).flat_map(|writer| (0..15).map(move |number| (writer, number))) {
        let read = cluster.get(&format!("{writer}/{number}")).await;
        match number % 3 {
            0 => assert!(read.is_err()),
            _ => assert!(read.unwrap() == random_bytes(writer * 100 + number, 40_000)),
        }
    }
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_repair_and_collect_at_once_remove_nothing_that_either_named() {
    let cluster = Cluster::start(4).await;
    let data: Vec<_> = (0..12).map(|number| random_bytes(number, 9_000_000)).collect();
    for (number, data) in data.iter().enumerate() {
        cluster.put(&number.to_string(), data).await.unwrap();
    }
    // So impatient that each takes for garbage what the other is about to name.
    let tend = async |seed: u64| {
        let (master, mut random) = (at_once(&cluster), fastrand::Rng::with_seed(seed));
        for _ in 0..12 {
            let rows = cluster.rows(b"c").await;
            let row = random.choice(&rows).unwrap();
            let chunk = u64::from_be_bytes(row.key[1..].try_into().unwrap());
            let replica = random.choice(decode::<ChunkRow>(&row.value.bytes).unwrap().replicas).unwrap();
            if random.bool() {
                cluster.metadata().degrade(chunk, &[replica]).await.unwrap();
            } else {
                // It lacks all that it had.
                let at = cluster.place_of(replica.server);
                let _ = cluster.client().remove(cluster.address(at), replica.id(chunk)).await;
                cluster.metadata().degrade(chunk, &[replica]).await.unwrap();
                until("it has been repaired", async || {
                    master.repair().await.unwrap();
                    let row = cluster.metadata().chunk(chunk).await.unwrap().unwrap();
                    cluster.rows(b"d").await.is_empty() || !row.replicas.contains(&replica)
                })
                .await;
            }
            master.repair().await.unwrap();
            master.collect().await.unwrap();
        }
    };
    futures::future::join(tend(1), tend(2)).await;
    let master = at_once(&cluster);
    heal(&cluster, &master).await;
    collect_all(&cluster, &master).await;
    check_copies(&cluster, 3).await;
    for (number, data) in data.iter().enumerate() {
        assert!(cluster.get(&number.to_string()).await.unwrap() == *data);
    }
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_copy_missed_and_what_its_replacement_missed_are_both_made_where_there_is_no_other_server() {
    let cluster = Cluster::start(3).await;
    let rotten = cluster.put("rotten", &random_bytes(1, 50_000)).await.unwrap();
    let chunk = rotten.contents.needles()[0].chunk;
    cluster.flip(1, chunk, u64::from(rotten.contents.needles()[0].offset) + 1000);
    cluster.metadata().degrade(chunk, &[]).await.unwrap();
    let master = at_once(&cluster);
    assert_eq!(master.repair().await.unwrap().copies, 1);
    // What goes on being written to the chunk reaches the three files that it began with.
    let late = cluster.put("late", &random_bytes(2, 50_000)).await.unwrap();
    assert_eq!(late.contents.needles()[0].chunk, chunk);
    heal(&cluster, &master).await;
    check_copies(&cluster, 3).await;
    for (number, key) in [(1, "rotten"), (2, "late")] {
        assert!(cluster.get(key).await.unwrap() == random_bytes(number, 50_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_needle_that_nobody_gives_holds_up_nothing_else() {
    let mut cluster = Cluster::start(4).await;
    let lost = cluster.put("lost", &random_bytes(1, 50_000)).await.unwrap();
    let kept = cluster.put("kept", &random_bytes(2, 50_000)).await.unwrap();
    let gone = cluster.put("gone", &random_bytes(3, 900_000)).await.unwrap();
    let alone = cluster.put("alone", &random_bytes(4, 9_000_000)).await.unwrap();
    let [lost, kept, gone, alone] = [lost, kept, gone, alone].map(|row| row.contents.needles()[0]);
    assert!(lost.chunk == kept.chunk && lost.chunk == gone.chunk);
    let chunk = lost.chunk;
    let servers_of = async |cluster: &Cluster, chunk: u64| -> Vec<usize> {
        let row = cluster.metadata().chunk(chunk).await.unwrap().unwrap();
        (0..4).filter(|at| row.is_on(cluster.number(*at))).collect()
    };
    let have = servers_of(&cluster, chunk).await;
    for at in &have {
        cluster.flip(*at, chunk, u64::from(lost.offset) + 1000);
    }
    cluster.metadata().degrade(chunk, &[]).await.unwrap();
    cluster.stop(have[0]).await;
    let master = at_once(&cluster);
    master.note_lost_servers().await.unwrap();
    let repaired = master.repair().await.unwrap();
    assert_eq!((&repaired.unreadable[..], repaired.rescued), (&[chunk][..], 2));
    // Of the servers that it was on, one is gone, and now another.
    cluster.stop(have[1]).await;
    assert!(cluster.get("kept").await.unwrap() == random_bytes(2, 50_000));
    cluster.start_again(have[0]).await;
    cluster.start_again(have[1]).await;

    // Others are read in their turn, though nobody has read that one for the longest time.
    for _ in 0..3 {
        master.repair().await.unwrap();
    }
    assert_eq!(cluster.rows(b"d").await.len(), 1, "only that one is still noted");
    let turn = Duration::from_millis(1);
    cluster.flip(servers_of(&cluster, alone.chunk).await[0], alone.chunk, 5_000_000);
    tokio::time::sleep(2 * turn).await;
    assert_eq!(master.scrub(turn, turn).await.unwrap().noted, 1);

    // What is wasted there is compacted as far as it can be read, and what nobody needs is collected.
    cluster.metadata().delete(SPACE, "gone", &Precondition::None).await.unwrap();
    let compacted = master.compact(30).await.unwrap();
    assert_eq!((compacted.needles, compacted.failed), (1, 1), "of one chunk what was rescued, of the other what is lost");
    cluster.metadata().delete(SPACE, "lost", &Precondition::None).await.unwrap();
    heal(&cluster, &master).await;
    assert!(cluster.get("kept").await.unwrap() == random_bytes(2, 50_000));
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_has_left_of_a_chunk_is_rescued_from_it_and_what_others_have_is_there_when_they_come_back() {
    let mut cluster = Cluster::start(5).await;
    let (rotten, kept) = (random_bytes(1, 60_000), random_bytes(2, 60_000));
    let row = cluster.put("rotten", &rotten).await.unwrap();
    cluster.put("kept", &kept).await.unwrap();
    let needle = row.contents.needles()[0];
    let have = cluster.metadata().chunk(needle.chunk).await.unwrap().unwrap();
    let at: Vec<usize> = (0..5).filter(|at| have.is_on(cluster.number(*at))).collect();
    cluster.flip(at[0], needle.chunk, u64::from(needle.offset) + 1000);
    for away in &at[1..] {
        cluster.stop(*away).await;
    }
    cluster.metadata().degrade(needle.chunk, &[]).await.unwrap();
    let patient = master(&cluster, Duration::ZERO, Duration::from_secs(600));
    let waiting = patient.repair().await.unwrap();
    assert_eq!((waiting.unreadable.len(), waiting.rescued), (1, 0), "they may come back");
    // Two servers are left besides: what can be read gets two copies at least.
    let master = at_once(&cluster);
    master.note_lost_servers().await.unwrap();
    let repaired = master.repair().await.unwrap();
    assert_eq!((repaired.unreadable.len(), repaired.rescued), (1, 1), "{repaired:?}");
    assert!(cluster.get("rotten").await.is_err());
    cluster.stop(at[0]).await;
    assert!(cluster.get("kept").await.unwrap() == kept);
    for back in &at {
        cluster.start_again(*back).await;
    }
    heal(&cluster, &master).await;
    check_copies(&cluster, 3).await;
    assert!(cluster.get("rotten").await.unwrap() == rotten && cluster.get("kept").await.unwrap() == kept);
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_which_nothing_can_be_moved_keep_no_others_from_being_compacted() {
    let cluster = Cluster::start(3).await;
    // Five chunks, each of a door's of its own: four of what nobody can give, and one of what is needed.
    for number in 0..5 {
        let objects = Objects::open(cluster.metadata().clone(), cluster.client(), Memory::default()).await.unwrap();
        let mut extents = Vec::new();
        // The last is the least wasteful: its turn comes after all others.
        let needed = if number < 4 { 50_000 } else { 90_000 };
        for (key, size) in [("needed", needed), ("gone", 900_000)] {
            let key = format!("{number}/{key}");
            let row = put(&objects, &key, &random_bytes(number, size)).await.unwrap();
            extents.push(row.contents.needles()[0]);
        }
        assert_eq!(extents[0].chunk, extents[1].chunk);
        cluster.metadata().delete(SPACE, &format!("{number}/gone"), &Precondition::None).await.unwrap();
        if number < 4 {
            (0..3).for_each(|server| cluster.flip(server, extents[0].chunk, u64::from(extents[0].offset) + 1000));
        }
    }
    let master = at_once(&cluster);
    let mut moved = 0;
    for _ in 0..2 {
        moved += master.compact(30).await.unwrap().needles;
    }
    assert_eq!(moved, 1);
    assert!(cluster.get("4/needed").await.unwrap() == random_bytes(4, 90_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_failed_after_two_others_had_all_is_remembered_though_repair_forgot_it_meanwhile() {
    let cluster = Cluster::start(3).await;
    let proxy = Proxy::open(cluster.address(0)).await;
    let objects = proxy.stand_before(&cluster, 0).await;
    let data = random_bytes(1, 5_000_000);
    let mut upload = objects.upload(SPACE, None).await.unwrap();
    proxy.set(Way::Silent);
    // Of what comes without a length, the first needle is on its way when the second one begins: two have it, and the third does not say so.
    upload.write(data.slice(..4_500_000)).await.unwrap();
    proxy.set(Way::Shut);
    until("it is noted", async || !cluster.rows(b"d").await.is_empty()).await;
    proxy.set(Way::Open);
    let master =
        Master::new(objects.clone(), cluster.client(), MasterOptions { settle: Duration::ZERO, ..MasterOptions::default() });
    until("it is forgotten", async || {
        master.repair().await.unwrap();
        cluster.rows(b"d").await.is_empty()
    })
    .await;
    upload.write(data.slice(4_500_000..)).await.unwrap();
    upload.finish("key", Attributes::default(), &Precondition::None).await.unwrap();
    until("it is noted again", async || !cluster.rows(b"d").await.is_empty()).await;
    heal(&cluster, &master).await;
    check_copies(&cluster, 3).await;
    assert!(cluster.get("key").await.unwrap() == data);
}
