//! What doors do: one operation after the other, each on its own keys, and counters on all doors' keys. A door crashes like any host; what
//! it had begun may have happened.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use eddy_object::schema::{Attributes, ETag, NamespaceRow, ObjectRow, Quota, Versioning};
use eddy_object::{Completion, ObjectError, Objects, Precondition, VersionId, VersionsAfter, WantedPart};
use eddy_storage_testing::SPACE;
use fastrand::Rng;
use tokio::time::{sleep, timeout};

use crate::hosts::{self, Host};
use crate::oracle::{Contents, Expiring, PATIENCE, Possible, check_listed, list, look};
use crate::story::Story;
use crate::workload::{BRIEF, COUNTERS, EXPIRING, World, count, look_at_expiring};

const KEYS: u64 = 6;
const PARTS_MAX: usize = 4;
/// Copies that the namespace may ask for: there are as many servers.
const COPIES: RangeInclusive<u8> = 2..=4;

struct Door {
    number: u64,
    objects: Objects,
    /// As it was made.
    space: NamespaceRow,
    world: World,
    random: Rng,
    story: Story,
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Happened,
    /// It may have happened, or happen yet.
    Unknown,
    DidNotHappen,
}

/// Works until all is calm. After a crash it goes on with what outlived it.
pub(crate) async fn run(host: Host, servers: Vec<String>, number: u64, world: World, seed: u64, story: Story) -> turmoil::Result {
    host.set_clock();
    let space = loop {
        if let Some(space) = world.with(|known| known.space.clone()) {
            break space;
        }
        sleep(Duration::from_millis(100)).await;
    };
    let (objects, _) = hosts::objects(&servers).await;
    // Another one after each start.
    let random = Rng::with_seed(seed * 1000 + number + now().as_millis() as u64 * 1_000_003);
    let mut door = Door { number, objects, space, world: world.clone(), random, story };
    while !door.story.is_calm() {
        door.step().await;
        let pause = Duration::from_millis(door.random.u64(..300));
        sleep(pause).await;
    }
    world.with(|known| known.ended.insert(number));
    // There is nothing left to do, also not for another start.
    std::future::pending().await
}

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// Nothing at all after a while: it may happen yet.
async fn patiently<T>(work: impl Future<Output = Result<T, ObjectError>>) -> Option<Result<T, ObjectError>> {
    timeout(PATIENCE, work).await.ok()
}

fn outcome<T>(done: Option<&Result<T, ObjectError>>) -> Outcome {
    match done {
        Some(Ok(_)) => Outcome::Happened,
        Some(Err(ObjectError::QuotaExceeded { .. } | ObjectError::PreconditionFailed | ObjectError::NoObject(_))) => {
            Outcome::DidNotHappen
        }
        Some(Err(_)) | None => Outcome::Unknown,
    }
}

impl Door {
    async fn step(&mut self) {
        let key = self.key();
        match self.random.u32(..100) {
            0..38 => self.put(&key).await,
            38..48 => self.delete(&key).await,
            48..70 => self.get(&key).await,
            70..72 => self.list().await,
            72..73 => self.change_copies().await,
            73..76 => self.forget_old_version(&key).await,
            76..79 => self.drain_or_use().await,
            79..84 => self.rename(&key).await,
            84..90 => self.put_in_parts(&key).await,
            90..93 => self.put_expiring().await,
            93..95 => self.get_expiring().await,
            95..97 => self.use_brief_namespace().await,
            _ => self.count_up().await,
        }
    }

    fn key(&mut self) -> String {
        format!("{}/{}", self.number, self.random.u64(..KEYS))
    }

    fn possible(&self, key: &str) -> Possible {
        self.world.with(|known| known.model.entry(key.to_owned()).or_insert_with(|| vec![None]).clone())
    }

    fn set_possible(&self, key: &str, possible: Possible) {
        self.world.with(|known| known.model.insert(key.to_owned(), possible));
    }

