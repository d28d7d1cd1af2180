//! Servers that die, hang up in the middle, come back and rot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eddy_object::schema::{Class, DegradedRow, ServerRow, decode};
use eddy_object::{Attributes, Memory, ObjectError, Objects, Precondition};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use eddy_storage_testing::{Cluster, SPACE, random_bytes, until};

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

/// Stands before a server, and on each connection passes on so much of what it says and then nothing more. Where it is, and how often that
/// happened.
async fn stalling(server: String, after: u64) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stalled) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
    let met = stalled.clone();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (server, met) = (server.clone(), met.clone());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let ((mut asks, mut hears), (mut answers, mut takes)) = (client.split(), server.split());
                let said = async {
                    let mut some = (&mut answers).take(after);
                    tokio::io::copy(&mut some, &mut hears).await?;
                    // Only where there is more.
                    answers.read_u8().await?;
                    met.fetch_add(1, Ordering::Relaxed);
                    std::future::pending::<std::io::Result<()>>().await
                };
                let asked = tokio::io::copy(&mut asks, &mut takes);
                let _ = tokio::join!(said, asked);
                let _ = client.shutdown().await;
            });
        }
    });
    (address, stalled)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_holds_up_no_reader_for_long() {
    let cluster = Cluster::start(3).await;
    let data = random_bytes(1, 3_000_000);
    let row = cluster.put("key", &data).await.unwrap();
    // It says who it is, and nothing else; or it stalls in the middle of what it gives.
    for after in [14, 700_000] {
        let (address, stalled) = stalling(cluster.address(0).to_owned(), after).await;
        let server = ServerRow { address, failure_domain: "0".into(), class: Class::Fast };
        cluster.metadata().put_server(cluster.number(0), &server).await.unwrap();
        let objects = Objects::open(cluster.metadata().clone(), cluster.client(), Memory::default()).await.unwrap();
        for _ in 0..40 {
            let (start, mut download) = (Instant::now(), objects.download(&row, 0, row.bytes).unwrap());
            let mut came = Vec::new();
            while let Some(block) = download.next().await.unwrap() {
                came.extend_from_slice(&block);
            }
            assert!(came == data);
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
            if stalled.load(Ordering::Relaxed) > 0 {
                break;
            }
        }
        assert!(stalled.load(Ordering::Relaxed) > 0, "nobody met it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_hardly_any_memory_all_are_written_and_read_and_nobody_waits_for_ever() {
    let memory = Memory { buffer_bytes: 1024 * 1024, cache_bytes: 0 };
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
    let cluster = Cluster::start_with(3, None, Memory { buffer_bytes: 1024 * 1024, cache_bytes: 0 }).await;
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
    let cluster = Cluster::start_with(3, None, Memory { buffer_bytes: 1024 * 1024, cache_bytes: 0 }).await;
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
