//! Versions are what a simple program keeps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eddy_kv::{Embedded, EmbeddedOptions, KvError, Read, ReadResult, RowStream, Store, Transaction, Version};
use eddy_object::schema::{NamespaceSettings, Versioning};
use eddy_object::{Attributes, Keeping, Metadata, NewObject, ObjectError, Precondition, Taking, VersionId, VersionsAfter};
use eddy_storage_testing::{Cluster, SPACE, random_bytes};
use fastrand::Rng;

/// A version: its name, and its contents unless it says that the object was deleted.
type Kept = (VersionId, Option<Vec<u8>>);

/// What a simple program keeps of each key, the latest first.
#[derive(Default)]
struct Model {
    versioning: Versioning,
    keys: BTreeMap<String, Vec<Kept>>,
}

impl Model {
    fn add(&mut self, key: &str, version: VersionId, contents: Option<Vec<u8>>) {
        let versions = self.keys.entry(key.to_owned()).or_default();
        match self.versioning {
            Versioning::Off => versions.clear(),
            Versioning::On => {}
            Versioning::Suspended => versions.retain(|(version, _)| *version != VersionId::Unversioned),
        }
        if self.versioning != Versioning::Off || contents.is_some() {
            versions.insert(0, (version, contents));
        }
    }

    fn present(&self, key: &str) -> Option<&Vec<u8>> {
        self.keys.get(key)?.first()?.1.as_ref()
    }

    fn listed(&self) -> Vec<(String, VersionId, bool, bool)> {
        let of_key = |(key, versions): (&String, &Vec<Kept>)| {
            let key = key.clone();
            let line = move |(at, (version, contents)): (usize, &Kept)| (key.clone(), *version, contents.is_none(), at == 0);
            versions.iter().enumerate().map(line).collect::<Vec<_>>()
        };
        self.keys.iter().flat_map(of_key).collect()
    }
}

