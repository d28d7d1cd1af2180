//! What is written, replaced and deleted, and what may be.

use bytes::Bytes;
use eddy_object::schema::{NamespaceSettings, Quota, Versioning, decode, namespace_key, usage_objects_key};
use eddy_object::{Attributes, ObjectError, Precondition, Result, Usage};

use eddy_storage_testing::{Cluster, SPACE, random_bytes};

async fn put_if(cluster: &Cluster, key: &str, precondition: Precondition) -> Result<u64> {
    let mut upload = cluster.objects.upload(SPACE, Some(3)).await?;
    upload.write(Bytes::from_static(b"abc")).await?;
    Ok(upload.finish(key, Attributes::default(), &precondition).await?.upload)
}

#[tokio::test(flavor = "multi_thread")]
async fn preconditions_are_decided_where_the_object_changes() {
    let cluster = Cluster::start(2).await;
    assert!(matches!(put_if(&cluster, "k", Precondition::Upload(1)).await, Err(ObjectError::PreconditionFailed)));
    let first = put_if(&cluster, "k", Precondition::Absent).await.unwrap();
    assert!(matches!(put_if(&cluster, "k", Precondition::Absent).await, Err(ObjectError::PreconditionFailed)));
    let second = put_if(&cluster, "k", Precondition::Upload(first)).await.unwrap();
    assert!(matches!(put_if(&cluster, "k", Precondition::Upload(first)).await, Err(ObjectError::PreconditionFailed)));
    // Of many who want to be the first, one is.
    let tries = futures::future::join_all((0..20).map(|_| put_if(&cluster, "new", Precondition::Absent))).await;
    assert_eq!(tries.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let metadata = cluster.metadata();
    let refused = metadata.delete(SPACE, "k", &Precondition::Upload(first)).await;
    assert!(matches!(refused, Err(ObjectError::PreconditionFailed)));
    metadata.delete(SPACE, "k", &Precondition::Upload(second)).await.unwrap();
    assert!(matches!(metadata.delete(SPACE, "k", &Precondition::None).await, Err(ObjectError::NoObject(_))));
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_kept_to_the_byte_also_by_many_at_once() {
    let cluster = Cluster::start(2).await;
    let quota = Quota { bytes: Some(10_000), objects: Some(20) };
    cluster.metadata().change_namespace(SPACE, |settings| settings.quota = quota).await.unwrap();
    cluster.put("a", &random_bytes(1, 10_000)).await.unwrap();
    let refused = cluster.put("b", &random_bytes(1, 1)).await;
    assert!(matches!(refused, Err(ObjectError::QuotaExceeded { what: "bytes", holds: 10_000, at_most: 10_000 })), "{refused:?}");
    // What it replaces makes room.
    cluster.put("a", &random_bytes(2, 9_000)).await.unwrap();
    let put = async |number: u32| cluster.put(&format!("many/{number}"), &random_bytes(1, 30)).await;
    let outcomes = futures::future::join_all((0..60).map(&put)).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 19);
    let last = outcomes.into_iter().find_map(Result::err).unwrap();
    assert!(matches!(last, ObjectError::QuotaExceeded { what: "objects", .. }), "{last}");
    let quota = Quota { bytes: Some(1), objects: None };
    cluster.metadata().change_namespace(SPACE, |settings| settings.quota = quota).await.unwrap();
    cluster.put("a", &random_bytes(3, 100)).await.unwrap();
    // What cannot fit is not taken to its end, also where its length was not said.
    let refused = cluster.objects.upload(SPACE, Some(1000)).await.err();
    assert!(matches!(refused, Some(ObjectError::QuotaExceeded { at_most: 1, .. })), "{refused:?}");
    let mut upload = cluster.objects.upload(SPACE, None).await.unwrap();
    upload.write(random_bytes(3, 100)).await.unwrap();
    assert!(matches!(upload.write(random_bytes(3, 10_000)).await, Err(ObjectError::QuotaExceeded { .. })));
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_for_a_namespace_does_not_come_to_another_of_its_name() {
    let cluster = Cluster::start(2).await;
    let metadata = cluster.metadata();
    let data = random_bytes(1, 100);
    let mut upload = cluster.objects.upload(SPACE, None).await.unwrap();
    upload.write(data.clone()).await.unwrap();
    let mut part = cluster.objects.upload(SPACE, None).await.unwrap();
    part.write(data).await.unwrap();
    metadata.delete_namespace(SPACE).await.unwrap();
    let other = NamespaceSettings { owner: "other".into(), ..NamespaceSettings::default() };
    metadata.create_namespace(SPACE, other).await.unwrap();
    let multipart = metadata.create_multipart(SPACE, "key", "other", Attributes::default()).await.unwrap();
    let refused = upload.finish("key", Attributes::default(), &Precondition::None).await;
    assert!(matches!(refused, Err(ObjectError::NoNamespace(_))), "{refused:?}");
    let refused = part.finish_part("key", multipart, 1, Attributes::default()).await;
    assert!(matches!(refused, Err(ObjectError::NoNamespace(_))), "{refused:?}");
    assert_eq!(metadata.usage(SPACE).await.unwrap(), Usage::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_deletes_a_namespace_learns_of_uploads_that_begin_meanwhile() {
    let cluster = Cluster::start(2).await;
    let count =
        async || cluster.metadata().store().get(usage_objects_key(cluster.namespace)).await.unwrap().map(|count| count.version);
    let before = count().await;
    cluster.metadata().create_multipart(SPACE, "key", "owner", Attributes::default()).await.unwrap();
    assert!(count().await > before, "the namespace's deletion checks it");
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_come_and_go() {
    let cluster = Cluster::start(2).await;
    let metadata = cluster.metadata();
    let exists = metadata.create_namespace(SPACE, NamespaceSettings::default()).await;
    assert!(matches!(exists, Err(ObjectError::NamespaceExists(_))));
    assert!(matches!(metadata.create_namespace("", NamespaceSettings::default()).await, Err(ObjectError::BadName(_))));
    metadata.create_namespace("spare", NamespaceSettings::default()).await.unwrap();
    let names = metadata.list_namespaces("spa").await.unwrap().into_iter().map(|(name, _)| name);
    assert_eq!(names.collect::<Vec<_>>(), [SPACE, "spare"]);
    cluster.put("a", &random_bytes(1, 10)).await.unwrap();
    assert!(matches!(metadata.delete_namespace(SPACE).await, Err(ObjectError::NotEmpty(_, 1))));
    metadata.delete(SPACE, "a", &Precondition::None).await.unwrap();
    metadata.delete_namespace(SPACE).await.unwrap();
    assert!(matches!(cluster.put("a", &random_bytes(1, 10)).await, Err(ObjectError::NoNamespace(_))));
    assert!(cluster.rows(b"u").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_made_or_changed_to_what_is_wanted_and_no_more() {
    let cluster = Cluster::start(2).await;
    let metadata = cluster.metadata();
    let want = |versioning| move |settings: &mut NamespaceSettings| settings.versioning = versioning;
    let made = metadata.provide_namespace("new", want(Versioning::On)).await.unwrap();
    assert_eq!((made.settings.versioning, made.settings.copies), (Versioning::On, 3));
    let version = async || metadata.store().get(namespace_key("new")).await.unwrap().unwrap().version;
    let first = version().await;
    assert_eq!(metadata.provide_namespace("new", want(Versioning::On)).await.unwrap(), made);
    assert_eq!(version().await, first, "it was written though nothing changed");
    let suspended = metadata.provide_namespace("new", want(Versioning::Off)).await.unwrap();
    assert_eq!((suspended.id, suspended.settings.versioning), (made.id, Versioning::Suspended), "versions that were kept are");
    let second = version().await;
    metadata.provide_namespace("new", want(Versioning::Off)).await.unwrap();
    assert_eq!(version().await, second, "it was written though nothing changed");
    assert!(matches!(metadata.provide_namespace("", want(Versioning::On)).await, Err(ObjectError::BadName(_))));
    // Of many who take a name, one has it, and the others see whose it is.
    let take = |number: u32| {
        let owner = number.to_string();
        metadata.provide_namespace("raced", move |settings: &mut NamespaceSettings| {
            if settings.owner.is_empty() {
                settings.owner.clone_from(&owner);
            }
        })
    };
    let rows = futures::future::join_all((0..8).map(take)).await;
    let first = rows[0].as_ref().unwrap();
    assert!(rows.iter().all(|row| row.as_ref().unwrap() == first));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_within_the_limits_are_taken_and_others_are_not() {
    let cluster = Cluster::start(2).await;
    let longest = "ü".repeat(512);
    cluster.put(&longest, &random_bytes(1, 10)).await.unwrap();
    assert!(cluster.get(&longest).await.is_ok());
    for key in ["", &format!("{longest}a")] {
        assert!(matches!(cluster.put(key, &random_bytes(1, 10)).await, Err(ObjectError::BadName(_))));
    }
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_and_deletes_at_once_leaves_one_state() {
    let cluster = Cluster::start(2).await;
    let act = async |number: u64| {
        let key = format!("{}", number % 3);
        match number % 4 {
            0 => match cluster.metadata().delete(SPACE, &key, &Precondition::None).await {
                Ok(_) | Err(ObjectError::NoObject(_)) => {}
                Err(error) => panic!("{error}"),
            },
            _ => drop(cluster.put(&key, &random_bytes(number, 500)).await.unwrap()),
        }
    };
    futures::future::join_all((0..100).map(&act)).await;
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_gets_another_key_and_takes_its_needles_along() {
    let cluster = Cluster::start(3).await;
    for (key, size) in [("a", 5_000), ("b", 6_000), ("c", 30_000_000)] {
        cluster.put(key, &random_bytes(size as u64, size)).await.unwrap();
    }
    let modified = async |key| cluster.metadata().object(cluster.namespace, key).await.unwrap().modified_ms;
    let before = modified("c").await;
    let rename = async |from, to, precondition| cluster.metadata().rename(SPACE, from, to, &precondition).await;
    assert!(matches!(rename("a", "b", Precondition::Absent).await, Err(ObjectError::PreconditionFailed)));
    rename("a", "b", Precondition::Present).await.unwrap();
    rename("c", "d/e", Precondition::Absent).await.unwrap();
    assert!(matches!(rename("a", "x", Precondition::None).await, Err(ObjectError::NoObject(_))));
    rename("b", "b", Precondition::None).await.unwrap();
    cluster.check().await;
    assert!(cluster.get("a").await.is_err() && cluster.get("c").await.is_err());
    assert!(cluster.get("b").await.unwrap() == random_bytes(5_000, 5_000));
    // What is known of who needs them is right, too: they can be moved to another chunk.
    for row in cluster.rows(b"r").await {
        assert!(cluster.objects.relocate(&decode(&row.value.bytes).unwrap(), None).await.unwrap());
    }
    cluster.check().await;
    assert!(cluster.get("d/e").await.unwrap() == random_bytes(30_000_000, 30_000_000));
    assert_eq!(modified("d/e").await, before, "its bytes are as old as they were");
}
