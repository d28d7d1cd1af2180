//! Who leads hands over at once: what is published or reconciled by one replica has no gap when it is rolled.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use eddy_e2e::Cluster;
use eddy_watch::{Bid, Lease};
use tokio::time::timeout;

/// Long, so that nobody waits for its end by chance.
const SECONDS: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_lease_that_is_given_back_is_taken_before_it_would_have_ended() {
    let cluster = Cluster::connect().await;
    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: lease-test}\n");
    let bid = |identity| Bid { namespace: "lease-test", name: "rolled", identity, seconds: SECONDS };
    let mut first = Lease::watch(cluster.client.clone(), bid("first")).await.unwrap();
    first.acquired().await.unwrap();
    let mut second = Lease::watch(cluster.client.clone(), bid("second")).await.unwrap();
    // It has seen that another holds it, and would sleep until the end.
    assert!(timeout(Duration::from_secs(3), second.acquired()).await.is_err(), "two hold it");
    first.release().await;
    let taken = timeout(Duration::from_secs(SECONDS / 3), second.acquired()).await;
    assert!(taken.is_ok_and(|taken| taken.is_ok()), "nobody holds it");
    let holder = cluster.kubectl(&["-n", "lease-test", "get", "lease", "rolled", "-o", "jsonpath={.spec.holderIdentity}"]);
    assert_eq!(holder, "second");
    second.release().await;
    cluster.kubectl(&["delete", "namespace", "lease-test", "--wait=false"]);
}
