//! What was written is read.

use eddy_object::schema::ObjectRow;
use eddy_object::{Memory, ObjectError, Objects, Precondition};

use eddy_storage_testing::{Cluster, SPACE, random_bytes};

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_all_sizes_come_back_in_whole_and_in_part() {
    let cluster = Cluster::start(3).await;
    let mut random = fastrand::Rng::with_seed(1);
    let sizes = [0, 1, 4096, 65_536, 65_537, 1 << 20, (1 << 20) + 1, 5_000_000, (8 << 20) + 3, 70_000_000];
    for (size, announced) in sizes.into_iter().flat_map(|size| [(size, true), (size, false)]) {
        let data = random_bytes(size as u64, size);
        let announce = announced.then_some(size as u64);
        let piece = random.usize(1..300_000);
        let row = cluster.put_in_pieces("key", &data, announce, piece).await.unwrap();
        assert_eq!(row.bytes, size as u64);
        assert!(cluster.get("key").await.unwrap() == data, "{size} {announced}");
        for _ in 0..10 {
            let start = random.u64(0..=row.bytes);
            let end = random.u64(start..=row.bytes);
            assert!(
                cluster.read(&row, start, end).await.unwrap() == data[start as usize..end as usize],
                "{start}..{end} of {size}"
            );
        }
        assert!(cluster.objects.download(&row, 0, row.bytes + 1).is_err());
        while cluster.metadata().remove_gone(u64::MAX).await.unwrap() > 0 {}
        cluster.check().await;
    }
    cluster.metadata().delete(SPACE, "key", &Precondition::None).await.unwrap();
    while !cluster.rows(b"t").await.is_empty() {
        cluster.metadata().remove_gone(u64::MAX).await.unwrap();
    }
    cluster.check().await;
    assert!(cluster.rows(b"p").await.is_empty() && cluster.rows(b"r").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_finished_is_not_there() {
    let cluster = Cluster::start(3).await;
    for (announced, came) in [(Some(10), 9), (Some(10), 11), (Some(3_000_000), 2_999_999), (Some(3_000_000), 3_000_001)] {
        let outcome = cluster.put_in_pieces("key", &random_bytes(1, came), announced, 7_000).await;
        assert!(matches!(outcome, Err(ObjectError::WrongLength { .. })), "{outcome:?}");
    }
    let mut upload = cluster.objects.upload(SPACE, None).await.unwrap();
    upload.write(random_bytes(1, 9_000_000)).await.unwrap();
    drop(upload);
    assert!(matches!(cluster.get("key").await, Err(ObjectError::NoObject(_))));
    assert!(matches!(cluster.objects.upload("nowhere", None).await.map(drop), Err(ObjectError::NoNamespace(_))));
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_objects_share_a_chunk() {
    let cluster = Cluster::start(3).await;
    let put = async |number: u64| cluster.put(&number.to_string(), &random_bytes(number, 2000)).await;
    let writes = (0..300).map(&put);
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    for number in 0..300 {
        assert!(cluster.get(&number.to_string()).await.unwrap() == random_bytes(number, 2000));
    }
    assert_eq!(cluster.rows(b"c").await.len(), 1);
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_not_long_ago_is_read_without_a_server_and_never_another_s() {
    let mut cluster = Cluster::start(3).await;
    let memory = Memory { cache_bytes: 10_000_000, ..Memory::default() };
    let objects = Objects::open(cluster.metadata().clone(), cluster.client(), memory).await.unwrap();
    let read = async |row: &ObjectRow, start: u64, end: u64| {
        let mut download = objects.download(row, start, end)?;
        let mut data = Vec::new();
        while let Some(block) = download.next().await? {
            data.extend_from_slice(&block);
        }
        Ok::<_, ObjectError>(data)
    };
    let mut rows = Vec::new();
    for (number, size) in [0, 1000, 200_000, 5_000_000].into_iter().enumerate() {
        rows.push(cluster.put(&number.to_string(), &random_bytes(size as u64, size)).await.unwrap());
    }
    let replaced = cluster.put("1", &random_bytes(7, 1000)).await.unwrap();
    // In part first: that alone is not kept.
    read(&rows[2], 5, 10).await.unwrap();
    for row in rows.iter().chain([&replaced]) {
        assert!(read(row, 0, row.bytes).await.is_ok());
    }
    for server in 0..3 {
        cluster.stop(server).await;
    }
    for row in &rows[..3] {
        assert!(read(row, 0, row.bytes).await.unwrap() == random_bytes(row.bytes, row.bytes as usize));
    }
    assert!(read(&rows[2], 70_000, 150_000).await.unwrap() == random_bytes(200_000, 200_000)[70_000..150_000]);
    assert!(read(&replaced, 0, 1000).await.unwrap() == random_bytes(7, 1000));
    assert!(matches!(read(&rows[3], 0, 10).await, Err(ObjectError::Unreadable(_))));
}
