//! What clients may see, and what must be there in the end: the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use eddy_chunks::FileId;
use eddy_chunkserver::{ChunkClient, ClientError};
use eddy_object::schema::{Attributes, ChunkForm, ChunkRow, DegradedRow, ObjectRow, ReferenceRow, decode, references};
use eddy_object::{Listed, ListedVersion, Listing, ObjectError, Objects, VersionsAfter};
use eddy_storage_testing::{SPACE, random_bytes, rows};
use tokio::time::{Instant, sleep};

use crate::story::Story;

/// An operation that takes longer is given up; it may have happened, or happen yet.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Without faults, all is well within this time.
const HEALED_WITHIN: Duration = Duration::from_secs(600);

/// A story has fewer versions of all its objects.
const VERSIONS_MAX: usize = 5000;
/// The name under which an object's metadata tell its contents.
const SEED: &str = "seed";

/// An object's contents, which tell of each other by their seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) seed: u64,
    pub(crate) length: usize,
}

impl Contents {
    pub(crate) fn bytes(self) -> Bytes {
        random_bytes(self.seed, self.length)
    }

    /// What an object is known by that has these.
    pub(crate) fn attributes(self) -> Attributes {
        Attributes { metadata: vec![(SEED.to_owned(), self.seed.to_string())], ..Attributes::default() }
    }

    /// What an object of this length has that is known by so much, where that tells.
    fn of(attributes: &Attributes, length: usize) -> Option<Self> {
        let (_, seed) = attributes.metadata.iter().find(|(name, _)| name == SEED)?;
        Some(Self { seed: seed.parse().ok()?, length })
    }

    /// A few thousand bytes as a rule, some of them many.
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        let length = match random.u32(..20) {
            0 => 0,
            1..12 => random.usize(1..2000),
            12..19 => random.usize(2000..100_000),
            _ => random.usize(100_000..600_000),
        };
        Self { seed: random.u64(..), length }
    }
}

/// What may be under a key: more than one thing after an operation of which nobody knows whether it happened.
pub(crate) type Possible = Vec<Option<Contents>>;
/// What may be under each key.
pub(crate) type Model = BTreeMap<String, Possible>;

/// An object that goes by itself. It is written once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiring {
    pub(crate) contents: Contents,
    /// When it was begun to be written.
    pub(crate) since: Duration,
    pub(crate) acknowledged: bool,
}

/// A number that all doors count up, each time on the condition that it still is what they read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter {
    /// Numbers of which somebody was told that they were written.
    pub(crate) acknowledged: BTreeSet<u64>,
    /// Tries of which nobody knows.
    pub(crate) unknown: u64,
}

impl Counter {
    /// What is read must count all that was acknowledged before, and no more than was tried.
    pub(crate) fn check(&self, before: u64, found: u64) {
        let most = self.acknowledged.last().copied().unwrap_or_default() + self.unknown;
        assert!((before..=most).contains(&found), "it is {found}, and should be {before} to {most}: {self:?}");
    }
}

/// Reads an object: none if there is none.
pub(crate) async fn read(objects: &Objects, namespace: u64, key: &str) -> Result<Option<(u64, Bytes)>, String> {
    let read = async {
        let row = objects.metadata().object(namespace, key).await?;
        let data = read_version(objects, &row).await?;
        Ok::<_, ObjectError>((row.upload, data))
    };
    match tokio::time::timeout(PATIENCE, read).await {
        Err(_) => Err("it takes too long".into()),
        Ok(Err(ObjectError::NoObject(_))) => Ok(None),
        Ok(Err(error)) => Err(format!("{error:?}")),
        Ok(Ok(found)) => Ok(Some(found)),
    }
}

async fn read_version(objects: &Objects, row: &ObjectRow) -> Result<Bytes, ObjectError> {
    let mut download = objects.download(row, 0, row.bytes)?;
    let mut data = Vec::new();
    while let Some(block) = download.next().await? {
        data.extend_from_slice(&block);
    }
    assert_eq!(data.len() as u64, row.bytes, "{row:?}");
    Ok(data.into())
}