    /// Changes what is under a key. What is to be there is known before it is tried: the door may crash meanwhile.
    async fn change(&self, key: &str, to: Option<Contents>, work: impl Future<Output = Outcome>) {
        let before = self.possible(key);
        self.set_possible(key, [&before[..], &[to]].concat());
        match work.await {
            Outcome::Happened => self.set_possible(key, vec![to]),
            Outcome::DidNotHappen => self.set_possible(key, before),
            Outcome::Unknown => {}
        }
    }

    /// An operation ended so.
    fn did<T>(&self, what: &str, done: Option<&Result<T, ObjectError>>) -> Outcome {
        if let Some(Err(ObjectError::QuotaExceeded { .. })) = done {
            self.story.did("refuse beyond quota", true);
        } else {
            self.story.did(what, matches!(done, Some(Ok(_))));
        }
        outcome(done)
    }

    async fn put(&mut self, key: &str) {
        let contents = Contents::draw(&mut self.random);
        let announced = self.random.bool().then_some(contents.length as u64);
        let piece = self.random.usize(10_000..200_000);
        let put = async {
            let done =
                patiently(self.write(key, contents.bytes(), contents.attributes(), announced, piece, &Precondition::None)).await;
            self.did("put", done.as_ref())
        };
        self.change(key, Some(contents), put).await;
    }

    async fn write(
        &self,
        key: &str,
        data: Bytes,
        attributes: Attributes,
        announced: Option<u64>,
        piece: usize,
        precondition: &Precondition,
    ) -> Result<ObjectRow, ObjectError> {
        let mut upload = self.objects.upload(SPACE, announced).await?;
        for start in (0..data.len()).step_by(piece) {
            upload.write(data.slice(start..data.len().min(start + piece))).await?;
        }
        upload.finish(key, attributes, precondition).await
    }

    async fn delete(&self, key: &str) {
        let before = self.possible(key);
        let delete = async {
            let done = patiently(self.objects.metadata().delete(SPACE, key, &Precondition::None)).await;
            if let Some(Err(ObjectError::NoObject(_))) = done {
                assert!(before.contains(&None), "{key} is gone; it may be {before:?}");
                return Outcome::DidNotHappen;
            }
            self.did("delete", done.as_ref())
        };
        self.change(key, None, delete).await;
    }

    async fn get(&self, key: &str) {
        let looked = look(&self.objects, self.space.id, key, &self.possible(key)).await;
        self.objects.note_read(&self.space, key);
        self.story.did("get", looked.is_ok());
    }

    /// Gives what is under a key another one, in the place of what is there.
    async fn rename(&mut self, from: &str) {
        let (to, moved) = (self.key(), self.possible(from));
        if self.space.settings.versioning != Versioning::Off || to == from {
            return;
        }
        let replaced = self.possible(&to);
        let there: Possible = moved.iter().filter(|one| one.is_some()).copied().collect();
        self.set_possible(&to, [&replaced[..], &there].concat());
        self.set_possible(from, [&moved[..], &[None]].concat());
        let done = patiently(self.objects.metadata().rename(SPACE, from, &to, &Precondition::None)).await;
        match outcome(done.as_ref()) {
            Outcome::Happened => {
                assert!(!there.is_empty(), "{from} was moved, and there was nothing");
                self.set_possible(&to, there);
                self.set_possible(from, vec![None]);
            }
            Outcome::DidNotHappen => {
                assert!(moved.contains(&None), "{from} is gone; it may be {moved:?}");
                self.set_possible(&to, replaced);
                self.set_possible(from, moved);
                return;
            }
            Outcome::Unknown => {}
        }
        self.did("rename", done.as_ref());
    }

