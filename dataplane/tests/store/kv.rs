//! Replicas of the store that are killed, and their tools.

use std::process::Output;
use std::sync::Arc;

use eddy_e2e::wait;
use eddy_kv::{KeyRange, KvError, Remote, Scan, Store, Transaction};
use eddy_rpc::TcpTransport;

use crate::processes::{Replicas, tool};

/// Writes rows with numbers until it is dropped or refused; what was acknowledged.
async fn write(client: Arc<Remote>, writer: usize, acknowledged: Arc<std::sync::Mutex<Vec<String>>>) {
    for number in 0.. {
        let key = format!("{writer}/{number:06}");
        match client.commit(Transaction::new().put(key.clone(), vec![3; 200])).await {
            Ok(_) => acknowledged.lock().unwrap().push(key),
            Err(KvError::Unknown { .. } | KvError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_again_and_again_and_nothing_acknowledged_is_lost() {
    let mut replicas = Replicas::start(3);
    let client = Arc::new(replicas.client());
    let acknowledged = Arc::new(std::sync::Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..8).map(|writer| tokio::spawn(write(client.clone(), writer, acknowledged.clone()))).collect();
    for _ in 0..4 {
        let before = acknowledged.lock().unwrap().len();
        wait("writes go on", || acknowledged.lock().unwrap().len() > before + 500);
        let mut leader = None;
        wait("one leads", || {
            leader = replicas.leader();
            leader.is_some()
        });
        let leader = leader.unwrap();
        replicas.kill(leader);
        let before = acknowledged.lock().unwrap().len();
        wait("writes go on without it", || acknowledged.lock().unwrap().len() > before + 100);
        replicas.run(leader);
    }
    for writer in writers {
        writer.abort();
        let _ = writer.await;
    }
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    for server in replicas.servers() {
        // Each answers for itself.
        let client = Remote::new(Arc::new(TcpTransport::default()), &[server]);
        let mut rows = std::collections::BTreeSet::new();
        let mut range = KeyRange::all();
        loop {
            let page = client.scan(Scan::new(range.clone(), 5000)).await.unwrap();
            rows.extend(page.rows.iter().map(|row| String::from_utf8(row.key.to_vec()).unwrap()));
            let Some(last) = page.rows.last().filter(|_| page.more) else { break };
            range.start = [last.key.as_ref(), b"\0"].concat().into();
        }
        let lost: Vec<&String> = acknowledged.iter().filter(|key| !rows.contains(*key)).collect();
        assert!(lost.is_empty(), "{} of {} are lost: {:?}", lost.len(), acknowledged.len(), lost.first());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_back_up_verify_and_restore() {
    let replicas = Replicas::start(1);
    let file = replicas.folder.path().join("backup");
    let file_argument = format!("--file={}", file.display());
    for number in 0..100 {
        replicas.client().commit(Transaction::new().put(format!("{number}"), "1")).await.unwrap();
    }
    let said = |output: Output| (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned());
    let (good, text) = said(replicas.tool(&["backup", &file_argument]));
    assert!(good && text.starts_with("100 rows"), "{text}");
    assert!(said(tool(&["verify", &file_argument])).0);
    let refused = replicas.tool(&["restore", &file_argument]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("empty store only"), "{error}");

    let fresh = Replicas::start(1);
    assert!(said(fresh.tool(&["restore", &file_argument])).0);
    assert_eq!(fresh.client().get("99".into()).await.unwrap().unwrap().bytes, "1");

    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(!said(tool(&["verify", &file_argument])).0);
    let nobody = tool(&["status", "--servers=localhost:1"]);
    assert!(!nobody.status.success());
}