/// Reads all versions that are kept, which must be what they themselves say, and returns what cannot be read now.
async fn look_at_versions(objects: &Objects, namespace: u64) -> Result<Vec<String>, ObjectError> {
    let (versions, more) = objects.metadata().list_versions(namespace, "", &VersionsAfter::Nothing, VERSIONS_MAX).await?;
    assert!(!more, "there are more than {VERSIONS_MAX} versions");
    let mut unreadable = Vec::new();
    for ListedVersion { key, row, .. } in versions.iter().filter(|version| !version.row.deleted) {
        match tokio::time::timeout(PATIENCE, read_version(objects, row)).await {
            Err(_) => unreadable.push(format!("a version of {key} takes too long")),
            Ok(Err(error)) => unreadable.push(format!("a version of {key}: {error:?}")),
            Ok(Ok(data)) => {
                let wanted = Contents::of(&row.attributes, data.len());
                assert!(wanted.is_none_or(|wanted| wanted.bytes() == data), "{key} has another's bytes in {row:?}");
            }
        }
    }
    Ok(unreadable)
}

/// Reads an object: an error if it cannot be read now; the end of all if it is not what it may be.
pub(crate) async fn look(objects: &Objects, namespace: u64, key: &str, possible: &[Option<Contents>]) -> Result<(), String> {
    match read(objects, namespace, key).await? {
        None => assert!(possible.contains(&None), "{key} is gone; it may be {possible:?}"),
        Some((_, data)) => {
            let is = |one: &Option<Contents>| one.is_some_and(|one| one.length == data.len() && one.bytes() == data);
            assert!(possible.iter().any(is), "{key} has {} bytes that nobody wrote last; it may be {possible:?}", data.len());
        }
    }
    Ok(())
}

/// All objects, and their lengths.
pub(crate) async fn list(objects: &Objects, namespace: u64) -> Result<BTreeMap<String, u64>, ObjectError> {
    let page = objects.metadata().list(namespace, &Listing { limit: 1000, ..Listing::default() }).await?;
    let mut listed = BTreeMap::new();
    for entry in page.entries {
        if let Listed::Object(key, row) = entry {
            listed.insert(key, row.bytes);
        }
    }
    Ok(listed)
}

/// What is listed is what may be there.
pub(crate) fn check_listed(listed: &BTreeMap<String, u64>, model: &Model) {
    for (key, possible) in model {
        let found = listed.get(key);
        let is = |one: &Option<Contents>| one.map(|one| one.length as u64).as_ref() == found;
        assert!(possible.iter().any(is), "{key} is listed as {found:?}; it may be {possible:?}");
    }
}

/// Waits until every object can be read and no chunk lacks anything.
pub(crate) async fn heal(objects: &Objects, namespace: u64, model: &Model, story: &Story, start: Instant) {
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
            match look_at_versions(objects, namespace).await {
                Ok(unreadable) if unreadable.is_empty() => return,
                Ok(unreadable) => waiting = unreadable,
                Err(error) => waiting.push(error.to_string()),
            }
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

/// What servers have and no row names, and the other way round; nothing where all is as it should be, with as many copies as
/// the namespace asks for.
pub(crate) async fn garbage(objects: &Objects, client: &ChunkClient) -> Result<Vec<String>, ClientError> {
    let (mut wrong, mut named) = (Vec::new(), BTreeMap::<u64, BTreeSet<FileId>>::new());
    let wanted = objects.metadata().namespace(SPACE).await.expect("the namespace is there").settings.copies;
    for row in rows(objects.metadata(), b"c").await {
        let chunk = u64::from_be_bytes(row.key[1..9].try_into().expect("a number of eight bytes"));
        let row: ChunkRow = decode(&row.value.bytes).expect("a row of this kind");
        let copies = if matches!(row.form, ChunkForm::Coded(_)) { 0 } else { usize::from(row.copies) };
        if row.replicas.len() != copies || row.form == ChunkForm::Whole && row.copies != wanted {
            wrong.push(format!("chunk {chunk:016x}: {row:?}"));
        }
        for replica in row.replicas {
            named.entry(replica.server).or_default().insert(replica.id(chunk));
        }
    }
    for (server, row) in objects.metadata().servers().await.expect("the store is there") {
        let named = named.remove(&server).unwrap_or_default();
        if client.status(&row.address).await?.server != server {
            // It lost its disk, and is another now.
            wrong.extend(named.into_iter().map(|id| format!("{id} on a server that is lost")));
            continue;
        }
        let has: BTreeSet<FileId> = client.list(&row.address).await?.into_iter().map(|(id, _)| id).collect();
        wrong.extend(named.difference(&has).map(|id| format!("{} lacks {id}", row.address)));
        wrong.extend(has.difference(&named).map(|id| format!("{} still has {id}", row.address)));
    }
    Ok(wrong)
}
