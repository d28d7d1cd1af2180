//! The frame of a story: a namespace as its seed says, doors that work until faults end, and whether all is then as it should be.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use eddy_chunkserver::ChunkClient;
use eddy_object::schema::{
    Expire, LIFECYCLE, LifecycleFilter, LifecycleRule, LifecycleRules, NamespaceRow, NamespaceSettings, Quota, Tiering,
    Versioning, encode,
};
use eddy_object::{ObjectError, Objects, Precondition};
use eddy_storage_testing::{SPACE, check};
use tokio::time::{Instant, sleep};

use crate::hosts::{self, DAY, GRACE, Host};
use crate::oracle::{Counter, Expiring, Model, check_listed, garbage, heal, list, look, read};
use crate::story::Story;

/// A namespace that comes and goes.
pub(crate) const BRIEF: &str = "brief";
/// Where objects go by themselves.
pub(crate) const EXPIRING: &str = "expiring/";
/// Days after which they do. Clocks are wrong by a day at most, and jump as far.
const EXPIRE_DAYS: u32 = 4;
/// Whatever clocks say, they do not go before.
pub(crate) const KEPT_AT_LEAST: Duration = DAY.saturating_mul(EXPIRE_DAYS - 2);
/// Numbers that are counted up under these keys.
pub(crate) const COUNTERS: [&str; 2] = ["counters/0", "counters/1"];
/// Without faults, what nobody needs is gone within this time. What is moved together, coded, and then in the way as whole copies takes
/// its time thrice.
const CLEAN_WITHIN: Duration = GRACE.saturating_mul(12);
/// Objects that a namespace may hold in some stories: fewer than there are keys.
const QUOTA_OBJECTS: i64 = 14;
/// Bytes that it may hold in others: less than are tried.
const QUOTA_BYTES: i64 = 400_000;

/// What doors know of the world, and outlives each of them. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct World(Rc<RefCell<Known>>);

#[derive(Default)]
pub(crate) struct Known {
    pub(crate) space: Option<NamespaceRow>,
    /// Each key is one door's.
    pub(crate) model: Model,
    pub(crate) counters: BTreeMap<&'static str, Counter>,
    pub(crate) expiring: BTreeMap<String, Expiring>,
    /// Doors that have seen that all is calm.
    pub(crate) ended: BTreeSet<u64>,
}

impl World {
    /// Reads or changes what is known. Nothing may wait meanwhile.
    pub(crate) fn with<T>(&self, of: impl FnOnce(&mut Known) -> T) -> T {
        of(&mut self.0.borrow_mut())
    }
}

