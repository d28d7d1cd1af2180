//! Servers that die, hang up in the middle, come back and rot.

use std::time::{Duration, Instant};

use bytes::Bytes;
use eddy_chunkserver::Load;
use eddy_kv::Transaction;
use eddy_object::schema::{ChunkRow, DegradedRow, NamespaceSettings, Replica, decode, degraded_key, encode};
use eddy_object::{Attributes, Memory, ObjectError, Objects, Precondition};
use eddy_storage_testing::{Cluster, Proxy, SPACE, Way, put, random_bytes, until};

fn degraded(rows: &[eddy_kv::Row]) -> Vec<DegradedRow> {
    rows.iter().map(|row| decode(&row.value.bytes).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_is_not_missed_and_what_it_lacks_is_noted() {
    let mut cluster = Cluster::start(3).await;
    let before = random_bytes(1, 3_000_000);
    cluster.put("before", &before).await.unwrap();
    cluster.put("small", &before.slice(..100)).await.unwrap();
    cluster.stop(1).await;
    // It dies while its chunk is written to, and new ones are made without it.
    for size in [10, 100_000, 3_000_000, 20_000_000] {
        let data = random_bytes(size as u64, size);
        cluster.put("after", &data).await.unwrap();
        assert!(cluster.get("after").await.unwrap() == data);
    }
    assert!(cluster.get("before").await.unwrap() == before);
    until("it is noted what it lacks", async || {
        degraded(&cluster.rows(b"d").await).iter().any(|row| row.servers == [cluster.number(1)])
    })
    .await;
    assert!(degraded(&cluster.rows(b"d").await).iter().any(|row| row.servers.is_empty()), "chunks of two copies");
    // With one alone, nothing is acknowledged.
    cluster.stop(2).await;
    let refused = cluster.put("refused", &before).await;
    assert!(matches!(refused, Err(ObjectError::NoRoom(_))), "{refused:?}");
    assert!(cluster.get("before").await.unwrap() == before, "one copy is enough to read");
    cluster.start_again(1).await;
    until("two are enough", async || cluster.put("again", &before).await.is_ok()).await;
    assert!(cluster.get("again").await.unwrap() == before);
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_of_an_upload_or_a_download_is_not_missed() {
    let mut cluster = Cluster::start(3).await;
    let data = random_bytes(7, 40_000_000);
    let mut upload = cluster.objects.upload(SPACE, Some(data.len() as u64)).await.unwrap();
    upload.write(data.slice(..10_000_000)).await.unwrap();
    cluster.stop(0).await;
    upload.write(data.slice(10_000_000..)).await.unwrap();
    let row = upload.finish("key", Attributes::default(), &Precondition::None).await.unwrap();
    cluster.start_again(0).await;

    let mut download = cluster.objects.download(&row, 0, row.bytes).unwrap();
    let mut came = Vec::new();
    let mut stopped = false;
    while let Some(block) = download.next().await.unwrap() {
        came.extend_from_slice(&block);
        if came.len() > 5_000_000 && !stopped {
            cluster.stop(1).await;
            stopped = true;
        }
    }
    assert!(came == data);
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_die_in_the_middle_of_an_upload_fail_it_and_leave_nothing() {
    let mut cluster = Cluster::start(3).await;
    let data = random_bytes(7, 40_000_000);
    let mut upload = cluster.objects.upload(SPACE, Some(data.len() as u64)).await.unwrap();
    upload.write(data.slice(..10_000_000)).await.unwrap();
    cluster.stop(0).await;
    cluster.stop(1).await;
    let failed = upload.write(data.slice(10_000_000..)).await;
    assert!(matches!(failed, Err(ObjectError::NoRoom(_))), "{failed:?}");
    drop(upload);
    assert!(matches!(cluster.get("key").await, Err(ObjectError::NoObject(_))));
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bits_that_flip_are_not_noticed_and_noted() {
    let cluster = Cluster::start(3).await;
    let data = random_bytes(5, 5_000_000);
    let row = cluster.put("key", &data).await.unwrap();
    let chunk = row.contents.needles()[0].chunk;
    // Two of three copies, in different places.
    for (server, at) in [(0, 1_000_000), (2, 4_000_000)] {
        cluster.flip(server, chunk, at);
    }
    for _ in 0..20 {
        assert!(cluster.get("key").await.unwrap() == data);
    }
    let mut both = [cluster.number(0), cluster.number(2)];
    both.sort_unstable();
    until("both are noted", async || degraded(&cluster.rows(b"d").await).iter().any(|row| row.servers == both)).await;
    // All three: now it is an error, not wrong bytes.
    std::fs::remove_file(cluster.file_of(1, chunk)).unwrap();
    let bytes = std::fs::metadata(cluster.file_of(0, chunk)).unwrap().len();
    for server in [0, 2] {
        std::fs::File::options().write(true).open(cluster.file_of(server, chunk)).unwrap().set_len(bytes / 2).unwrap();
    }
    // The server that has the removed file open still reads it.
    let read = cluster.get("key").await;
    assert!(read.as_ref().is_ok_and(|read| *read == data) || matches!(read, Err(ObjectError::Unreadable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_holds_up_no_reader_for_long() {
    let cluster = Cluster::start(3).await;
    let data = random_bytes(1, 3_000_000);
    let row = cluster.put("key", &data).await.unwrap();
    // It says who it is, and nothing else; or it stalls in the middle of what it gives.
    for after in [14, 700_000] {
        let proxy = Proxy::stalling(cluster.address(0), after).await;
        let objects = proxy.stand_before(&cluster, 0).await;
        for _ in 0..40 {
            let (start, mut download) = (Instant::now(), objects.download(&row, 0, row.bytes).unwrap());
            let mut came = Vec::new();
            while let Some(block) = download.next().await.unwrap() {
                came.extend_from_slice(&block);
            }
            assert!(came == data);
            assert!(start.elapsed() < Duration::from_secs(2), "it was waited for: {:?}", start.elapsed());
            if proxy.held() > 0 {
                break;
            }
        }
        assert!(proxy.held() > 0, "nobody met it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_bytes_holds_up_no_writer_for_long_and_what_it_lacks_is_noted() {
    let cluster = Cluster::start(3).await;
    // It takes nothing from some moment on; or it stops in the middle of a needle.
    for (number, after) in (0..).zip([0, 1_000_000]) {
        let proxy = Proxy::deaf(cluster.address(0), after).await;
        let objects = proxy.stand_before(&cluster, 0).await;
        assert_eq!(proxy.held(), 0);
        proxy.set(Way::Limited);
        let data = random_bytes(number, 20_000_000);
        let start = Instant::now();
        let row = put(&objects, "key", &data).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        assert!(proxy.held() > 0, "nobody met it");
        assert!(cluster.read(&row, 0, row.bytes).await.unwrap() == data);
        let chunk = row.contents.needles()[0].chunk;
        let replica = cluster.metadata().chunk(chunk).await.unwrap().unwrap().replicas;
        // Where it could not even be told to make the file, two have the chunk, and that is noted with the object.
        if replica.iter().any(|replica| replica.server == cluster.number(0)) {
            let noted = cluster.metadata().store().get(degraded_key(chunk)).await.unwrap();
            assert!(noted.is_some());
        } else {
            assert_eq!(replica.len(), 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_not_said_that_it_has_all_does_not_count_for_one_that_lost_its_place() {
    let cluster = Cluster::start(3).await;
    let proxy = Proxy::open(cluster.address(0)).await;
    let objects = proxy.stand_before(&cluster, 0).await;
    let data = random_bytes(1, 5_000_000);
    // It is not needed, or is and fails to, or is and does.
    for (moved, then) in [(false, Way::Silent), (true, Way::Shut), (true, Way::Open)] {
        proxy.set(Way::Open);
        // All three have made the chunk, and are there.
        put(&objects, "first", &data.slice(..1000)).await.unwrap();
        let mut upload = objects.upload(SPACE, None).await.unwrap();
        proxy.set(Way::Silent);
        // The first needle is on its way when the second one begins: two have it, and the third does not say so.
        upload.write(data.slice(..4_500_000)).await.unwrap();
        let chunks: Vec<(Bytes, ChunkRow)> =
            cluster.rows(b"c").await.into_iter().map(|row| (row.key, decode(&row.value.bytes).unwrap())).collect();
        let (key, row) = chunks.into_iter().max_by_key(|(_, row)| row.touched_ms).unwrap();
        let chunk = u64::from_be_bytes(key[1..].try_into().unwrap());
        let anew = |one: &Replica| if one.server == cluster.number(1) { Replica::draw(one.server, chunk) } else { *one };
        assert_eq!(row.replicas.len(), 3);
        let elsewhere = ChunkRow { replicas: row.replicas.iter().map(anew).collect(), ..row };
        if moved {
            let put = Transaction::new().put(key, encode(&elsewhere).unwrap());
            cluster.metadata().store().commit(put).await.unwrap();
        }
        upload.write(data.slice(4_500_000..)).await.unwrap();
        let (finished, ()) = tokio::join!(upload.finish("key", Attributes::default(), &Precondition::None), async {
            proxy.set(then);
        });
        match then {
            Way::Shut => assert!(matches!(finished, Err(ObjectError::NoRoom(_))), "{finished:?}"),
            _ => drop(finished.unwrap()),
        }
    }
    assert!(cluster.get("key").await.unwrap() == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_asks_again_and_again_does_so_on_one_connection() {
    let cluster = Cluster::start(3).await;
    let proxies =
        [Proxy::open(cluster.address(0)).await, Proxy::open(cluster.address(1)).await, Proxy::open(cluster.address(2)).await];
    let mut objects = cluster.objects.clone();
    for (server, proxy) in proxies.iter().enumerate() {
        objects = proxy.stand_before(&cluster, server).await;
    }
    for number in 0..50 {
        let data = random_bytes(number, 10_000);
        let row = put(&objects, "key", &data).await.unwrap();
        let mut download = objects.download(&row, 0, row.bytes).unwrap();
        while download.next().await.unwrap().is_some() {}
    }
    for proxy in &proxies {
        // Some are there before, some while the third is late, and some are given up for a server that is slow; a hundred would be none's.
        assert!((1..=30).contains(&proxy.connections()), "{}", proxy.connections());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_hardly_any_memory_all_are_written_and_read_and_nobody_waits_for_ever() {
    let memory = Memory { buffer_bytes: 1024 * 1024, ..Memory::default() };
    let cluster = Cluster::start_with(3, None, memory).await;
    let sizes = [10, 70_000, 900_000, 1_500_000, 6_000_000];
    let turns = (0..40).map(|number| {
        let (cluster, size) = (&cluster, sizes[number % sizes.len()]);
        async move {
            let (key, data) = (number.to_string(), random_bytes(number as u64, size));
            let announced = (number % 2 == 0).then_some(size as u64);
            cluster.put_in_pieces(&key, &data, announced, 50_000).await.unwrap();
            assert!(cluster.get(&key).await.unwrap() == data);
        }
    });
    // Of those who say nothing any more, each has what it said.
    let mut silent = Vec::new();
    for _ in 0..4 {
        let mut upload = cluster.objects.upload(SPACE, None).await.unwrap();
        upload.write(random_bytes(1, 10)).await.unwrap();
        silent.push(upload);
    }
    futures::future::join_all(turns).await;
    drop(silent);
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_slowly_is_sent_on_where_memory_is_short_and_is_what_it_was() {
    let cluster = Cluster::start_with(3, None, Memory { buffer_bytes: 1024 * 1024, ..Memory::default() }).await;
    // All but a little of the memory is theirs, who say nothing more.
    let mut silent = Vec::new();
    for _ in 0..7 {
        let mut upload = cluster.objects.upload(SPACE, None).await.unwrap();
        upload.write(random_bytes(1, 10)).await.unwrap();
        silent.push(upload);
    }
    for (key, announced) in [("streamed", Some(2_000_000)), ("gathered", None)] {
        let data = random_bytes(9, 2_000_000);
        let mut upload = cluster.objects.upload(SPACE, announced).await.unwrap();
        upload.write(data.slice(..100_000)).await.unwrap();
        // Longer than anything is kept where others wait.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        upload.relieve().await.unwrap();
        upload.write(data.slice(100_000..100_001)).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        upload.write(data.slice(100_001..)).await.unwrap();
        upload.finish(key, Attributes::default(), &Precondition::None).await.unwrap();
        assert!(cluster.get(key).await.unwrap() == data, "{key}");
    }
    for upload in &mut silent {
        upload.relieve().await.unwrap();
    }
    assert!(silent.len() == 7 && !cluster.objects.is_short_of_memory());
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sent_less_than_a_block_and_then_nothing_keeps_no_memory_from_others() {
    let cluster = Cluster::start_with(3, None, Memory { buffer_bytes: 1024 * 1024, ..Memory::default() }).await;
    let data = random_bytes(1, 2_000_000);
    let mut silent = Vec::new();
    // Of 16 blocks each holds one.
    for _ in 0..15 {
        let mut upload = cluster.objects.upload(SPACE, Some(2_000_000)).await.unwrap();
        upload.write(data.slice(..10)).await.unwrap();
        silent.push(upload);
    }
    // Longer than anything is kept where others wait.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    for upload in &mut silent {
        upload.relieve().await.unwrap();
    }
    let little = random_bytes(2, 1000);
    let other = cluster.put_in_pieces("other", &little, None, 1000);
    tokio::time::timeout(Duration::from_secs(20), other).await.expect("it gets memory").unwrap();
    for (number, mut upload) in silent.into_iter().enumerate() {
        upload.write(data.slice(10..)).await.unwrap();
        upload.finish(&number.to_string(), Attributes::default(), &Precondition::None).await.unwrap();
        assert!(cluster.get(&number.to_string()).await.unwrap() == data);
    }
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_slowly_hold_no_more_connections_than_they_may_and_others_write_on() {
    let cluster = Cluster::start_with(3, None, Memory { streams_max: 1, ..Memory::default() }).await;
    let data = random_bytes(8, 20_000_000);
    let begin = async || cluster.objects.upload(SPACE, Some(data.len() as u64)).await.unwrap();
    let (mut slow, mut other) = (begin().await, begin().await);
    slow.write(data.slice(..3_000_000)).await.unwrap();
    other.write(data.clone()).await.unwrap();
    let other = other.finish("other", Attributes::default(), &Precondition::None).await.unwrap();
    slow.write(data.slice(3_000_000..)).await.unwrap();
    let slow = slow.finish("slow", Attributes::default(), &Precondition::None).await.unwrap();
    // One that is sent as it comes is one needle, one that is gathered is several.
    assert_eq!((slow.contents.needles().len(), other.contents.needles().len()), (1, 5));
    for key in ["slow", "other"] {
        assert!(cluster.get(key).await.unwrap() == data);
    }
    // Whoever comes next is sent on again.
    let next = cluster.put("next", &data).await.unwrap();
    assert_eq!(next.contents.needles().len(), 1);
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_says_that_it_is_busy_gets_fewer_chunks() {
    const CHUNKS: usize = 200;
    let cluster = Cluster::start(2).await;
    cluster.set_load(0, Load { disk: 1000, ..Load::default() });
    let once = |settings: &mut NamespaceSettings| settings.copies = 1;
    cluster.metadata().change_namespace(SPACE, once).await.unwrap();
    for number in 0..CHUNKS {
        // Each door makes a chunk of its own.
        let objects = Objects::open(cluster.metadata().clone(), cluster.client(), Memory::default()).await.unwrap();
        put(&objects, &number.to_string(), &Bytes::from_static(b"short")).await.unwrap();
    }
    let rows = cluster.rows(b"c").await;
    let of_busy = |row: &&eddy_kv::Row| decode::<ChunkRow>(&row.value.bytes).unwrap().replicas[0].server == cluster.number(0);
    let busy = rows.iter().filter(of_busy).count();
    // It gets one only where it is drawn twice: a quarter of them, where half would be even.
    assert!(rows.len() == CHUNKS && busy < CHUNKS * 2 / 5, "{busy} of {}", rows.len());
}
