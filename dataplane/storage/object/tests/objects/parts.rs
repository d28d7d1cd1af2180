//! Objects that come in parts.

use bytes::Bytes;
use eddy_object::schema::{Attributes, ETag, ObjectRow, PieceRow, Quota};
use eddy_object::{Completion, ObjectError, Precondition, Result, WantedPart};
use eddy_storage_testing::{Cluster, SPACE, random_bytes};

async fn begin(cluster: &Cluster, key: &str) -> u64 {
    cluster.metadata().create_multipart(SPACE, key, "someone", Attributes::default()).await.unwrap()
}

/// A part, known by the first bytes of its data.
async fn part(cluster: &Cluster, key: &str, upload: u64, number: u16, data: &Bytes) -> Result<PieceRow> {
    let mut writing = cluster.objects.upload(SPACE, Some(data.len() as u64)).await?;
    writing.write(data.clone()).await?;
    let etag = ETag { digest: digest(data), parts: 0 };
    writing.finish_part(key, upload, number, Attributes { etag, ..Attributes::default() }).await
}

fn digest(data: &Bytes) -> Vec<u8> {
    data[..data.len().min(8)].to_vec()
}

fn wanted(parts: &[(u16, &Bytes)]) -> Vec<WantedPart> {
    parts.iter().map(|(number, data)| WantedPart { number: *number, digest: digest(data), checksum: None }).collect()
}