/// Makes the namespace, waits until faults have ended, then looks whether all is as it should be.
pub(crate) async fn run(
    host: Host,
    servers: Vec<String>,
    doors: usize,
    world: World,
    seed: u64,
    story: Story,
) -> turmoil::Result {
    host.set_clock();
    hosts::until_whole(&servers).await;
    let (objects, client) = hosts::objects(&servers).await;
    let space = loop {
        // It may be there already where the answer to the first try was lost.
        match provide(&objects, seed).await {
            Ok(space) => break space,
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    };
    let namespace = space.id;
    world.with(|known| known.space = Some(space.clone()));
    story.began();
    while world.with(|known| known.ended.len()) < doors {
        sleep(Duration::from_secs(1)).await;
    }
    while end_brief_namespace(&objects).await.is_err() {
        sleep(Duration::from_secs(1)).await;
    }
    let model = world.with(|known| known.model.clone());
    heal(&objects, namespace, &model, &story, Instant::now()).await;
    until_clean(&objects, &client, namespace, &story).await;
    heal(&objects, namespace, &model, &story, Instant::now()).await;
    story.stop_masters();
    sleep(Duration::from_secs(5)).await;
    check(objects.metadata(), SPACE).await;
    let listed = list(&objects, namespace).await.expect("the store is there");
    check_listed(&listed, &model);
    let is_known = |key: &String| model.contains_key(key) || COUNTERS.contains(&&key[..]);
    assert!(listed.keys().all(is_known), "{listed:?}");
    for (key, counter) in world.with(|known| known.counters.clone()) {
        counter.check(counter.acknowledged.last().copied().unwrap_or_default(), count(&objects, namespace, key).await?.1);
        let longest = counter.acknowledged.len() as u64 + counter.unknown;
        assert!(counter.acknowledged.last().is_none_or(|last| *last <= longest), "one was written twice: {counter:?}");
    }
    story.tell(&format!("{} keys, {} objects", model.len(), listed.len()));
    Ok(())
}

/// Removes the namespace that comes and goes, with what is left of tries of which nobody knows whether they happened.
async fn end_brief_namespace(objects: &Objects) -> Result<(), ObjectError> {
    let metadata = objects.metadata();
    let namespace = match metadata.namespace(BRIEF).await {
        Err(ObjectError::NoNamespace(_)) => return Ok(()),
        found => found?.id,
    };
    for key in list(objects, namespace).await?.into_keys() {
        metadata.delete(BRIEF, &key, &Precondition::None).await?;
    }
    metadata.delete_namespace(BRIEF).await
}

/// Waits until what goes by itself is gone, nobody has what no row names, and chunks have their copies.
async fn until_clean(objects: &Objects, client: &ChunkClient, namespace: u64, story: &Story) {
    let start = Instant::now();
    loop {
        sleep(GRACE / 2).await;
        let mut left = match garbage(objects, client).await {
            Ok(wrong) => wrong,
            Err(error) => vec![error.to_string()],
        };
        let listed = list(objects, namespace).await.expect("the store is there");
        left.extend(listed.into_keys().filter(|key| key.starts_with(EXPIRING)));
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < CLEAN_WITHIN, "not clean after {CLEAN_WITHIN:?}: {left:?}");
        story.tell(&format!("{} things are still there", left.len()));
    }
}

async fn provide(objects: &Objects, seed: u64) -> Result<NamespaceRow, ObjectError> {
    let settings = |settings: &mut NamespaceSettings| {
        settings.versioning = if seed.is_multiple_of(3) { Versioning::On } else { Versioning::Off };
        // All of it is coded, or what nobody reads for two days, which are short here.
        settings.tiering = Tiering { coded: seed % 8 == 3, cold_after_days: (seed % 8 == 7).then_some(2) };
        settings.quota = match seed % 6 {
            1 => Quota { objects: Some(QUOTA_OBJECTS), bytes: None },
            4 => Quota { objects: None, bytes: Some(QUOTA_BYTES) },
            _ => Quota::default(),
        };
    };
    let space = objects.metadata().provide_namespace(SPACE, settings).await?;
    let rule = LifecycleRule {
        id: "expire".into(),
        enabled: true,
        filter: LifecycleFilter { prefix: Some(EXPIRING.into()), ..LifecycleFilter::default() },
        expire: Some(Expire::AfterDays(EXPIRE_DAYS)),
        older: None,
        parts_days: None,
    };
    objects.metadata().set_configuration(SPACE, LIFECYCLE, Some(encode(&LifecycleRules(vec![rule]))?)).await?;
    Ok(space)
}

/// A counter, and the upload that wrote it; 0 if nobody has.
pub(crate) async fn count(objects: &Objects, namespace: u64, key: &str) -> Result<(Option<u64>, u64), String> {
    let Some((upload, data)) = read(objects, namespace, key).await? else { return Ok((None, 0)) };
    let number = u64::from_le_bytes(data[..].try_into().expect("a number of eight bytes"));
    Ok((Some(upload), number))
}

/// An object that goes by itself is there for its time, and with its bytes.
pub(crate) async fn look_at_expiring(objects: &Objects, namespace: u64, key: &str, one: &Expiring) -> Result<(), String> {
    let may_be_gone = !one.acknowledged || turmoil::sim_elapsed().unwrap_or_default() >= one.since + KEPT_AT_LEAST;
    let possible = [Some(one.contents), None];
    look(objects, namespace, key, if may_be_gone { &possible } else { &possible[..1] }).await
}