    /// Writes an object in parts, of which some come twice; some objects are given up, or forgotten.
    async fn put_in_parts(&mut self, key: &str) {
        let contents = Contents::draw(&mut self.random);
        let mut cuts: Vec<usize> = (1..PARTS_MAX).map(|_| self.random.usize(..=contents.length)).collect();
        cuts.extend([0, contents.length]);
        cuts.sort_unstable();
        let data = contents.bytes();
        let parts: Vec<Bytes> = cuts.windows(2).map(|cut| data.slice(cut[0]..cut[1])).collect();
        let (twice, ending) = (self.random.usize(..2 * PARTS_MAX), self.random.u32(..10));
        let work = async {
            let written = patiently(self.write_parts(key, contents.attributes(), &parts, twice)).await;
            let Some(Ok((upload, wanted))) = written else {
                self.did("write parts", written.as_ref());
                return Outcome::DidNotHappen;
            };
            let metadata = self.objects.metadata();
            if ending < 3 {
                if ending < 2 {
                    self.did("abort", patiently(metadata.abort_multipart(SPACE, key, upload)).await.as_ref());
                }
                return Outcome::DidNotHappen;
            }
            let completion = Completion { upload, wanted: &wanted, part_bytes_min: 0, precondition: &Precondition::None };
            let done = metadata.complete_multipart(SPACE, key, completion, |attributes, _| Ok(attributes.clone()));
            self.did("complete", patiently(done).await.as_ref())
        };
        self.change(key, Some(contents), work).await;
    }

    async fn write_parts(
        &self,
        key: &str,
        attributes: Attributes,
        parts: &[Bytes],
        twice: usize,
    ) -> Result<(u64, Vec<WantedPart>), ObjectError> {
        let multipart = self.objects.metadata().create_multipart(SPACE, key, "door", attributes).await?;
        let mut wanted = Vec::new();
        for (number, data) in (1..).zip(parts) {
            let digest = vec![number as u8; 16];
            let mut contents = vec![data.clone()];
            if twice == usize::from(number) {
                // It takes the place of another one.
                contents.insert(0, Bytes::from_static(b"before"));
            }
            for data in contents {
                let mut upload = self.objects.upload(SPACE, Some(data.len() as u64)).await?;
                upload.write(data).await?;
                let etag = ETag { digest: digest.clone(), parts: 0 };
                upload.finish_part(key, multipart, number, Attributes { etag, ..Attributes::default() }).await?;
            }
            wanted.push(WantedPart { number, digest, checksum: None });
        }
        Ok((multipart, wanted))
    }

    async fn list(&self) {
        let Some(Ok(listed)) = patiently(list(&self.objects, self.space.id)).await else {
            return self.story.did("list", false);
        };
        self.story.did("list", true);
        let Quota { objects, bytes } = self.space.settings.quota;
        let (listed_objects, listed_bytes) = (listed.len() as i64, listed.values().sum::<u64>() as i64);
        assert!(objects.is_none_or(|most| listed_objects <= most), "{listed_objects} objects of {objects:?}");
        assert!(bytes.is_none_or(|most| listed_bytes <= most), "{listed_bytes} bytes of {bytes:?}");
        // Others change theirs meanwhile.
        let own = format!("{}/", self.number);
        let model = self.world.with(|known| known.model.clone());
        check_listed(&listed, &model.into_iter().filter(|(key, _)| key.starts_with(&own)).collect());
    }

    /// What is there is to have another number of copies, and so is what comes.
    async fn change_copies(&mut self) {
        let copies = self.random.u8(COPIES);
        let changed = self.objects.metadata().change_namespace(SPACE, |settings| settings.copies = copies);
        self.did("change copies", patiently(changed).await.as_ref());
    }

