//! Replicas of the store that are killed, and their tools.

use std::process::Output;
use std::sync::Arc;

use eddy_e2e::wait;
use eddy_kv::{KeyRange, KvError, Remote, Scan, Store, Transaction};
use eddy_rpc::TcpTransport;

use crate::processes::{Replicas, tool, tool_with};

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

    // By pipes, as where there is no file system to write to.
    let piped = replicas.tool(&["backup", "--file=-"]);
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "100 rows were written\n");
    assert_eq!(piped.stdout, std::fs::read(&file).unwrap());
    let fresh = Replicas::start(1);
    let servers = format!("--servers={}", fresh.servers().join(","));
    let restore = |input: &[u8]| tool_with(input, &["restore", "--file=-", &servers]);
    let cut_off = restore(&piped.stdout[..piped.stdout.len() - 9]);
    assert!(!cut_off.status.success() && String::from_utf8_lossy(&cut_off.stderr).contains("cut off"), "{cut_off:?}");
    assert!(fresh.client().get("99".into()).await.unwrap().is_none(), "it is empty again");
    assert!(restore(&piped.stdout).status.success());
    assert_eq!(fresh.client().get("99".into()).await.unwrap().unwrap().bytes, "1");

    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(!said(tool(&["verify", &file_argument])).0);
    let nobody = tool(&["status", "--servers=localhost:1"]);
    assert!(!nobody.status.success());
}

/// Restores a backup into a store of its own, and says which of these keys it lacks.
async fn lacking(file: &str, keys: &[String]) -> Vec<String> {
    let fresh = Replicas::start(1);
    let restored = fresh.tool(&["restore", file]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let client = fresh.client();
    let mut lacking = Vec::new();
    for key in keys {
        if client.get(key.clone().into()).await.unwrap().is_none() {
            lacking.push(key.clone());
        }
    }
    lacking
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_salvaged_of_the_only_voter_and_of_a_standby_that_had_it() {
    let mut replicas = Replicas::start(1);
    let (standby, standby_folder, address) = replicas.run_standby();
    let client = Arc::new(replicas.client());
    let acknowledged = Arc::new(std::sync::Mutex::new(Vec::new()));
    let written = || acknowledged.lock().unwrap().len();
    let writer = tokio::spawn(write(client.clone(), 0, acknowledged.clone()));
    wait("rows are written", || written() > 500);
    writer.abort();
    let _ = writer.await;
    let settled = acknowledged.lock().unwrap().clone();
    let follower = Remote::new(Arc::new(TcpTransport::default()), std::slice::from_ref(&address));
    assert!(
        follower.get(settled.last().unwrap().clone().into()).await.unwrap().is_some(),
        "a standby answers for the latest rows"
    );
    let writer = tokio::spawn(write(client, 1, acknowledged.clone()));
    wait("more rows are written", || written() > settled.len() + 500);

    let all = replicas.folder.path().to_owned();
    let at = |name: &str| all.join(name).display().to_string();
    let (voter_folder, of_voter, of_standby) = (at("0"), at("of-voter"), at("of-standby"));
    let salvage = |folder: &str, file: &str| {
        let said = tool(&["salvage", &format!("--folder={folder}"), &format!("--file={file}")]);
        if said.status.success() { Ok(()) } else { Err(String::from_utf8(said.stderr).unwrap()) }
    };
    let refused = salvage(&voter_folder, &of_voter).unwrap_err();
    assert!(refused.contains("must be stopped"), "{refused}");
    replicas.kill(0);
    drop(standby);
    writer.abort();
    let _ = writer.await;
    assert!(salvage(&at("nothing"), &of_voter).unwrap_err().contains("no folder of a replica"));
    // Rows without what the log would add to them are not all rows.
    std::fs::create_dir_all(all.join("half/log")).unwrap();
    std::fs::copy(all.join("0/rows"), all.join("half/rows")).unwrap();
    assert!(salvage(&at("half"), &of_voter).unwrap_err().contains("no folder of a replica"));
    // It may be done again.
    for _ in 0..2 {
        salvage(&voter_folder, &of_voter).unwrap();
    }
    salvage(&standby_folder.display().to_string(), &of_standby).unwrap();
    let acknowledged = acknowledged.lock().unwrap().clone();
    let of = |file: &str| format!("--file={file}");
    assert_eq!(lacking(&of(&of_voter), &acknowledged).await, Vec::<String>::new());
    assert_eq!(lacking(&of(&of_standby), &settled).await, Vec::<String>::new());
    // The replica goes on as if nothing had been.
    replicas.run(0);
    wait("it leads again", || replicas.leader().is_some());
    assert!(replicas.client().get(acknowledged.last().unwrap().clone().into()).await.unwrap().is_some());
}
