//! A server and its clients over real connections and a real disk.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eddy_chunks::format::{BLOCK_BYTES, CHUNK_BYTES_MAX, HEAD_BYTES, NEEDLE_BYTES_MAX, STORED_BLOCK_BYTES, encode_blocks};
use eddy_chunks::{ChunkStore, Extent, FileId, StoreOptions};
use eddy_chunkserver::{ChunkClient, ClientError, Refusal, Server, ServerAddress, Source, serve};
use eddy_disk::{CountedDisk, Disk, RealDisk, SimulatedDisk};
use eddy_rpc::{MemoryTransport, TcpTransport, Transport};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const CLUSTER: u64 = 9;
/// The number of each chunk's file.
const FILE: u64 = 77;

fn id(chunk: u64) -> FileId {
    FileId { chunk, file: FILE }
}

struct Running {
    folder: TempDir,
    address: String,
    task: JoinHandle<()>,
    reserved_bytes: u64,
    disk: Arc<dyn Disk>,
}

impl Running {
    async fn start() -> Self {
        Self::start_with(0).await
    }

    async fn start_with(reserved_bytes: u64) -> Self {
        Self::start_on(Arc::new(RealDisk), reserved_bytes).await
    }

    async fn start_on(disk: Arc<dyn Disk>, reserved_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let task = tokio::spawn(std::future::ready(()));
        let mut running = Self { folder, address: "127.0.0.1:0".into(), task, reserved_bytes, disk };
        running.restart().await;
        running
    }

    async fn restart(&mut self) {
        self.task.abort();
        let options = StoreOptions {
            folder: self.folder.path().join("chunks"),
            cluster: CLUSTER,
            reserved_bytes: self.reserved_bytes,
            capacity_bytes: None,
        };
        let store = Arc::new(ChunkStore::open(self.disk.clone(), options).unwrap());
        let listener = TcpTransport::default().bind(self.address.parse().unwrap()).await.unwrap();
        self.address = listener.address().unwrap().to_string();
        self.task = tokio::spawn(serve(listener, Server::new(store, CLUSTER, Arc::new(TcpTransport::default())).unwrap()));
    }

    fn file_of(&self, chunk: u64) -> PathBuf {
        self.folder.path().join(format!("chunks/{}.chunk", id(chunk)))
    }

    fn flip(&self, chunk: u64, at: u64) {
        let mut file = std::fs::File::options().read(true).write(true).open(self.file_of(chunk)).unwrap();
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&[byte[0] ^ 4]).unwrap();
    }
}

fn client() -> ChunkClient {
    ChunkClient::new(Arc::new(TcpTransport::default()), CLUSTER)
}

fn data_of(extent: &Extent) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(extent.needle);
    let mut data = vec![0; extent.bytes as usize];
    random.fill(&mut data);
    data
}

fn stored(extent: &Extent) -> Vec<u8> {
    let mut stored = Vec::new();
    encode_blocks(extent.needle, 0, &data_of(extent), &mut stored);
    stored
}

async fn write(client: &ChunkClient, address: &str, extent: Extent) -> Result<(), ClientError> {
    let stored = stored(&extent);
    let (first, rest) = stored.split_at(stored.len().min(100_000));
    let mut call = client.write(address, FILE, extent, first).await?;
    for piece in rest.chunks(333_333) {
        call.send(piece).await?;
    }
    call.finish().await
}

async fn read(client: &ChunkClient, address: &str, extent: Extent, range: std::ops::Range<u32>) -> Result<Vec<u8>, ClientError> {
    let mut call = client.read(address, FILE, extent, range).await?;
    let mut data = Vec::new();
    while let Some(block) = call.next().await? {
        assert!(block.len() <= BLOCK_BYTES as usize);
        data.extend_from_slice(&block);
    }
    Ok(data)
}

