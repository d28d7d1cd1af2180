//! What goes because rules say so, and what stays.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroU64;
use std::time::Duration;

use eddy_object::schema::{
    Expire, ExpireOlder, LIFECYCLE, LifecycleFilter, LifecycleRule, LifecycleRules, Lock, Versioning, encode,
};
use eddy_object::{Attributes, Precondition, VersionId, VersionsAfter};
use eddy_storage_master::{Expired, Master, MasterOptions};
use eddy_storage_testing::{Cluster, SPACE, random_bytes, until};

/// So short that all days have passed.
const NO_TIME: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);

fn rule(prefix: &str) -> LifecycleRule {
    let filter = LifecycleFilter { prefix: Some(prefix.to_owned()), ..LifecycleFilter::default() };
    LifecycleRule { id: prefix.to_owned(), enabled: true, filter, expire: None, older: None, parts_days: None }
}

async fn set(cluster: &Cluster, rules: Vec<LifecycleRule>) {
    let rules = encode(&LifecycleRules(rules)).unwrap();
    cluster.metadata().set_configuration(SPACE, LIFECYCLE, Some(rules)).await.unwrap();
}

async fn keys(cluster: &Cluster) -> Vec<String> {
    let (versions, _) = cluster.metadata().list_versions(cluster.namespace, "", &VersionsAfter::Nothing, 1000).await.unwrap();
    versions.into_iter().map(|version| format!("{}{}", version.key, if version.row.deleted { " deleted" } else { "" })).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_let_go_of_what_they_are_about() {
    let cluster = Cluster::start(3).await;
    let master = Master::new(cluster.objects.clone(), cluster.client(), MasterOptions::default());
    for key in ["keep/a", "tmp/a", "tmp/b", "unsaid"] {
        cluster.put(key, &random_bytes(1, 100)).await.unwrap();
    }
    let metadata = cluster.metadata();
    metadata.create_multipart(SPACE, "tmp/parts", "alice", Attributes::default()).await.unwrap();
    assert_eq!(master.expire(NO_TIME).await.unwrap(), Expired::default());
    let tmp = LifecycleRule { expire: Some(Expire::AfterDays(1)), parts_days: Some(1), ..rule("tmp/") };
    let off = LifecycleRule { enabled: false, expire: Some(Expire::AfterDays(1)), ..rule("keep/") };
    set(&cluster, vec![tmp, off]).await;
    tokio::time::sleep(3 * NO_TIME).await;
    assert_eq!(master.expire(DAY).await.unwrap(), Expired { namespaces: 1, ..Expired::default() });
    let expected = Expired { objects: 2, uploads: 1, namespaces: 1, ..Expired::default() };
    assert_eq!(master.expire(NO_TIME).await.unwrap(), expected);
    assert_eq!(keys(&cluster).await, ["keep/a", "unsaid"]);
    assert_eq!(metadata.usage(SPACE).await.unwrap().objects, 2);
    assert!(metadata.list_multiparts(cluster.namespace, "", None, 10).await.unwrap().0.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_go_but_those_that_are_locked() {
    let cluster = Cluster::start(3).await;
    let master = Master::new(cluster.objects.clone(), cluster.client(), MasterOptions::default());
    let metadata = cluster.metadata();
    metadata.change_namespace(SPACE, |settings| settings.versioning = Versioning::On).await.unwrap();
    let mut versions = Vec::new();
    for seed in 0..3 {
        cluster.put("a", &random_bytes(seed, 100)).await.unwrap();
        versions.push(VersionId::of(&metadata.object(cluster.namespace, "a").await.unwrap()));
    }
    let hold = |row: &mut eddy_object::schema::ObjectRow| {
        row.attributes.lock = Lock { retention: None, hold: true };
        Ok(())
    };
    metadata.set_attributes(SPACE, "a", Some(versions[0]), &Precondition::None, hold).await.unwrap();
    cluster.put("b", &random_bytes(9, 100)).await.unwrap();
    metadata.delete(SPACE, "b", &Precondition::None).await.unwrap();
    let older = LifecycleRule { older: Some(ExpireOlder { days: 1, keep: None }), expire: Some(Expire::LoneMarkers), ..rule("") };
    set(&cluster, vec![older]).await;
    tokio::time::sleep(3 * NO_TIME).await;
    assert_eq!(keys(&cluster).await, ["a", "a", "a", "b deleted", "b"]);
    assert_eq!(master.expire(NO_TIME).await.unwrap().versions, 2);
    // What said that b was deleted goes when nothing of b is left.
    assert_eq!(keys(&cluster).await, ["a", "a", "b deleted"]);
    assert_eq!(master.expire(NO_TIME).await.unwrap().versions, 1);
    assert_eq!(keys(&cluster).await, ["a", "a"]);
    assert_eq!(master.expire(NO_TIME).await.unwrap().versions, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_are_taken_back_let_go_of_nothing_more_however_slowly_they_are_followed() {
    let cluster = Cluster::start(3).await;
    let options = MasterOptions { expire_per_second: NonZeroU64::new(10), ..MasterOptions::default() };
    let master = Master::new(cluster.objects.clone(), cluster.client(), options);
    for number in 0..20 {
        cluster.put(&number.to_string(), &random_bytes(1, 100)).await.unwrap();
    }
    set(&cluster, vec![LifecycleRule { expire: Some(Expire::AfterDays(1)), ..rule("") }]).await;
    tokio::time::sleep(3 * NO_TIME).await;
    let take_back = async {
        until("some went", async || keys(&cluster).await.len() < 20).await;
        set(&cluster, vec![]).await;
        keys(&cluster).await.len()
    };
    let (expired, left) = tokio::join!(master.expire(NO_TIME), take_back);
    assert_eq!((expired.unwrap().objects, keys(&cluster).await.len()), (20 - left, left));
    assert!(left > 0);
}
