//! Chunkservers, the master and the store's leader, killed while objects are written.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use eddy_chunkserver::ChunkClient;
use eddy_e2e::wait;
use eddy_kv::{KeyRange, Scan, Store};
use eddy_object::schema::{ChunkRow, NamespaceSettings, decode};
use eddy_object::{Attributes, Memory, Metadata, Objects, Precondition};
use tokio::task::JoinHandle;

use crate::processes::{Process, Replicas, dataplane, ports};

pub(crate) struct Storage {
    pub(crate) replicas: Replicas,
    pub(crate) ports: Vec<(u16, u16)>,
    pub(crate) chunkservers: Vec<Option<Process>>,
    master_admin_port: u16,
    master: Option<Process>,
}

impl Storage {
    pub(crate) fn start(replicas: Replicas, chunkservers: usize) -> Self {
        let free = ports(2 * chunkservers + 1);
        let mut master = vec![
            "storage-master".to_owned(),
            format!("--admin-address=127.0.0.1:{}", free[2 * chunkservers]),
            "--patience-seconds=2".to_owned(),
            "--repair-interval-seconds=1".to_owned(),
            "--balance-interval-seconds=1".to_owned(),
            "--settle-seconds=7".to_owned(),
        ];
        master.extend(replicas.store());
        let ports = free.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let mut storage = Self {
            replicas,
            ports,
            chunkservers: (0..chunkservers).map(|_| None).collect(),
            master_admin_port: free[2 * chunkservers],
            master: Some(Process::start(&master)),
        };
        for number in 0..chunkservers {
            storage.run(number);
        }
        storage
    }

    fn run(&mut self, number: usize) {
        self.run_behind(number, self.ports[number].0);
    }

    pub(crate) fn folder_of(&self, number: usize) -> PathBuf {
        self.replicas.folder.path().join(format!("chunks-{number}"))
    }

    /// Runs a chunkserver that others reach at another port than the one that it binds, and on another address.
    pub(crate) fn run_behind(&mut self, number: usize, advertised: u16) {
        self.chunkservers[number] = Some(Process::start(&self.arguments(number, advertised)));
    }

    pub(crate) fn arguments(&self, number: usize, advertised: u16) -> Vec<String> {
        let (port, admin_port) = self.ports[number];
        let mut arguments = vec![
            "chunkserver".to_owned(),
            format!("--folder={}", self.folder_of(number).display()),
            format!("--bind=0.0.0.0:{port}"),
            "--advertise-host=localhost".to_owned(),
            format!("--advertise-port={advertised}"),
            format!("--failure-domain={number}"),
            format!("--admin-address=127.0.0.1:{admin_port}"),
            "--reserved-mebibytes=10".to_owned(),
        ];
        arguments.extend(self.replicas.store());
        arguments
    }

    /// What a tool says, having ended.
    fn tool(&self, name: &str, arguments: &[&str]) -> Output {
        let store = self.replicas.store();
        let all = [name].into_iter().chain(store.iter().map(String::as_str)).chain(arguments.iter().copied());
        dataplane(&all.collect::<Vec<_>>())
    }

    /// What the master says of chunks that lack something.
    fn under_replicated(&self) -> Option<u64> {
        let metrics = curl(&[&format!("http://127.0.0.1:{}/metrics", self.master_admin_port)]).1;
        let metrics = String::from_utf8(metrics).unwrap();
        metrics.lines().find_map(|line| line.strip_prefix("eddy_storage_chunks_under_replicated ")?.parse().ok())
    }

    pub(crate) async fn objects(&self) -> Objects {
        let metadata = Metadata::new(Arc::new(self.replicas.client()));
        let addresses: Vec<String> = self.ports.iter().map(|(port, _)| format!("localhost:{port}")).collect();
        let known = async || {
            let servers = metadata.servers().await.unwrap();
            servers.values().filter(|row| addresses.contains(&row.address)).count()
        };
        while known().await < self.chunkservers.len() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let cluster = metadata.cluster().await.unwrap();
        Objects::open(metadata, ChunkClient::new(self.replicas.transport(), cluster), Memory::default()).await.unwrap()
    }
}

/// Of every four objects one is so long.
pub(crate) const LONGEST_BYTES: usize = 2_000_000;

fn contents(number: usize) -> Bytes {
    let mut data = vec![0; [100, 5_000, 200_000, LONGEST_BYTES][number % 4]];
    fastrand::Rng::with_seed(number as u64).fill(&mut data);
    data.into()
}

async fn get(objects: &Objects, namespace: u64, key: &str) -> Vec<u8> {
    let row = objects.metadata().object(namespace, key).await.unwrap();
    let mut download = objects.download(&row, 0, row.bytes).unwrap();
    let mut data = Vec::new();
    while let Some(block) = download.next().await.unwrap() {
        data.extend_from_slice(&block);
    }
    data
}