#[tokio::test(flavor = "multi_thread")]
async fn needles_of_all_sizes_come_back_in_whole_and_in_part() {
    let running = Running::start().await;
    let client = client();
    client.create(&running.address, id(1)).await.unwrap();
    let mut offset = HEAD_BYTES;
    let mut random = fastrand::Rng::with_seed(1);
    for bytes in [1, 4096, BLOCK_BYTES, BLOCK_BYTES + 1, 4 * BLOCK_BYTES, 5 * BLOCK_BYTES + 17, 10_000_000] {
        let extent = Extent { chunk: 1, offset, needle: u64::from(bytes), bytes };
        offset = extent.end() as u32;
        write(&client, &running.address, extent).await.unwrap();
        let data = data_of(&extent);
        assert!(read(&client, &running.address, extent, 0..bytes).await.unwrap() == data, "{bytes}");
        for _ in 0..20 {
            let start = random.u32(0..=bytes);
            let range = start..random.u32(start..=bytes);
            let part = read(&client, &running.address, extent, range.clone()).await.unwrap();
            assert!(part == data[range.start as usize..range.end as usize], "{range:?} of {bytes}");
        }
    }
    let found = client.scan(&running.address, id(1)).await.unwrap();
    assert!(found.len() == 7 && found.iter().all(|(_, damaged)| !damaged));
    let status = client.status(&running.address).await.unwrap();
    assert!(status.files == 1 && status.available_bytes <= status.total_bytes);
    // A whole chunk of one needle.
    client.create(&running.address, id(2)).await.unwrap();
    let extent = Extent { chunk: 2, offset: HEAD_BYTES, needle: 2, bytes: NEEDLE_BYTES_MAX };
    write(&client, &running.address, extent).await.unwrap();
    assert!(read(&client, &running.address, extent, 0..extent.bytes).await.unwrap() == data_of(&extent));
    assert!(std::fs::metadata(running.file_of(2)).unwrap().len() <= u64::from(CHUNK_BYTES_MAX));
    client.remove(&running.address, id(2)).await.unwrap();
    let length = std::fs::metadata(running.file_of(1)).unwrap().len();
    assert_eq!(client.list(&running.address).await.unwrap(), [(id(1), length)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_another_server_s_by_now_is_not_asked_for_what_one_had() {
    let mut running = Running::start().await;
    let client = client();
    let first = client.status(&running.address).await.unwrap().server;
    let was = ServerAddress::of(first, running.address.clone());
    client.create(&was, id(1)).await.unwrap();
    running.task.abort();
    // Its disk is lost; there is another at the same address.
    std::fs::remove_dir_all(running.folder.path().join("chunks")).unwrap();
    running.restart().await;
    // Connections to what was there before have ended, and others are made.
    let again = client.scan(&was, id(1)).await;
    let second = client.status(&running.address).await.unwrap().server;
    let is_other = |error| matches!(error, ClientError::OtherServer { asked, found, .. } if asked == first && found == second);
    assert!(is_other(again.unwrap_err()));
    // Also on a connection that is kept.
    assert!(is_other(client.create(&was, id(2)).await.unwrap_err()) && is_other(client.remove(&was, id(1)).await.unwrap_err()));
    client.create(&ServerAddress::of(second, running.address.clone()), id(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_write_at_once_and_share_syncs() {
    let disk = CountedDisk::new(Arc::new(RealDisk), Duration::from_millis(2));
    let running = Running::start_on(Arc::new(disk.clone()), 0).await;
    let client = client();
    client.create(&running.address, id(1)).await.unwrap();
    let extents: Vec<Extent> = (0..500)
        .map(|number| Extent { chunk: 1, offset: HEAD_BYTES + number * 8192, needle: u64::from(number), bytes: 4096 })
        .collect();
    let before = disk.syncs();
    let writes = extents.iter().map(|extent| {
        let (client, address, extent) = (client.clone(), running.address.clone(), *extent);
        tokio::spawn(async move { write(&client, &address, extent).await.unwrap() })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!((1..250).contains(&syncs), "{syncs} for 500 needles");
    for extent in extents {
        assert!(read(&client, &running.address, extent, 0..4096).await.unwrap() == data_of(&extent));
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Refusal {
    match result {
        Err(ClientError::Refused { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_and_the_connection_goes_on() {
    let mut running = Running::start().await;
    let (client, address) = (client(), running.address.clone());
    client.create(&address, id(1)).await.unwrap();
    let extent = Extent { chunk: 1, offset: HEAD_BYTES, needle: 1, bytes: 300_000 };
    write(&client, &address, extent).await.unwrap();
    assert_eq!(refused(client.create(&address, id(1)).await), Refusal::Exists);
    assert!(matches!(refused(write(&client, &address, extent).await), Refusal::Closed(_)), "the place is taken");
    assert_eq!(refused(client.remove(&address, id(5)).await), Refusal::NoFile);
    assert_eq!(refused(read(&client, &address, Extent { chunk: 5, ..extent }, 0..1).await), Refusal::NoFile);
    assert!(matches!(refused(read(&client, &address, extent, 0..300_001).await), Refusal::Malformed(_)));
    assert!(matches!(refused(read(&client, &address, Extent { needle: 2, ..extent }, 0..1).await), Refusal::Damaged(_)));
    let beyond = Extent { offset: CHUNK_BYTES_MAX - 8, needle: 3, bytes: 1, ..extent };
    assert!(matches!(refused(client.write(&address, FILE, beyond, &[]).await.unwrap().finish().await), Refusal::Malformed(_)));
    // Bytes that do not match their checksums are stored nowhere.
    let next = Extent { offset: extent.end() as u32, needle: 4, bytes: 100, ..extent };
    let mut wrong = stored(&next);
    wrong[50] ^= 1;
    assert!(matches!(refused(client.write(&address, FILE, next, &wrong).await.unwrap().finish().await), Refusal::Damaged(_)));
    client.close(&address, id(1)).await.unwrap();
    let after = Extent { offset: next.end() as u32, needle: 5, ..next };
    assert!(matches!(refused(write(&client, &address, after).await), Refusal::Closed(_)));

    running.restart().await;
    // The connections of before have ended, and nobody notices.
    client.create(&address, id(2)).await.unwrap();
    assert!(matches!(refused(write(&client, &address, after).await), Refusal::Closed(_)), "of another run of the server");
    write(&client, &address, Extent { chunk: 2, ..next }).await.unwrap();
    let full = Running::start_with(u64::MAX).await;
    assert_eq!(refused(client.create(&full.address, id(1)).await), Refusal::Full);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_never_leave_the_server_and_what_is_before_them_does() {
    let running = Running::start().await;
    let (client, address) = (client(), running.address.clone());
    client.create(&address, id(1)).await.unwrap();
    let extent = Extent { chunk: 1, offset: HEAD_BYTES, needle: 1, bytes: 20 * BLOCK_BYTES };
    write(&client, &address, extent).await.unwrap();
    running.flip(1, u64::from(HEAD_BYTES + 24 + 10 * STORED_BLOCK_BYTES + 77));
    let mut call = client.read(&address, FILE, extent, 0..extent.bytes).await.unwrap();
    let (mut data, refusal) = (
        Vec::new(),
        loop {
            match call.next().await {
                Ok(Some(_)) => {}
                other => break refused(other),
            }
        },
    );
    assert!(matches!(refusal, Refusal::Damaged(_)));
    let mut call = client.read(&address, FILE, extent, 0..extent.bytes).await.unwrap();
    while let Ok(Some(block)) = call.next().await {
        data.extend_from_slice(&block);
    }
    assert!(data == data_of(&extent)[..8 * BLOCK_BYTES as usize], "two pieces of four blocks");
    // Around it, all is well.
    let part = 11 * BLOCK_BYTES..extent.bytes;
    assert!(read(&client, &address, extent, part.clone()).await.unwrap() == data_of(&extent)[part.start as usize..]);
    let found = client.scan(&address, id(1)).await.unwrap();
    assert_eq!(found.iter().map(|(_, damaged)| *damaged).collect::<Vec<_>>(), [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_turned_away() {
    let running = Running::start().await;
    let stranger = ChunkClient::new(Arc::new(TcpTransport::default()), CLUSTER + 1);
    let turned_away = stranger.status(&running.address).await;
    assert!(matches!(turned_away, Err(ClientError::OtherCluster(_))), "{turned_away:?}");
    let greeting = [&b"eddybul2"[..], &CLUSTER.to_le_bytes()].concat();
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 8][..]] {
        for begin in [&[][..], &greeting] {
            let mut stream = TcpStream::connect(&running.address).await.unwrap();
            stream.write_all(&[begin, nonsense].concat()).await.unwrap();
            let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await.unwrap();
            drop(ended);
        }
    }
    assert_eq!(client().status(&running.address).await.unwrap().files, 0);
    assert!(matches!(client().status("127.0.0.1:1").await, Err(ClientError::Connection { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_or_not_all_hold_up_nobody() {
    let running = Running::start().await;
    let greeting = [&b"eddybul2"[..], &CLUSTER.to_le_bytes()].concat();
    let mut silent = Vec::new();
    // Nothing, half of who they are, half of a request's length, and a request that does not come.
    for said in [&[][..], &greeting[..9], &[&greeting[..], &[9]].concat(), &[&greeting[..], &200u32.to_le_bytes()].concat()] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(&running.address).await.unwrap();
            stream.write_all(said).await.unwrap();
            silent.push(stream);
        }
    }
    // They are given up after 5 and 30 s, and this takes less than any of them.
    let served = tokio::time::timeout(Duration::from_secs(4), client().status(&running.address)).await;
    assert_eq!(served.unwrap().unwrap().files, 0);
    let ended = tokio::time::timeout(Duration::from_secs(60), silent[0].read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "who said nothing is let go");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_breaks_off_leaves_nothing_that_can_be_read() {
    let running = Running::start().await;
    let (client, address) = (client(), running.address.clone());
    client.create(&address, id(1)).await.unwrap();
    let extent = Extent { chunk: 1, offset: HEAD_BYTES, needle: 1, bytes: 500_000 };
    drop(client.write(&address, FILE, extent, &stored(&extent)[..400_000]).await.unwrap());
    assert!(matches!(refused(read(&client, &address, extent, 0..extent.bytes).await), Refusal::Damaged(_)));
    let next = Extent { offset: extent.end() as u32, needle: 2, ..extent };
    write(&client, &address, next).await.unwrap();
    assert!(read(&client, &address, next, 0..next.bytes).await.unwrap() == data_of(&next));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_copies_from_another_and_says_what_that_does_not_give_whole() {
    let (source, target) = (Running::start().await, Running::start().await);
    let client = client();
    client.create(&source.address, id(1)).await.unwrap();
    let (mut offset, mut needles) = (HEAD_BYTES, Vec::new());
    for bytes in [1, 4096, 4096, 3_000_000, BLOCK_BYTES, 4096, 2 * BLOCK_BYTES + 17, 5_000_000, 100] {
        let extent = Extent { chunk: 1, offset, needle: u64::from(offset), bytes };
        offset = extent.end() as u32;
        write(&client, &source.address, extent).await.unwrap();
        needles.push(extent);
    }
    // One that is wanted was never there, one is not wanted, two are damaged: at their beginning, and far behind it.
    let never = Extent { chunk: 1, offset, needle: 7, bytes: 10 };
    let unwanted = needles.remove(1);
    let damaged = [needles[1], needles[6]];
    source.flip(1, u64::from(damaged[0].offset + 30));
    source.flip(1, u64::from(damaged[1].offset + 4_000_000));
    let wanted = [&needles[..], &[never]].concat();
    let from = Source { server: ServerAddress::from(&source.address), file: FILE };
    client.create(&target.address, id(1)).await.unwrap();
    let missing = client.pull(&target.address, FILE, &from, wanted).await.unwrap();
    assert_eq!(missing, [damaged[0], damaged[1], never]);
    // Another server may give what is missing: its place is free.
    source.flip(1, u64::from(damaged[0].offset + 30));
    assert_eq!(client.pull(&target.address, FILE, &from, missing).await.unwrap(), [damaged[1], never]);
    client.close(&target.address, id(1)).await.unwrap();
    for extent in &needles {
        let copied = read(&client, &target.address, *extent, 0..extent.bytes).await;
        if *extent == damaged[1] {
            assert!(matches!(refused(copied), Refusal::Damaged(_)));
        } else {
            assert!(copied.unwrap() == data_of(extent), "{extent:?}");
        }
    }
    assert!(matches!(refused(read(&client, &target.address, unwanted, 0..1).await), Refusal::Damaged(_)), "never asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_makes_no_sense_is_refused_and_a_source_that_is_away_gives_nothing() {
    let (source, target) = (Running::start().await, Running::start().await);
    let (client, from) = (client(), Source { server: ServerAddress::from(&source.address), file: FILE });
    client.create(&target.address, id(1)).await.unwrap();
    let at = |offset: u32, bytes: u32| Extent { chunk: 1, offset: HEAD_BYTES + offset, needle: 1, bytes };
    for senseless in [
        vec![at(0, 0)],
        vec![at(4, 10)],
        vec![at(8192, 10), at(0, 10)],
        vec![at(0, 100), at(64, 100)],
        vec![at(0, 10), Extent { chunk: 2, ..at(8192, 10) }],
        (0..=eddy_chunkserver::PULL_NEEDLES_MAX as u32).map(|number| at(number * 8192 % (1 << 20), 1)).collect(),
    ] {
        assert!(matches!(refused(client.pull(&target.address, FILE, &from, senseless).await), Refusal::Malformed(_)));
    }
    let needle = at(0, 100_000);
    let pull = |file, from: Source| {
        let (client, address) = (client.clone(), target.address.clone());
        async move { client.pull(&address, file, &from, vec![needle]).await }
    };
    let elsewhere = |server| Source { server, ..from.clone() };
    assert_eq!(pull(FILE, from.clone()).await.unwrap(), [needle], "it has no such file");
    assert_eq!(pull(FILE, elsewhere(ServerAddress::from("127.0.0.1:1"))).await.unwrap(), [needle], "nobody is there");
    assert_eq!(pull(FILE, elsewhere(ServerAddress::of(1, &source.address))).await.unwrap(), [needle], "another is there");
    client.create(&source.address, id(1)).await.unwrap();
    write(&client, &source.address, needle).await.unwrap();
    assert_eq!(refused(pull(FILE + 1, from.clone()).await), Refusal::NoFile);
    assert_eq!(pull(FILE, from.clone()).await.unwrap(), []);
    assert!(matches!(refused(pull(FILE, from).await), Refusal::Closed(_)), "the place is taken");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pauses_while_it_writes_is_waited_for() {
    let options = StoreOptions { folder: "/chunks".into(), cluster: CLUSTER, reserved_bytes: 0, capacity_bytes: None };
    let store = Arc::new(ChunkStore::open(Arc::new(SimulatedDisk::new()), options).unwrap());
    let (network, listener) = MemoryTransport::new();
    let (network, address) = (Arc::new(network), "somewhere:1".to_owned());
    let _serving = tokio::spawn(serve(listener, Server::new(store, CLUSTER, network.clone()).unwrap()));
    let client = ChunkClient::new(network, CLUSTER);
    client.create(&address, id(1)).await.unwrap();
    let extent = Extent { chunk: 1, offset: HEAD_BYTES, needle: 1, bytes: 20 * BLOCK_BYTES };
    let stored = stored(&extent);
    let mut call = client.write(&address, FILE, extent, &[]).await.unwrap();
    for piece in stored.chunks(4 * STORED_BLOCK_BYTES as usize) {
        // As somebody with 1 KB a second.
        tokio::time::sleep(Duration::from_secs(256)).await;
        call.send(piece).await.unwrap();
    }
    call.finish().await.unwrap();
    assert!(read(&client, &address, extent, 0..extent.bytes).await.unwrap() == data_of(&extent));
}
