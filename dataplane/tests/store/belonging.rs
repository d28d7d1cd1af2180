//! Where chunkservers are reached, and to which store they belong.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eddy_chunkserver::ChunkClient;
use eddy_e2e::wait;
use eddy_object::schema::NamespaceSettings;
use eddy_object::{Memory, Metadata, Objects};
use eddy_storage_testing::Proxy;

use crate::processes::{Process, Replicas, dataplane, ports};
use crate::storage::{LONGEST_BYTES, Storage, check, curl, put};

/// What a chunk's file begins with, and says whose it is.
const HEAD_BYTES: usize = eddy_chunks::format::HEAD_BYTES as usize;

/// All chunks of a server, by their files' names.
fn files_of(storage: &Storage, number: usize) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(storage.folder_of(number)).unwrap().map(|entry| entry.unwrap().path());
    let chunks = entries.filter(|path| path.extension().is_some_and(|extension| extension == "chunk"));
    let mut files: Vec<_> = chunks.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    files.sort_unstable();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunkserver_is_reached_where_it_says_and_not_where_it_binds() {
    let mut storage = Storage::start(Replicas::start(1), 3);
    // What stands before the second one passes on what comes to another port.
    let proxy = Proxy::open(&format!("127.0.0.1:{}", storage.ports[1].0)).await;
    let advertised: u16 = proxy.address.rsplit_once(':').unwrap().1.parse().unwrap();
    drop(storage.objects().await);
    storage.chunkservers[1] = None;
    storage.run_behind(1, advertised);
    let metadata = Metadata::new(Arc::new(storage.replicas.client()));
    let address = format!("localhost:{advertised}");
    while !metadata.servers().await.unwrap().values().any(|row| row.address == address) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let client = ChunkClient::new(storage.replicas.transport(), metadata.cluster().await.unwrap());
    let objects = Objects::open(metadata, client, Memory::default()).await.unwrap();
    let namespace = objects.metadata().create_namespace("space", NamespaceSettings::default()).await.unwrap().id;
    for number in 0..8 {
        put(&objects, number).await;
    }
    // Nobody knows another way to the second one, and with one of the others away, what it has is needed.
    wait("it has what was written", || {
        let bytes: usize = files_of(&storage, 1).iter().map(|(_, bytes)| bytes.len()).sum();
        bytes > 2 * LONGEST_BYTES
    });
    storage.chunkservers[0] = None;
    check(&objects, namespace, &(0..8).collect::<Vec<_>>()).await;
    assert!(proxy.connections() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunkservers_of_a_store_that_is_gone_refuse_an_empty_one_and_delete_nothing() {
    let mut storage = Storage::start(Replicas::start(1), 3);
    let objects = storage.objects().await;
    objects.metadata().create_namespace("space", NamespaceSettings::default()).await.unwrap();
    for number in 0..8 {
        put(&objects, number).await;
    }
    // The third copy of what was acknowledged may be on its way yet: copies of a chunk are the same but for their heads.
    let contents = |number: usize| {
        let mut contents: Vec<_> =
            files_of(&storage, number).into_iter().map(|(_, bytes)| bytes[HEAD_BYTES..].to_vec()).collect();
        contents.sort_unstable();
        contents
    };
    wait("all copies are there", || contents(0) == contents(1) && contents(1) == contents(2));
    let all_files = |storage: &Storage| (0..3).flat_map(|number| files_of(storage, number)).collect::<Vec<_>>();
    // The store's disk is lost under all that runs: chunkservers, and a master that collects at once.
    storage.replicas.kill(0);
    let before = all_files(&storage);
    assert!(before.len() >= 3);
    std::fs::remove_dir_all(storage.replicas.folder.path().join("0")).unwrap();
    storage.replicas.run(0);
    wait("an empty store", || storage.replicas.leader().is_some());
    let port = ports(1)[0];
    let mut eager: Vec<String> =
        ["storage-master", "--grace-seconds=0", "--collect-interval-seconds=1"].map(str::to_owned).into();
    eager.push(format!("--admin-address=127.0.0.1:{port}"));
    eager.extend(storage.replicas.store());
    let _eager = Process::start(&eager);
    let collected = |port: u16| {
        let metrics = String::from_utf8(curl(&[&format!("http://127.0.0.1:{port}/metrics")]).1).unwrap_or_default();
        metrics.lines().find_map(|line| line.strip_prefix("eddy_storage_files_collected ")?.parse::<u64>().ok())
    };
    wait("the master has collected", || collected(port).is_some());
    for number in 0..3 {
        storage.chunkservers[number] = None;
        let arguments = storage.arguments(number, storage.ports[number].0);
        let refused = dataplane(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && error.contains("cluster"), "{error}");
    }
    assert_eq!(collected(port), Some(0));
    assert!(all_files(&storage) == before, "something is gone or changed");
}
