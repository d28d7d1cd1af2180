//! Who belongs to a group, and how replicas come to it and go.

use std::sync::Arc;

use eddy_kv::{KvError, LogOptions, Replicated, ReplicatedOptions, Store, Transaction};
use eddy_rpc::{TcpTransport, Transport};

use crate::flipped::flip;
use crate::support::{Group, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_founded_only_when_all_can_be_asked() {
    let mut group = Group::new(3, 0);
    group.start(0).await;
    group.start(1).await;
    // Both have asked everyone by now.
    let refused = group.client().commit(Transaction::new().put("a", "1")).await;
    assert!(matches!(refused, Err(KvError::Unavailable { .. })), "{refused:?}");
    assert_eq!(group.replica(0).status().group, None);
    group.start(2).await;
    group.wait_until_whole().await;
    group.client().commit(Transaction::new().put("a", "1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_lost_its_disk_comes_back_as_another_and_gets_all_rows() {
    let mut group = Group::started(3, 0).await;
    let client = group.client();
    for number in 0..300 {
        client.commit(Transaction::new().put(format!("{number}"), vec![7; 100])).await.unwrap();
    }
    // Also the founder.
    for number in 0..3 {
        let before = group.replica(number).status().id;
        group.stop(number).await;
        std::fs::remove_dir_all(group.folder_of(number)).unwrap();
        group.start(number).await;
        until("it is a voter again", async || {
            let status = group.replica(number).status();
            let voters = status.members.iter().filter(|member| member.voter).map(|member| member.id);
            (voters.collect::<Vec<_>>().contains(&status.id) && status.members.len() == 3).then_some(())
        })
        .await;
        assert_ne!(group.replica(number).status().id, before);
        // The log does not reach back so far: the rows were sent.
        assert_eq!(group.replica(number).get("0".into()).await.unwrap().unwrap().bytes, vec![7; 100]);
    }
    client.commit(Transaction::new().check("299", client.get("299".into()).await.unwrap().as_ref()).put("a", "1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_knows_of_one_replica_finds_whichever_leads() {
    let mut group = Group::started(3, 0).await;
    let first = group.leader().await;
    let knows = (first + 1) % 3;
    let client = group.client_of(knows);
    client.commit(Transaction::new().put("a", "1")).await.unwrap();
    // Also when the one that led, which it was told of, is gone.
    group.stop(first).await;
    client.commit(Transaction::new().put("a", "2")).await.unwrap();
    assert_eq!(client.get("a".into()).await.unwrap().unwrap().bytes, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_answers_reads_and_does_not_vote() {
    let mut group = Group::started(1, 1).await;
    let client = group.client();
    let standby = group.replica(1).clone();
    for number in 0..200 {
        let version = client.commit(Transaction::new().put("a", format!("{number}"))).await.unwrap();
        let read = standby.get("a".into()).await.unwrap().unwrap();
        assert_eq!((read.version, read.bytes), (version, format!("{number}").into()), "it sees what was acknowledged");
    }
    let refused = standby.commit(Transaction::new().put("a", "")).await;
    assert!(matches!(refused, Err(KvError::Unavailable { .. })), "{refused:?}");
    drop(standby);
    // Alone, it does not know what was acknowledged meanwhile.
    group.stop(0).await;
    let refused = group.replica(1).get("a".into()).await;
    assert!(matches!(refused, Err(KvError::Unavailable { .. })), "{refused:?}");
    group.start(0).await;
    assert_eq!(group.client().get("a".into()).await.unwrap().unwrap().bytes, "199");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_becomes_three_and_one_again() {
    let mut group = Group::new(3, 0);
    let folder = group.folder_of(0);
    let alone = Replicated::alone(ReplicatedOptions::alone(&folder, 1024 * 1024)).await.unwrap();
    alone.commit(Transaction::new().put("a", "1")).await.unwrap();
    alone.close().await;
    drop(alone);
    for number in 0..3 {
        group.start(number).await;
    }
    group.wait_until_whole().await;
    let client = group.client();
    assert_eq!(client.get("a".into()).await.unwrap().unwrap().bytes, "1");

    let stays = group.leader().await;
    let leave: Vec<usize> = (0..3).filter(|number| *number != stays).collect();
    for number in leave {
        client.remove(&group.addresses[number]).await.unwrap();
        group.stop(number).await;
    }
    let refused = client.remove(&group.addresses[stays]).await;
    assert!(refused.unwrap_err().to_string().contains("only voter"));
    assert!(client.remove("nobody:1").await.is_err());
    client.commit(Transaction::new().put("a", "2")).await.unwrap();
    assert_eq!(group.replica(stays).status().members.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_could_not_do_something_for_a_damaged_row_takes_in_no_other() {
    let mut group = Group::new(2, 0);
    let folder = group.folder_of(0);
    let options = ReplicatedOptions {
        log: LogOptions { commands_between_snapshots: 20, commands_kept: 1000, ..LogOptions::default() },
        ..ReplicatedOptions::alone(&folder, 1024 * 1024)
    };
    let alone = Replicated::alone(options.clone()).await.unwrap();
    alone.commit(Transaction::new().put("b", "visibility=private")).await.unwrap();
    let b = alone.get("b".into()).await.unwrap();
    for number in 0..100 {
        alone.commit(Transaction::new().put("n", format!("{number}"))).await.unwrap();
    }
    alone.close().await;
    drop(alone);
    assert!(flip(&folder.join("rows"), b"visibility=private"));
    let alone = Replicated::alone(options).await.unwrap();
    assert!(alone.commit(Transaction::new().check("b", b.as_ref()).put("n", "b")).await.is_err());
    alone.close().await;
    drop(alone);

    // The log still has all of it, and the other would do it.
    for number in 0..2 {
        group.start(number).await;
    }
    let first = group.replica(0).clone();
    until("it answers", async || first.get("n".into()).await.ok()).await;
    assert!(matches!(group.replica(1).get("n".into()).await, Err(KvError::Unavailable { .. })));
    assert_eq!(first.status().members.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_in_and_out_over_the_network() {
    let group = Group::started(3, 0).await;
    let client = group.client();
    let file = group.folder.path().join("backup");
    for number in 0..500 {
        client.commit(Transaction::new().put(format!("{number:03}"), vec![1; 10_000])).await.unwrap();
    }
    assert_eq!(eddy_kv::backup::backup(&client, &file).await.unwrap(), 500);
    let other = Group::started(1, 0).await;
    let client = other.client();
    assert_eq!(eddy_kv::backup::restore(&client, &file).await.unwrap(), 500);
    assert_eq!(client.get("499".into()).await.unwrap().unwrap().bytes, vec![1; 10_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_two_groups_do_not_mix() {
    let group = Group::started(1, 0).await;
    let mut other = Group::started(1, 0).await;
    let others_status = other.replica(0).status();
    other.stop(0).await;
    // It believes that its peer is one of its own group.
    let options = ReplicatedOptions {
        group: Some(eddy_kv::GroupOptions {
            advertise: other.addresses[0].clone(),
            peers: group.addresses.clone(),
            standby: false,
        }),
        ..ReplicatedOptions::alone(other.folder_of(0), 1024 * 1024)
    };
    let replica = Arc::new(Replicated::open(options, Some(Arc::new(TcpTransport::default()))).await.unwrap());
    let listener = TcpTransport::default().bind(other.addresses[0].parse().unwrap()).await.unwrap();
    let server = tokio::spawn(eddy_kv::serve(listener, replica.clone()));
    tokio::time::timeout(std::time::Duration::from_secs(30), replica.join()).await.unwrap();
    assert_eq!(replica.status().group, others_status.group);
    assert_eq!((replica.status().members.len(), group.replica(0).status().members.len()), (1, 1));
    replica.commit(Transaction::new().put("a", "1")).await.unwrap();
    assert_eq!(group.client().get("a".into()).await.unwrap(), None);
    server.abort();
}
