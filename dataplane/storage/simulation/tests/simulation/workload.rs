//! What clients do, and what they may see: the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use eddy_object::schema::{
    ChunkForm, ChunkRow, DegradedRow, NamespaceRow, NamespaceSettings, ReferenceRow, Tiering, Versioning, decode, references,
};
use eddy_object::{Attributes, Listed, Listing, ObjectError, Objects, Precondition, VersionId, VersionsAfter};
use eddy_storage_testing::{SPACE, check, random_bytes, rows};
use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::hosts::{self, GRACE, Host};
use crate::story::Story;

const WRITERS: u64 = 3;
const KEYS: u64 = 6;
/// An operation that takes longer is given up; it may have happened, or happen yet.
const PATIENCE: Duration = Duration::from_secs(20);
/// Without faults, all is well within this time.
const HEALED_WITHIN: Duration = Duration::from_secs(600);

/// An object's contents, which tell of each other by their seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Contents {
    seed: u64,
    length: usize,
}

impl Contents {
    fn bytes(self) -> Bytes {
        random_bytes(self.seed, self.length)
    }
}

/// What may be under each key: more than one thing after an operation of which nobody knows whether it happened.
type Model = BTreeMap<String, Vec<Option<Contents>>>;

struct Writer {
    number: u64,
    objects: Objects,
    namespace: u64,
    /// As it was made.
    space: NamespaceRow,
    model: Model,
    random: Rng,
    story: Story,
}

/// Works until faults end, then looks whether all is as it should be.
pub(crate) async fn run(host: Host, servers: Vec<String>, seed: u64, story: Story) -> turmoil::Result {
    crate::clock::set_wrong(host.wrong_ms);
    hosts::until_whole(&servers).await;
    let (objects, client) = hosts::objects(&servers).await;
    let space = loop {
        let settings = |settings: &mut NamespaceSettings| {
            settings.versioning = if seed.is_multiple_of(3) { Versioning::On } else { Versioning::Off };
            // All of it is coded, or what nobody reads for two days, which are short here.
            let coded = Tiering { coded: seed % 8 == 3, cold_after_days: (seed % 8 == 7).then_some(2) };
            settings.tiering = coded;
        };
        // It may be there already where the answer to the first try was lost.
        if let Ok(row) = objects.metadata().provide_namespace(SPACE, settings).await {
            break row;
        }
        sleep(Duration::from_secs(1)).await;
    };
    let namespace = space.id;
    story.began();
    let writers = (0..WRITERS).map(|number| {
        let random = Rng::with_seed(seed * 1000 + number);
        let (objects, space, story) = (objects.clone(), space.clone(), story.clone());
        Writer { number, objects, namespace, space, model: Model::new(), random, story }.run()
    });
    let mut model = Model::new();
    for theirs in futures::future::join_all(writers).await {
        model.extend(theirs);
    }
    heal(&objects, namespace, &model, &story, Instant::now()).await;
    // What nobody needs is collected, and nothing else. What is moved together, coded, and then in the way as whole copies takes
    // its time thrice.
    let tiered = space.settings.tiering != Tiering::default();
    sleep(GRACE * if tiered { 9 } else { 3 }).await;
    heal(&objects, namespace, &model, &story, Instant::now()).await;
    story.stop_master();
    sleep(Duration::from_secs(5)).await;
    check(objects.metadata(), SPACE).await;
    let listed = list(&objects, namespace).await.expect("the store is there");
    for (key, possible) in &model {
        let found = listed.get(key);
        assert!(
            possible.iter().any(|one| one.map(|one| one.length as u64).as_ref() == found),
            "{key}: {found:?} of {possible:?}"
        );
    }
    assert!(listed.keys().all(|key| model.contains_key(key)), "{listed:?}");
    no_garbage(&objects, &client).await;
    story.tell(&format!("{} keys, {} objects", model.len(), listed.len()));
    Ok(())
}

/// Waits until every object can be read and no chunk lacks anything.
async fn heal(objects: &Objects, namespace: u64, model: &Model, story: &Story, start: Instant) {
    loop {
        let metadata = objects.metadata();
        let mut waiting = Vec::new();
        for (key, possible) in model {
            if let Err(reason) = look(objects, namespace, key, possible).await {
                waiting.push(format!("{key}: {reason}"));
            }
        }
        match (metadata.scan_all(eddy_kv::KeyRange::prefix(&b"d"[..])).await, metadata.drains().await) {
            (Ok(degraded), Ok(drains)) => {
                waiting.extend((!degraded.is_empty()).then(|| format!("{} chunks to repair", degraded.len())));
                for server in drains.keys() {
                    // What is drained for ever keeps chunks away from the others.
                    let _ = metadata.use_server(*server).await;
                    waiting.push("a server is drained".into());
                }
            }
            _ => waiting.push("no store".into()),
        }
        if waiting.is_empty() {
            return;
        }
        if start.elapsed() > HEALED_WITHIN {
            panic!("not well after {HEALED_WITHIN:?}: {waiting:?}\n{}", sick(objects).await.unwrap_or_default());
        }
        story.tell(&format!("waiting for {waiting:?}"));
        sleep(Duration::from_secs(3)).await;
    }
}