async fn complete(cluster: &Cluster, key: &str, upload: u64, parts: &[(u16, &Bytes)]) -> Result<ObjectRow> {
    let seal = |attributes: &Attributes, _: &[PieceRow]| Ok(attributes.clone());
    let wanted = wanted(parts);
    let completion = Completion { upload, wanted: &wanted, part_bytes_min: 1000, precondition: &Precondition::None };
    cluster.metadata().complete_multipart(SPACE, key, completion, seal).await
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_an_object_and_what_was_not_wanted_goes() {
    let cluster = Cluster::start(3).await;
    let upload = begin(&cluster, "key").await;
    // One longer than what one transaction refers to, by far.
    let data: Vec<Bytes> =
        [5_000, 700_000_000, 1_000, 3].iter().enumerate().map(|(at, size)| random_bytes(at as u64, *size)).collect();
    for number in [3, 1, 2, 4] {
        part(&cluster, "key", upload, number, &data[usize::from(number) - 1]).await.unwrap();
    }
    // What has its number takes its place.
    part(&cluster, "key", upload, 2, &data[0]).await.unwrap();
    let replaced = part(&cluster, "key", upload, 2, &data[1]).await.unwrap();
    assert_eq!(replaced.bytes, 700_000_000);
    assert!(matches!(cluster.get("key").await, Err(ObjectError::NoObject(_))));
    let usage = cluster.metadata().usage(SPACE).await.unwrap();
    assert_eq!((usage.objects, usage.bytes), (0, 700_006_003), "what came counts");
    cluster.check().await;
    let row = complete(&cluster, "key", upload, &[(1, &data[0]), (2, &data[1]), (4, &data[3])]).await.unwrap();
    assert_eq!(row.bytes, 700_005_003);
    assert!(matches!(part(&cluster, "key", upload, 5, &data[0]).await, Err(ObjectError::NoUpload)));
    // Who did not hear the answer asks again.
    assert_eq!(complete(&cluster, "key", upload, &[(1, &data[0])]).await.unwrap(), row);
    while cluster.metadata().remove_gone(u64::MAX).await.unwrap() > 0 || !cluster.rows(b"t").await.is_empty() {}
    cluster.check().await;
    let whole = [&data[0][..], &data[1], &data[3]].concat();
    assert!(cluster.get("key").await.unwrap() == whole);
    for (start, end) in [(0, 1), (4_999, 5_001), (100_000_000, 100_000_010), (700_004_999, 700_005_003)] {
        assert!(cluster.read(&row, start, end).await.unwrap() == whole[start as usize..end as usize]);
    }
    let moved = cluster.metadata().rename(SPACE, "key", "elsewhere", &Precondition::Absent).await.unwrap();
    assert!(cluster.read(&moved, 0, 6_000).await.unwrap() == whole[..6_000]);
    cluster.metadata().delete(SPACE, "elsewhere", &Precondition::None).await.unwrap();
    cluster.check().await;
    while !cluster.rows(b"t").await.is_empty() {
        cluster.metadata().remove_gone(u64::MAX).await.unwrap();
    }
    cluster.check().await;
    for tag in [b"q", b"r", b"p", b"m"] {
        assert!(cluster.rows(tag).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_not_what_is_wanted_make_no_object_and_stay() {
    let cluster = Cluster::start(3).await;
    let upload = begin(&cluster, "key").await;
    let (one, two) = (random_bytes(1, 2000), random_bytes(2, 999));
    part(&cluster, "key", upload, 1, &one).await.unwrap();
    part(&cluster, "key", upload, 2, &two).await.unwrap();
    part(&cluster, "key", upload, 3, &one).await.unwrap();
    let attempt = async |parts: &[(u16, &Bytes)]| complete(&cluster, "key", upload, parts).await;
    assert!(matches!(attempt(&[]).await, Err(ObjectError::BadPart(_))));
    assert!(matches!(attempt(&[(1, &two)]).await, Err(ObjectError::BadPart(_))));
    assert!(matches!(attempt(&[(9, &two)]).await, Err(ObjectError::BadPart(_))));
    assert!(matches!(attempt(&[(3, &one), (1, &one)]).await, Err(ObjectError::PartOrder)));
    assert!(matches!(attempt(&[(1, &one), (1, &one)]).await, Err(ObjectError::PartOrder)));
    assert!(matches!(attempt(&[(1, &one), (2, &two), (3, &one)]).await, Err(ObjectError::PartTooShort { number: 2, .. })));
    assert!(matches!(complete(&cluster, "other", upload, &[(1, &one)]).await, Err(ObjectError::NoUpload)));
    for number in [0, 10_001] {
        assert!(matches!(part(&cluster, "key", upload, number, &one).await, Err(ObjectError::BadPart(_))));
    }
    // None of this ended it.
    part(&cluster, "key", upload, 3, &two).await.unwrap();
    assert_eq!(cluster.metadata().parts(cluster.namespace, "key", upload).await.unwrap().len(), 3);
    let row = complete(&cluster, "key", upload, &[(1, &one), (3, &two)]).await.unwrap();
    assert_eq!(cluster.read(&row, 0, row.bytes).await.unwrap(), [&one[..], &two].concat());
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_count_against_the_quota_until_they_are_given_up() {
    let cluster = Cluster::start(2).await;
    let quota = Quota { bytes: Some(10_000), objects: None };
    cluster.metadata().change_namespace(SPACE, |settings| settings.quota = quota).await.unwrap();
    let upload = begin(&cluster, "key").await;
    part(&cluster, "key", upload, 1, &random_bytes(1, 8_000)).await.unwrap();
    let refused = part(&cluster, "key", upload, 2, &random_bytes(1, 8_000)).await;
    assert!(matches!(refused, Err(ObjectError::QuotaExceeded { what: "bytes", .. })));
    assert!(matches!(cluster.put("other", &random_bytes(1, 8_000)).await, Err(ObjectError::QuotaExceeded { .. })));
    let (listed, more) = cluster.metadata().list_multiparts(cluster.namespace, "k", None, 10).await.unwrap();
    assert_eq!((listed[0].key.as_str(), listed[0].upload, more), ("key", upload, false));
    cluster.metadata().abort_multipart(SPACE, "key", upload).await.unwrap();
    assert!(matches!(cluster.metadata().abort_multipart(SPACE, "key", upload).await, Err(ObjectError::NoUpload)));
    assert_eq!(cluster.metadata().usage(SPACE).await.unwrap().bytes, 0);
    cluster.put("other", &random_bytes(1, 8_000)).await.unwrap();
    while !cluster.rows(b"t").await.is_empty() {
        cluster.metadata().remove_gone(u64::MAX).await.unwrap();
    }
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_complete_at_once_and_parts_that_come_meanwhile_are_in_or_refused() {
    let cluster = Cluster::start(2).await;
    for round in 0..10 {
        let upload = begin(&cluster, "key").await;
        let data = random_bytes(round, 2_000);
        part(&cluster, "key", upload, 1, &data).await.unwrap();
        let all = futures::future::join_all((0..4).map(|number| {
            let (cluster, data) = (&cluster, &data);
            async move {
                if number == 0 {
                    return part(cluster, "key", upload, 2, data).await.map(drop);
                }
                complete(cluster, "key", upload, &[(1, data)]).await.map(drop)
            }
        }));
        let outcomes = all.await;
        assert!(outcomes[1..].iter().all(Result::is_ok), "{outcomes:?}");
        assert!(matches!(outcomes[0], Ok(()) | Err(ObjectError::NoUpload)));
        assert_eq!(cluster.get("key").await.unwrap(), data);
        while cluster.metadata().remove_gone(u64::MAX).await.unwrap() > 0 || !cluster.rows(b"t").await.is_empty() {}
        cluster.check().await;
    }
}