/// Writes objects until it is dropped; those that were acknowledged.
async fn write(objects: Objects, writer: usize, acknowledged: Arc<Mutex<Vec<usize>>>) {
    for number in (writer..).step_by(4) {
        let put = async {
            let data = contents(number);
            let mut upload = objects.upload("space", Some(data.len() as u64)).await?;
            upload.write(data).await?;
            upload.finish(&number.to_string(), Attributes::default(), &Precondition::None).await
        };
        // While there is no leader, or too few servers are known, it may fail.
        match put.await {
            Ok(_) => acknowledged.lock().unwrap().push(number),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

pub(crate) async fn put(objects: &Objects, number: usize) {
    let data = contents(number);
    let mut upload = objects.upload("space", Some(data.len() as u64)).await.unwrap();
    upload.write(data).await.unwrap();
    upload.finish(&number.to_string(), Attributes::default(), &Precondition::None).await.unwrap();
}

/// Ends the writers; what was acknowledged.
async fn stop(writers: Vec<JoinHandle<()>>, acknowledged: &Mutex<Vec<usize>>) -> Vec<usize> {
    for writer in writers {
        writer.abort();
        let _ = writer.await;
    }
    std::mem::take(&mut *acknowledged.lock().unwrap())
}

/// All that was acknowledged is there.
pub(crate) async fn check(objects: &Objects, namespace: u64, acknowledged: &[usize]) {
    for number in acknowledged {
        assert!(get(objects, namespace, &number.to_string()).await == contents(*number), "object {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunkserver_and_the_metadata_s_leader_are_killed_and_no_object_is_lost() {
    let mut storage = Storage::start(Replicas::start(3), 4);
    let objects = storage.objects().await;
    let namespace = objects.metadata().create_namespace("space", NamespaceSettings::default()).await.unwrap().id;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..4).map(|writer| tokio::spawn(write(objects.clone(), writer, acknowledged.clone()))).collect();
    let more = |count: usize, what: &str| {
        let before = acknowledged.lock().unwrap().len();
        wait(what, || acknowledged.lock().unwrap().len() > before + count);
    };
    more(100, "objects are written");
    storage.chunkservers[1] = None;
    more(100, "objects are written without a chunkserver");
    let leader = storage.replicas.leader().unwrap();
    storage.replicas.kill(leader);
    more(100, "objects are written under another leader");
    storage.replicas.run(leader);
    let acknowledged = stop(writers, &acknowledged).await;
    check(&objects, namespace, &acknowledged).await;
    // The master copies what the dead one had.
    let store = storage.replicas.client();
    let rows = async |tag: &'static [u8]| store.scan(Scan::new(KeyRange::prefix(tag), 10_000)).await.unwrap().rows;
    let dead = objects.metadata().servers().await.unwrap();
    let port = format!("localhost:{}", storage.ports[1].0);
    let dead = dead.iter().find(|(_, row)| row.address == port).unwrap().0;
    let copied = async || loop {
        let chunks: Vec<ChunkRow> = rows(b"c").await.iter().map(|row| decode(&row.value.bytes).unwrap()).collect();
        let whole = chunks.iter().all(|row| row.replicas.len() == 3 && !row.is_on(*dead));
        if whole && rows(b"d").await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tokio::time::timeout(Duration::from_secs(120), copied()).await.unwrap();
    wait("the master says that nothing is lacking", || storage.under_replicated() == Some(0));
    // Now another may go.
    storage.chunkservers[2] = None;
    check(&objects, namespace, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunkserver_is_emptied_and_removed_by_hand_while_objects_are_written_over_tls() {
    let storage = Storage::start(Replicas::start_with_tls(3), 4);
    let objects = storage.objects().await;
    let namespace = objects.metadata().create_namespace("space", NamespaceSettings::default()).await.unwrap().id;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..4).map(|writer| tokio::spawn(write(objects.clone(), writer, acknowledged.clone()))).collect();
    let written = || acknowledged.lock().unwrap().len();
    wait("objects are written", || written() > 100);
    let address = format!("localhost:{}", storage.ports[2].0);
    let tool = |arguments: &[&str]| {
        let output = storage.tool("storage-server", arguments);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    };
    let column = |place: usize| {
        let all = tool(&["list"]).unwrap();
        all.lines().find(|line| line.contains(&address)).map(|line| line.split('\t').nth(place).unwrap().to_owned())
    };
    let state = || column(4);
    assert_eq!(state().unwrap(), "serving");
    // Chance may leave it out of the first ones.
    wait("it has a chunk", || column(5).is_some_and(|chunks| chunks != "0"));
    assert!(tool(&["drain", "localhost"]).unwrap_err().contains("more than one server"));
    assert!(tool(&["drain", "nowhere"]).unwrap_err().contains("no server is"));
    assert!(tool(&["remove", &address]).unwrap_err().contains("drain it first"));
    tool(&["drain", &address]).unwrap();
    assert!(tool(&["remove", &address]).unwrap_err().contains("still has"));
    assert!(tool(&["plan"]).unwrap().lines().all(|line| line.split('\t').nth(1) == Some(&address)));
    let before = written();
    wait("it is empty", || state().unwrap() == "empty");
    wait("objects are written on", || written() > before + 100);
    tool(&["remove", &address]).unwrap();
    assert_eq!(state(), None);
    let acknowledged = stop(writers, &acknowledged).await;
    check(&objects, namespace, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_lost_is_restored_and_what_was_backed_up_is_read_from_the_same_chunkservers() {
    let mut storage = Storage::start(Replicas::start(1), 3);
    let objects = storage.objects().await;
    objects.metadata().create_namespace("space", NamespaceSettings::default()).await.unwrap();
    for number in 0..20 {
        put(&objects, number).await;
    }
    let file = format!("--file={}", storage.replicas.folder.path().join("backup").display());
    assert!(storage.replicas.tool(&["backup", &file]).status.success());
    put(&objects, 20).await;
    // All stops, and the store's disk is lost.
    let servers = storage.chunkservers.len();
    storage.chunkservers.iter_mut().for_each(|server| *server = None);
    drop(storage.master.take());
    storage.replicas.kill(0);
    std::fs::remove_dir_all(storage.replicas.folder.path().join("0")).unwrap();
    storage.replicas.run(0);
    wait("an empty store", || storage.replicas.leader().is_some());
    let restored = storage.replicas.tool(&["restore", &file]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let Storage { replicas, .. } = storage;
    let storage = Storage::start(replicas, servers);
    let objects = storage.objects().await;
    let namespace = objects.metadata().namespace("space").await.unwrap().id;
    check(&objects, namespace, &(0..20).collect::<Vec<_>>()).await;
    assert!(objects.metadata().object(namespace, "20").await.is_err(), "it is newer than the backup");
    put(&objects, 21).await;
    check(&objects, namespace, &[21]).await;
}

/// curl, as users have it: the status and the body.
pub(crate) fn curl(arguments: &[&str]) -> (String, Vec<u8>) {
    let common = ["--silent", "--show-error", "--max-time", "60", "--write-out", "%{stderr}%{http_code}"];
    let output = Command::new("curl").args(common).args(arguments).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_out_by_the_door_over_tls_while_a_chunkserver_dies() {
    let mut storage = Storage::start(Replicas::start_with_tls(3), 4);
    drop(storage.objects().await);
    let made = storage.tool("storage-namespace", &["put", "photos", "--owner=alice", "--bytes-max=100000000"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let keys = storage.replicas.folder.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("alice"), "key:0123456789abcdef\n").unwrap();
    let free = ports(2);
    let mut door = vec![
        "storage-door".to_owned(),
        format!("--keys-folder={}", keys.display()),
        format!("--bind=127.0.0.1:{}", free[0]),
        format!("--admin-address=127.0.0.1:{}", free[1]),
    ];
    door.extend(storage.replicas.store());
    let _door = Process::start(&door);
    wait("the door is ready", || curl(&[&format!("http://127.0.0.1:{}/readyz", free[1])]).0 == "200");
    let files = format!("http://127.0.0.1:{}/v1/files/photos", free[0]);
    let large = storage.replicas.folder.path().join("large");
    let mut data = vec![0; 30_000_000];
    fastrand::Rng::with_seed(1).fill(&mut data);
    std::fs::write(&large, &data).unwrap();
    let user = ["--user", "key:0123456789abcdef"];
    let (large, url) = (large.display().to_string(), format!("{files}/2026/large"));
    assert_eq!(curl(&[&user[..], &["--upload-file", &large, &url]].concat()).0, "201");
    storage.chunkservers[0] = None;
    let (status, read) = curl(&[&user[..], &[&url]].concat());
    assert!(status == "200" && read == data);
    assert_eq!(curl(&[&user[..], &["--upload-file", &large, &url]].concat()).0, "200");
    let (status, part) = curl(&[&user[..], &["--range", "1000000-1000099", &url]].concat());
    assert!(status == "206" && part == data[1_000_000..1_000_100]);
    assert_eq!(curl(&[&url]).0, "401");
    // The other API, on the same port.
    let (status, denied) = curl(&[&format!("http://127.0.0.1:{}/photos", free[0])]);
    assert!(status == "403" && String::from_utf8_lossy(&denied).contains("<Code>AccessDenied</Code>"));
    let counted = String::from_utf8(curl(&[&format!("http://127.0.0.1:{}/metrics", free[1])]).1).unwrap();
    for line in [r#"requests_total{api="files",code="2xx"} 4"#, r#"requests_total{api="s3",code="4xx"} 1"#] {
        assert!(counted.contains(&format!("eddy_door_{line}")), "{counted}");
    }
    let listed = storage.tool("storage-namespace", &["list"]);
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "photos\talice\tPrivate\t1\t30000000\n");
    let refused = storage.tool("storage-namespace", &["remove", "photos"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("still holds 1 objects"));
    assert_eq!(curl(&[&user[..], &["--request", "DELETE", &url]].concat()).0, "204");
    assert!(storage.tool("storage-namespace", &["remove", "photos"]).status.success());
}