async fn listed(cluster: &Cluster, page: usize) -> Vec<(String, VersionId, bool, bool)> {
    let (mut all, mut after) = (Vec::new(), VersionsAfter::Nothing);
    loop {
        let (found, more) = cluster.metadata().list_versions(cluster.namespace, "", &after, page).await.unwrap();
        assert!(found.len() <= page && (found.len() == page || !more || !found.is_empty()));
        if let Some(last) = found.last() {
            after = VersionsAfter::Version(last.key.clone(), last.row.order);
        }
        all.extend(
            found.into_iter().map(|version| (version.key, VersionId::of(&version.row), version.row.deleted, version.latest)),
        );
        if !more {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_come_and_go_as_in_a_simple_program() {
    let cluster = Cluster::start(2).await;
    let metadata = cluster.metadata();
    let mut random = Rng::with_seed(11);
    let mut model = Model::default();
    let mut number = 0;
    for step in 0..600 {
        let key = (*random.choice(["a", "a\u{1}", "b"]).unwrap()).to_owned();
        match random.u32(0..20) {
            0 if step > 50 => {
                model.versioning = if random.bool() { Versioning::On } else { Versioning::Suspended };
                let versioning = model.versioning;
                metadata.change_namespace(SPACE, |settings| settings.versioning = versioning).await.unwrap();
            }
            1..=8 => {
                number += 1;
                let size = if random.u32(0..20) == 0 { 40_000_000 } else { random.usize(0..3000) };
                let data = random_bytes(number, size);
                let row = cluster.put(&key, &data).await.unwrap();
                model.add(&key, VersionId::of(&row), Some(data.to_vec()));
            }
            9..=12 => match metadata.delete(SPACE, &key, &Precondition::None).await {
                Ok(deleted) => {
                    assert_eq!(deleted.marker, model.versioning != Versioning::Off);
                    model.add(&key, deleted.version.unwrap_or(VersionId::Unversioned), None);
                }
                Err(ObjectError::NoObject(_)) => assert!(model.versioning == Versioning::Off && model.present(&key).is_none()),
                Err(error) => panic!("{error}"),
            },
            _ => {
                let Some(versions) = model.keys.get_mut(&key).filter(|versions| !versions.is_empty()) else { continue };
                let (version, contents) = versions.remove(random.usize(0..versions.len()));
                let deleted = metadata.delete_version(SPACE, &key, version, &Precondition::None, false).await.unwrap();
                assert_eq!((deleted.version, deleted.marker), (Some(version), contents.is_none()));
                let again = metadata.delete_version(SPACE, &key, version, &Precondition::None, false).await;
                assert!(matches!(again, Err(ObjectError::NoObject(_))));
            }
        }
        assert_eq!(cluster.get(&key).await.ok().as_ref(), model.present(&key), "step {step}");
        if step % 20 == 0 {
            let page = random.usize(1..7);
            assert_eq!(listed(&cluster, page).await, model.listed(), "step {step}");
            cluster.check().await;
        }
    }
    let space = metadata.namespace(SPACE).await.unwrap();
    for (key, versions) in &model.keys {
        for (version, contents) in versions {
            let row = metadata.version(&space, key, *version).await.unwrap();
            assert_eq!((row.deleted, row.bytes), (contents.is_none(), contents.as_ref().map_or(0, |bytes| bytes.len() as u64)));
            assert!(cluster.read(&row, 0, row.bytes).await.unwrap() == contents.clone().unwrap_or_default());
            assert_eq!(version.to_string().parse::<VersionId>().unwrap(), *version);
        }
    }
    assert!(matches!(metadata.delete_namespace(SPACE).await, Err(ObjectError::NotEmpty(..))));
    for (key, versions) in &model.keys {
        for (version, _) in versions {
            metadata.delete_version(SPACE, key, *version, &Precondition::None, false).await.unwrap();
        }
    }
    while metadata.remove_gone(u64::MAX).await.unwrap() > 0 || !cluster.rows(b"t").await.is_empty() {}
    cluster.check().await;
    assert!(cluster.rows(b"r").await.is_empty() && cluster.rows(b"q").await.is_empty());
    metadata.delete_namespace(SPACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_to_a_versioned_key_at_once_loses_nothing() {
    let cluster = Cluster::start(2).await;
    cluster.metadata().change_namespace(SPACE, |settings| settings.versioning = Versioning::On).await.unwrap();
    let rows = futures::future::join_all((0..30).map(|number| {
        let cluster = &cluster;
        async move { cluster.put("key", &random_bytes(number, 100)).await.unwrap() }
    }));
    let mut written: Vec<u64> = rows.await.iter().map(|row| row.upload).collect();
    let (listed, _) = cluster.metadata().list_versions(cluster.namespace, "", &VersionsAfter::Nothing, 1000).await.unwrap();
    let mut found: Vec<u64> = listed.iter().map(|version| version.row.upload).collect();
    written.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, written);
    assert!(listed.is_sorted_by(|one, next| one.row.order > next.row.order));
    cluster.check().await;
}

#[test]
fn a_version_s_name_is_read_strictly() {
    for bad in ["", "nul", "0123", &"g".repeat(32), &"+".repeat(32), &"ü".repeat(16), &"0".repeat(33)] {
        assert!(bad.parse::<VersionId>().is_err(), "{bad}");
    }
}

/// A store that is slow to read, so that others change it between two reads.
struct Slow(Embedded);

#[async_trait]
impl Store for Slow {
    async fn read(&self, reads: Vec<Read>) -> Result<Vec<ReadResult>, KvError> {
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..5000))).await;
        self.0.read(reads).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version, KvError> {
        self.0.commit(transaction).await
    }

    async fn export(&self) -> Result<RowStream<'_>, KvError> {
        self.0.export().await
    }

    async fn import(&self, rows: RowStream<'_>) -> Result<(), KvError> {
        self.0.import(rows).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_removed_at_once_are_all_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&EmbeddedOptions::new(folder.path().join("metadata"))).unwrap();
    let metadata = Metadata::new(Arc::new(Slow(store)));
    let settings = NamespaceSettings { versioning: Versioning::On, ..NamespaceSettings::default() };
    let space = metadata.create_namespace(SPACE, settings).await.unwrap();
    for _ in 0..20 {
        for upload in 1..=6 {
            let (needles, taking, attributes) = (Vec::new(), Taking::default(), Attributes::default());
            let keeping = Keeping::of(&space);
            let new = NewObject { upload, bytes: 0, attributes, keeping, needles, taking };
            metadata.put(SPACE, "key", new, &Precondition::None).await.unwrap();
        }
        let (all, _) = metadata.list_versions(space.id, "", &VersionsAfter::Nothing, 100).await.unwrap();
        // Each removal of the present one makes another of them present, while that one is removed, too.
        let removals = all.into_iter().map(|version| {
            let metadata = metadata.clone();
            let id = VersionId::of(&version.row);
            tokio::spawn(async move { metadata.delete_version(SPACE, "key", id, &Precondition::None, false).await })
        });
        for removal in removals.collect::<Vec<_>>() {
            removal.await.unwrap().unwrap();
        }
        assert_eq!(metadata.list_versions(space.id, "", &VersionsAfter::Nothing, 100).await.unwrap().0, []);
    }
}
