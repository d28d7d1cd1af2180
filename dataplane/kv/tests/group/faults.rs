//! Replicas that die and come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eddy_kv::{KvError, Store, Transaction, Write};

use crate::flipped::flip;
use crate::support::Group;

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_dies_another_leads_and_nothing_acknowledged_is_lost() {
    let mut group = Group::started(3, 0).await;
    let client = Arc::new(group.client());
    let mut written = 0;
    for _ in 0..3 {
        let leader = group.leader().await;
        let writers: Vec<_> = (0..8).map(|writer| tokio::spawn(write_until_failure(client.clone(), writer))).collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        group.stop(leader).await;
        let begun = Instant::now();
        client.commit(Transaction::new().put("after", "")).await.unwrap();
        // A figure, not an assertion: docs/benchmarks.md.
        println!("another led after {} ms", begun.elapsed().as_millis());
        for writer in writers {
            writer.abort();
            let _ = writer.await;
        }
        group.start(leader).await;
        group.wait_until_whole().await;
        for number in 0..3 {
            let counters = sum(group.replica(number).as_ref()).await;
            assert!(counters.acknowledged <= counters.happened, "replica {number}: {counters:?}");
            assert!(counters.happened > written, "replica {number}: nothing happened");
        }
        written = sum(client.as_ref()).await.happened;
    }
}

#[derive(Debug)]
struct Counters {
    acknowledged: i64,
    happened: i64,
}

/// Each adds to a counter and then, when that was acknowledged, to another.
async fn write_until_failure(client: Arc<dyn Store>, writer: u32) {
    loop {
        let write = Write::Add { key: format!("happened/{writer}").into(), delta: 1, at_most: None };
        match client.commit(Transaction { checks: Vec::new(), writes: vec![write] }).await {
            Ok(_) => {}
            Err(KvError::Unknown { .. } | KvError::Unavailable { .. }) => continue,
            Err(error) => panic!("{error}"),
        }
        // It may happen or not.
        let _ = client.commit(Transaction::new().add(format!("acknowledged/{writer}"), 1, None)).await;
    }
}

async fn sum(store: &dyn Store) -> Counters {
    let mut counters = Counters { acknowledged: 0, happened: 0 };
    for writer in 0..8 {
        for (name, sum) in [("acknowledged", &mut counters.acknowledged), ("happened", &mut counters.happened)] {
            let found = store.get(format!("{name}/{writer}").into()).await.unwrap();
            *sum += found.map_or(0, |value| i64::from_le_bytes(value.bytes[..].try_into().unwrap()));
        }
    }
    counters
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_disk_changed_a_row_ends_and_the_others_go_on() {
    let mut group = Group::started(3, 0).await;
    let client = group.client();
    client.commit(Transaction::new().put("b", "visibility=private")).await.unwrap();
    // Until the rows are in its file.
    for number in 0..300 {
        client.commit(Transaction::new().put("n", format!("{number}"))).await.unwrap();
    }
    let leader = group.leader().await;
    let [by_reading, by_writing] = [(leader + 1) % 3, (leader + 2) % 3];
    for number in [by_reading, by_writing] {
        group.stop(number).await;
        assert!(flip(&group.folder_of(number).join("rows"), b"visibility=private"));
        group.start(number).await;
        group.wait_until_whole().await;
    }

    let replica = group.replica(by_reading).clone();
    assert!(matches!(replica.get("b".into()).await, Err(KvError::Broken { .. })));
    let ended = tokio::time::timeout(Duration::from_secs(60), replica.broken()).await.unwrap();
    assert!(ended.to_string().contains("the row b"), "{ended}");
    drop(replica);
    group.stop(by_reading).await;

    let b = client.get("b".into()).await.unwrap();
    let replica = group.replica(by_writing).clone();
    let change = Transaction::new().check("b", b.as_ref()).put("n", "changed");
    // Of two that are left both must have it in their logs, which is before either applies it.
    client.commit(change).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), replica.broken()).await.unwrap();
    assert!(matches!(ended, KvError::Broken { .. }), "{ended}");
}