/// All that is known of chunks that are to be repaired.
async fn sick(objects: &Objects) -> Result<String, ObjectError> {
    let (metadata, mut told) = (objects.metadata(), String::new());
    for row in metadata.scan_all(eddy_kv::KeyRange::prefix(&b"d"[..])).await? {
        let chunk = u64::from_be_bytes(row.key[1..9].try_into().unwrap());
        let degraded: DegradedRow = decode(&row.value.bytes)?;
        told += &format!("chunk {chunk:016x}: {:?}, {degraded:?}\n", metadata.chunk(chunk).await?);
        for reference in metadata.scan_all(references(chunk)).await? {
            told += &format!("  {:?}\n", decode::<ReferenceRow>(&reference.value.bytes)?);
        }
    }
    Ok(told)
}

/// What servers have is what rows name, and as many copies as are wanted.
async fn no_garbage(objects: &Objects, client: &eddy_chunkserver::ChunkClient) {
    let mut named: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for row in rows(objects.metadata(), b"c").await {
        let chunk = u64::from_be_bytes(row.key[1..9].try_into().expect("a number of eight bytes"));
        let row: ChunkRow = decode(&row.value.bytes).expect("a row of this kind");
        let copies = if matches!(row.form, ChunkForm::Coded(_)) { 0 } else { usize::from(row.copies) };
        assert_eq!(row.servers.len(), copies, "chunk {chunk:016x}");
        for server in row.servers {
            named.entry(server).or_default().insert(chunk);
        }
    }
    for (server, row) in objects.metadata().servers().await.expect("the store is there") {
        if client.status(&row.address).await.expect("every address answers").server != server {
            // It lost its disk, and is another now.
            assert!(!named.contains_key(&server));
            continue;
        }
        let has: BTreeSet<u64> =
            client.list(&row.address).await.expect("every server is there").into_iter().map(|(chunk, _)| chunk).collect();
        let named = named.remove(&server).unwrap_or_default();
        assert!(named.is_subset(&has), "server {} lacks {:?}", row.address, named.difference(&has));
        assert!(has.is_subset(&named), "server {} still has {:?}", row.address, has.difference(&named));
    }
}

async fn list(objects: &Objects, namespace: u64) -> Result<BTreeMap<String, u64>, ObjectError> {
    let page = objects.metadata().list(namespace, &Listing { limit: 1000, ..Listing::default() }).await?;
    let mut listed = BTreeMap::new();
    for entry in page.entries {
        if let Listed::Object(key, row) = entry {
            listed.insert(key, row.bytes);
        }
    }
    Ok(listed)
}

/// Reads an object: an error if it cannot be read now; the end of all if it is not what it may be.
async fn look(objects: &Objects, namespace: u64, key: &str, possible: &[Option<Contents>]) -> Result<(), String> {
    let read = async {
        let row = objects.metadata().object(namespace, key).await?;
        let mut download = objects.download(&row, 0, row.bytes)?;
        let mut data = Vec::new();
        while let Some(block) = download.next().await? {
            data.extend_from_slice(&block);
        }
        Ok::<_, ObjectError>((row.bytes, data))
    };
    match tokio::time::timeout(PATIENCE, read).await {
        Err(_) => Err("it takes too long".into()),
        Ok(Err(ObjectError::NoObject(_))) => {
            assert!(possible.contains(&None), "{key} is gone; it may be {possible:?}");
            Ok(())
        }
        Ok(Err(error)) => Err(format!("{error:?}")),
        Ok(Ok((length, data))) => {
            assert_eq!(data.len() as u64, length, "{key}");
            let is = |one: &Option<Contents>| one.is_some_and(|one| one.length == data.len() && one.bytes() == data);
            assert!(possible.iter().any(is), "{key} has {} bytes that nobody wrote last; it may be {possible:?}", data.len());
            Ok(())
        }
    }
}

