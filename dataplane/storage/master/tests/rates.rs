//! What goes on in the background goes no faster than it may, on real chunkservers.
#![allow(clippy::unwrap_used)]

mod heal;

use std::num::NonZeroU64;
use std::time::Duration;

use eddy_object::Precondition;
use eddy_object::schema::{Tiering, decode};
use eddy_storage_master::{Master, MasterOptions};
use eddy_storage_testing::{Cluster, SPACE, random_bytes};

use crate::heal::{at_once, collect_all, heal};

const LONG: Duration = Duration::from_secs(60);
/// So long is a day here.
const DAY: Duration = Duration::from_millis(1);
/// What is spent first begins at once: of two, the second waits for the first.
const PATIENCE: Duration = Duration::from_millis(300);

fn master(cluster: &Cluster, change: impl FnOnce(&mut MasterOptions)) -> Master {
    let mut options = at_once();
    change(&mut options);
    Master::new(cluster.objects.clone(), cluster.client(), options)
}

/// Whether a work is still under way after a while, where two of its steps would take hours.
async fn waits<T>(work: impl Future<Output = T>) -> bool {
    tokio::time::timeout(PATIENCE, work).await.is_err()
}

const SLOW: Option<NonZeroU64> = NonZeroU64::new(100);

#[tokio::test(flavor = "multi_thread")]
async fn repair_scrubbing_tiers_coding_and_compaction_keep_to_their_rates() {
    let cluster = Cluster::start(6).await;
    // Each has a chunk of its own.
    for number in 0..3 {
        cluster.put(&number.to_string(), &random_bytes(number, 9_000_000)).await.unwrap();
    }
    for row in cluster.rows(b"c").await {
        let chunk = u64::from_be_bytes(row.key[1..].try_into().unwrap());
        let row: eddy_object::schema::ChunkRow = decode(&row.value.bytes).unwrap();
        let at = cluster.place_of(row.replicas[0].server);
        cluster.client().remove(cluster.address(at), row.replicas[0].id(chunk)).await.unwrap();
        cluster.metadata().degrade(chunk, &row.replicas[..1]).await.unwrap();
    }
    assert!(waits(master(&cluster, |options| options.repair_bytes_per_second = SLOW).repair()).await);
    // Others' rates are not its own.
    let others = master(&cluster, |options| {
        options.scrub_bytes_per_second = SLOW;
        options.tier_bytes_per_second = SLOW;
        options.move_bytes_per_second = SLOW;
    });
    assert!(heal(&cluster, &others).await > 0);

    assert!(waits(others.scrub(DAY, LONG)).await);
    assert!(master(&cluster, |options| options.tier_bytes_per_second = SLOW).scrub(DAY, LONG).await.unwrap().whole > 0);

    cluster
        .metadata()
        .change_namespace(SPACE, |settings| settings.tiering = Tiering { coded: true, cold_after_days: None })
        .await
        .unwrap();
    assert!(waits(others.tier(DAY, LONG)).await);
    let free = master(&cluster, |options| options.move_bytes_per_second = SLOW);
    assert_eq!(free.tier(DAY, LONG).await.unwrap().left, 0);
    assert!(waits(others.code(LONG)).await);
    assert!(free.code(LONG).await.unwrap().chunks > 0);

    // Two chunks of many, of which little is needed.
    cluster.metadata().change_namespace(SPACE, |settings| settings.tiering = Tiering::default()).await.unwrap();
    for number in 0..14 {
        cluster.put(&format!("packed-{number}"), &random_bytes(number, 7_900_000)).await.unwrap();
    }
    for number in (0..14).filter(|number| number % 7 > 2) {
        cluster.metadata().delete(SPACE, &format!("packed-{number}"), &Precondition::None).await.unwrap();
    }
    assert!(waits(others.compact(30)).await);
    assert!(master(&cluster, |options| options.repair_bytes_per_second = SLOW).compact(30).await.unwrap().needles > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn collection_keeps_to_its_rate() {
    let cluster = Cluster::start(3).await;
    for number in 0..2 {
        cluster.put(&number.to_string(), &random_bytes(number, 9_000_000)).await.unwrap();
        cluster.metadata().delete(SPACE, &number.to_string(), &Precondition::None).await.unwrap();
    }
    let free = master(&cluster, |options| options.move_bytes_per_second = SLOW);
    while cluster.rows(b"g").await.is_empty() {
        assert_eq!(free.collect().await.unwrap().files, 0);
    }
    let slow = master(&cluster, |options| options.collect_per_second = NonZeroU64::new(1));
    assert!(waits(slow.collect()).await, "the first goes at once, and others wait");
    collect_all(&cluster, &free).await;
    assert!(cluster.rows(b"c").await.is_empty());
}