    /// Older versions come and go, and what is under the key stays.
    async fn forget_old_version(&mut self, key: &str) {
        let metadata = self.objects.metadata().clone();
        let listed = metadata.list_versions(self.space.id, key, &VersionsAfter::Nothing, 100).await;
        let Ok((versions, _)) = listed else { return };
        let older: Vec<VersionId> =
            versions.iter().filter(|one| one.key == key).skip(1).map(|one| VersionId::of(&one.row)).collect();
        let Some(version) = self.random.choice(&older) else { return };
        let forgotten = patiently(metadata.delete_version(SPACE, key, *version, &Precondition::None, false)).await;
        self.did("forget version", forgotten.as_ref());
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

    async fn put_expiring(&mut self) {
        let (contents, since) = (Contents::draw(&mut self.random), now());
        let key = format!("{EXPIRING}{}-{}", self.number, since.as_millis());
        let one = |acknowledged| Expiring { contents, since, acknowledged };
        self.world.with(|known| known.expiring.insert(key.clone(), one(false)));
        let done = patiently(self.write(&key, contents.bytes(), contents.attributes(), None, 100_000, &Precondition::None)).await;
        match self.did("put expiring", done.as_ref()) {
            Outcome::Happened => drop(self.world.with(|known| known.expiring.insert(key, one(true)))),
            Outcome::DidNotHappen => drop(self.world.with(|known| known.expiring.remove(&key))),
            Outcome::Unknown => {}
        }
    }

    async fn get_expiring(&mut self) {
        let all: Vec<(String, Expiring)> = self.world.with(|known| known.expiring.clone().into_iter().collect());
        let Some((key, one)) = self.random.choice(all) else { return };
        let looked = look_at_expiring(&self.objects, self.space.id, &key, &one).await;
        self.story.did("get expiring", looked.is_ok());
    }

    /// Writes to a namespace that all doors make and remove again and again, or removes it. It is removed only while it holds nothing, so what was
    /// acknowledged is there until its writer deletes it.
    async fn use_brief_namespace(&mut self) {
        let metadata = self.objects.metadata().clone();
        if self.random.u32(..3) == 0 {
            let removed = patiently(metadata.delete_namespace(BRIEF)).await;
            return self.story.did("remove namespace", matches!(removed, Some(Ok(()))));
        }
        let (contents, key) = (Contents::draw(&mut self.random), format!("{}-{}", self.number, now().as_millis()));
        let write = async {
            metadata.provide_namespace(BRIEF, |settings| "door".clone_into(&mut settings.owner)).await?;
            let mut upload = self.objects.upload(BRIEF, None).await?;
            upload.write(contents.bytes()).await?;
            upload.finish(&key, contents.attributes(), &Precondition::None).await
        };
        let written = patiently(write).await;
        self.did("put brief", written.as_ref());
        if !matches!(written, Some(Ok(_))) {
            return;
        }
        let deleted = patiently(metadata.delete(BRIEF, &key, &Precondition::None)).await;
        let is_lost = matches!(deleted, Some(Err(ObjectError::NoObject(_) | ObjectError::NoNamespace(_))));
        assert!(!is_lost, "{key} was acknowledged, and is not there: {deleted:?}");
        self.did("delete brief", deleted.as_ref());
    }

    /// Adds one to a number, if nobody else does meanwhile.
    async fn count_up(&mut self) {
        let key = COUNTERS[self.random.usize(..COUNTERS.len())];
        let before = self.world.with(|known| known.counters.entry(key).or_default().acknowledged.last().copied());
        let Ok((upload, number)) = count(&self.objects, self.space.id, key).await else {
            return self.story.did("count up", false);
        };
        self.world.with(|known| {
            let counter = known.counters.entry(key).or_default();
            counter.check(before.unwrap_or_default(), number);
            counter.unknown += 1;
        });
        let precondition = upload.map_or(Precondition::Absent, Precondition::Upload);
        let data = Bytes::copy_from_slice(&(number + 1).to_le_bytes());
        let done = patiently(self.write(key, data, Attributes::default(), Some(8), 8, &precondition)).await;
        let outcome = outcome(done.as_ref());
        self.world.with(|known| {
            let counter = known.counters.entry(key).or_default();
            counter.unknown -= u64::from(outcome != Outcome::Unknown);
            if outcome == Outcome::Happened {
                assert!(counter.acknowledged.insert(number + 1), "two wrote {} to {key}", number + 1);
            }
        });
        match done {
            Some(Err(ObjectError::PreconditionFailed)) => self.story.did("come second", true),
            done => drop(self.did("count up", done.as_ref())),
        }
    }
}