impl Writer {
    async fn run(mut self) -> Model {
        while !self.story.is_calm() {
            let key = format!("{}/{}", self.number, self.random.u64(..KEYS));
            match self.random.u32(..100) {
                0..50 => self.put(&key).await,
                50..65 => self.delete(&key).await,
                65..92 => {
                    let possible = self.model.entry(key.clone()).or_insert_with(|| vec![None]).clone();
                    let looked = look(&self.objects, self.namespace, &key, &possible).await;
                    self.objects.note_read(&self.space, &key);
                    self.story.did("get", looked.is_ok());
                }
                92..94 => self.list().await,
                94..97 => self.forget_old_version(&key).await,
                _ => self.drain_or_use().await,
            }
            sleep(Duration::from_millis(self.random.u64(..300))).await;
        }
        self.model
    }

    fn possible(&mut self, key: &str) -> &mut Vec<Option<Contents>> {
        self.model.entry(key.to_owned()).or_insert_with(|| vec![None])
    }

    /// What is under a key now if the operation was acknowledged; what may be there otherwise.
    fn changed(&mut self, key: &str, to: Option<Contents>, acknowledged: bool) {
        let possible = self.possible(key);
        if acknowledged {
            possible.clear();
        }
        possible.push(to);
    }

    async fn put(&mut self, key: &str) {
        let length = match self.random.u32(..20) {
            0 => 0,
            1..12 => self.random.usize(1..2000),
            12..19 => self.random.usize(2000..100_000),
            _ => self.random.usize(100_000..600_000),
        };
        let contents = Contents { seed: self.random.u64(..), length };
        let announced = self.random.bool().then_some(length as u64);
        let (data, piece) = (contents.bytes(), self.random.usize(10_000..200_000));
        let objects = self.objects.clone();
        let put = async {
            let mut upload = objects.upload(SPACE, announced).await?;
            for start in (0..data.len()).step_by(piece) {
                upload.write(data.slice(start..data.len().min(start + piece))).await?;
            }
            upload.finish(key, Attributes::default(), &Precondition::None).await
        };
        let done = tokio::time::timeout(PATIENCE, put).await;
        let acknowledged = matches!(done, Ok(Ok(_)));
        self.story.did("put", acknowledged);
        self.changed(key, Some(contents), acknowledged);
    }

    async fn delete(&mut self, key: &str) {
        let objects = self.objects.clone();
        let done = tokio::time::timeout(PATIENCE, objects.metadata().delete(SPACE, key, &Precondition::None)).await;
        let acknowledged = match done {
            Ok(Ok(_)) => true,
            Ok(Err(ObjectError::NoObject(_))) => {
                let possible = self.possible(key).clone();
                assert!(possible.contains(&None), "{key} is gone; it may be {possible:?}");
                return;
            }
            _ => false,
        };
        self.story.did("delete", acknowledged);
        self.changed(key, None, acknowledged);
    }

    async fn list(&mut self) {
        let objects = self.objects.clone();
        let Ok(Ok(listed)) = tokio::time::timeout(PATIENCE, list(&objects, self.namespace)).await else {
            return self.story.did("list", false);
        };
        self.story.did("list", true);
        for (key, possible) in &self.model {
            let found = listed.get(key);
            let is = |one: &Option<Contents>| one.map(|one| one.length as u64).as_ref() == found;
            assert!(possible.iter().any(is), "{key} is listed as {found:?}; it may be {possible:?}");
        }
    }

    /// Older versions come and go, and what is under the key stays.
    async fn forget_old_version(&mut self, key: &str) {
        let metadata = self.objects.metadata().clone();
        let listed = metadata.list_versions(self.namespace, key, &VersionsAfter::Nothing, 100).await;
        let Ok((versions, _)) = listed else { return };
        let older: Vec<VersionId> =
            versions.iter().filter(|one| one.key == key).skip(1).map(|one| VersionId::of(&one.row)).collect();
        let Some(version) = self.random.choice(&older) else { return };
        let forgotten = metadata.delete_version(SPACE, key, *version, &Precondition::None, false);
        let done = tokio::time::timeout(PATIENCE, forgotten).await;
        self.story.did("forget version", matches!(done, Ok(Ok(_))));
    }

    async fn drain_or_use(&mut self) {
        let metadata = self.objects.metadata().clone();
        let (Ok(servers), Ok(drains)) = (metadata.servers().await, metadata.drains().await) else { return };
        let servers: Vec<u64> = servers.into_keys().collect();
        let Some(server) = self.random.choice(&servers) else { return };
        let done = match drains.first_key_value() {
            Some((drained, _)) => metadata.use_server(*drained).await,
            None => metadata.drain_server(*server).await,
        };
        self.story.did("drain", done.is_ok());
    }
}
