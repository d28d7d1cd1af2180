//! What identity publishes reaches whoever follows, by a real NATS with authentication, whatever happens to it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eddy_authz::feed::{Ages, Feed, HEARTBEAT_EVERY, NatsOptions, Standing, USED_SUBJECT, used_ids};
use eddy_authz::{Action, Entry, Kind, Refused, Resource, Token, TokenEntry, UserEntry, token_key, user_key};
use eddy_identity::{PublishError, Publisher};
use futures::StreamExt;
use tokio::sync::Mutex;

const BEAT_EVERY: Duration = Duration::from_millis(50);

const CONFIGURATION: &str = r#"
listen: "127.0.0.1:$PORT"
jetstream { store_dir: "$FOLDER" }
authorization { users: [
  {user: identity, password: identity-password, permissions: {publish: [$IDENTITY_SAYS], subscribe: [$IDENTITY_HEARS]}}
  {user: follower, password: follower-password, permissions: {publish: [$FOLLOWER_SAYS], subscribe: [$FOLLOWER_HEARS]}}
] }
"#;

/// What the chart lets each of them say, or hear.
fn chart_rights(user: &str, what: &str) -> String {
    let chart = include_str!("../../../charts/eddy/templates/nats/config.yaml");
    let (_, rest) = chart.split_once(&format!("{{user: {user},")).unwrap();
    let (_, rest) = rest.split_once(&format!("{what}: [")).unwrap();
    rest.split_once(']').unwrap().0.to_owned()
}

struct Nats {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Nats {
    fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        for user in ["identity", "follower"] {
            std::fs::write(folder.path().join(user), format!("{user}-password\n")).unwrap();
        }
        let process = Self::run(folder.path(), port);
        Self { process, port, folder }
    }

    fn run(folder: &Path, port: u16) -> Child {
        let text = CONFIGURATION
            .replace("$PORT", &port.to_string())
            .replace("$FOLDER", &folder.join("data").display().to_string())
            .replace("$IDENTITY_SAYS", &chart_rights("identity", "publish"))
            .replace("$IDENTITY_HEARS", &chart_rights("identity", "subscribe"))
            .replace("$FOLLOWER_SAYS", &chart_rights("follower", "publish"))
            .replace("$FOLLOWER_HEARS", &chart_rights("follower", "subscribe"));
        std::fs::write(folder.join("nats.conf"), text).unwrap();
        let cache = PathBuf::from(std::env::var("EDDY_CACHE").expect("EDDY_CACHE, as dev/environment sets it"));
        let mut command = Command::new(cache.join("bin/nats-server"));
        command.arg("--config").arg(folder.join("nats.conf")).stderr(Stdio::null());
        command.spawn().expect("nats-server, as `cluster build-nats` builds it")
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// It comes back with what it had, or with nothing.
    fn start_again(&mut self, keeps: bool) {
        if !keeps {
            std::fs::remove_dir_all(self.folder.path().join("data")).unwrap();
        }
        self.process = Self::run(self.folder.path(), self.port);
    }

    fn copy(&self, from: &str, to: &str) {
        let [from, to] = [from, to].map(|name| self.folder.path().join(name));
        let _ = std::fs::remove_dir_all(&to);
        assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    }

    async fn client(&self, user: &str) -> async_nats::Client {
        let options = NatsOptions {
            // Of several, one is enough.
            nats_servers: vec!["nats://127.0.0.1:1".to_owned(), format!("nats://127.0.0.1:{}", self.port)],
            nats_user: user.to_owned(),
            nats_password_file: Some(self.folder.path().join(user)),
            nats_ca_file: None,
        };
        options.connect("test").await.unwrap()
    }

    /// A client of identity's, once it is let in.
    async fn identity(&self) -> async_nats::Client {
        let client = self.client("identity").await;
        let start = Instant::now();
        while client.flush().await.is_err() || client.connection_state() != async_nats::connection::State::Connected {
            assert!(start.elapsed() < Duration::from_secs(20), "not let in");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client
    }

    /// One that published this, and gives signs of life for as long as NATS takes them.
    async fn publisher(&self, world: &World) -> Beating {
        let client = self.client("identity").await;
        let start = Instant::now();
        let mut publisher = loop {
            match Publisher::open(&client, 1).await {
                Ok(publisher) => break publisher,
                Err(error) => assert!(start.elapsed() < Duration::from_secs(20), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        publisher.publish_all(&world.0).await.unwrap();
        let publisher = Arc::new(Mutex::new(publisher));
        let beating = publisher.clone();
        tokio::spawn(async move {
            while beating.lock().await.beat().await.is_ok() {
                tokio::time::sleep(BEAT_EVERY).await;
            }
        });
        Beating(publisher)
    }

    /// Whoever follows knows two tokens of a user.
    async fn two_known(&self) -> (World, Token, Token, Feed) {
        let (world, one, two) = World::of_two();
        self.publisher(&world).await;
        let feed = self.feed("permissions").await;
        until("both are known", || feed.authenticate(&one).is_ok() && feed.authenticate(&two).is_ok()).await;
        (world, one, two, feed)
    }

    async fn feed(&self, file: &str) -> Feed {
        let ages = Ages { writes_max: Duration::from_secs(2), reads_max: Duration::from_secs(60) };
        Feed::open(self.client("follower").await, self.folder.path().join(file), ages)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A publisher that gives signs of life.
struct Beating(Arc<Mutex<Publisher>>);

impl Beating {
    async fn publish_all(&self, world: &World) -> usize {
        self.0.lock().await.publish_all(&world.0).await.unwrap()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Users and their tokens, as entries.
#[derive(Default)]
struct World(BTreeMap<String, Entry>);

impl World {
    /// Of a user with two tokens.
    fn of_two() -> (Self, Token, Token) {
        let mut world = Self::default();
        world.user("ada");
        let (one, two) = (world.token("ada"), world.token("ada"));
        (world, one, two)
    }

    fn user(&mut self, name: &str) {
        self.0.insert(user_key(name), Entry::User(UserEntry::default()));
    }

    fn token(&mut self, user: &str) -> Token {
        let token = Token::draw().unwrap();
        let entry =
            TokenEntry { user: user.into(), name: "t".into(), account: None, scopes: None, hash: token.hash(), expires_s: None };
        self.0.insert(token_key(token.id()), Entry::Token(entry));
        token
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_is_known_and_what_is_taken_back_is_not() {
    let nats = Nats::start();
    let mut world = World::default();
    world.user("ada");
    let token = world.token("ada");
    let publisher = nats.publisher(&world).await;
    let feed = nats.feed("permissions").await;
    feed.filled().await;
    until("the token is known", || feed.authenticate(&token).is_ok()).await;
    let who = feed.authenticate(&token).unwrap();
    assert!(who.may(Action::Write, &Resource { owner: "ada", kind: Kind::Files, id: "x" }));
    let another = world.token("ada");
    assert_eq!(publisher.publish_all(&world).await, 1);
    until("another is known", || feed.authenticate(&another).is_ok()).await;
    world.0.remove(&token_key(token.id()));
    assert_eq!((publisher.publish_all(&world).await, publisher.publish_all(&world).await), (1, 0));
    until("the first is not", || feed.authenticate(&token) == Err(Refused::Unknown)).await;
    // Whoever follows says nothing.
    let forged = nats.client("follower").await;
    forged.publish("$KV.eddy-permissions.user.eve", "{}".into()).await.unwrap();
    forged.flush().await.unwrap();
    let revision = feed.revision() + 2;
    until("a sign of life", || feed.revision() > revision).await;
    assert!(!feed.permissions().is_user("eve"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nats_is_away_what_was_known_is_good_for_less_and_less_and_nothing_is_missed() {
    let mut nats = Nats::start();
    let (mut world, kept, revoked, feed) = nats.two_known().await;
    nats.stop();
    until("writes are over", || feed.standing() == Standing::ReadsOnly).await;
    let who = feed.authenticate(&kept).unwrap();
    let files = Resource { owner: "ada", kind: Kind::Files, id: "x" };
    assert!(who.may(Action::Read, &files) && !who.may(Action::Write, &files));
    nats.start_again(true);
    world.0.remove(&token_key(revoked.id()));
    nats.publisher(&world).await;
    until("what was revoked is not known", || feed.authenticate(&revoked) == Err(Refused::Unknown)).await;
    until("writes go on", || feed.standing() == Standing::Fresh).await;
    assert!(feed.authenticate(&kept).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_was_lost_is_another_and_is_read_anew() {
    let mut nats = Nats::start();
    let (mut world, kept, revoked, feed) = nats.two_known().await;
    let before = feed.revision();
    nats.stop();
    nats.start_again(false);
    // Nothing says of it that it is gone: it is only not there any more. And the other bucket soon has more revisions than the first had.
    world.0.remove(&token_key(revoked.id()));
    for number in 0..before + 100 {
        world.user(&format!("user-{number}"));
    }
    nats.publisher(&world).await;
    until("it is read anew", || feed.authenticate(&revoked) == Err(Refused::Unknown)).await;
    assert!(feed.authenticate(&kept).is_ok() && feed.permissions().is_user("user-0") && feed.revision() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_while_nats_is_away_knows_what_it_knew() {
    let mut nats = Nats::start();
    let (mut world, kept, revoked, feed) = nats.two_known().await;
    let file = nats.folder.path().join("permissions");
    let start = Instant::now();
    while !file.exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "it is not written down");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(feed);
    nats.stop();
    let feed = nats.feed("permissions").await;
    feed.filled().await;
    assert!(feed.authenticate(&kept).is_ok() && feed.authenticate(&revoked).is_ok());
    let made_meanwhile = Token::draw().unwrap();
    until("whoever is not known may be yet", || feed.authenticate(&made_meanwhile) == Err(Refused::Stale)).await;
    assert!(matches!(feed.signer(made_meanwhile.id()), Err(Refused::Stale)) && feed.signer(kept.id()).is_ok());
    nats.start_again(true);
    world.0.remove(&token_key(revoked.id()));
    nats.publisher(&world).await;
    until("what was revoked meanwhile is not known", || feed.authenticate(&revoked) == Err(Refused::Unknown)).await;
    assert!(feed.authenticate(&kept).is_ok());
    assert_eq!(feed.authenticate(&made_meanwhile), Err(Refused::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_identity_said_long_ago_is_not_taken_for_what_it_says_now() {
    let nats = Nats::start();
    let (world, kept, _) = World::of_two();
    // One sign of life, and nothing since.
    let mut publisher = Publisher::open(&nats.identity().await, 1).await.unwrap();
    publisher.publish_all(&world.0).await.unwrap();
    publisher.beat().await.unwrap();
    let feed = nats.feed("permissions").await;
    until("it is read", || feed.permissions().is_user("ada")).await;
    assert_eq!((feed.age(), feed.authenticate(&kept)), (None, Err(Refused::Stale)));
    publisher.beat().await.unwrap();
    until("a sign of life was given", || feed.authenticate(&kept).is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_was_restored_to_an_older_state_is_read_anew() {
    let mut nats = Nats::start();
    let (mut world, kept, revoked, feed) = nats.two_known().await;
    nats.stop();
    nats.copy("data", "backup");
    nats.start_again(true);
    world.0.remove(&token_key(revoked.id()));
    let publisher = nats.publisher(&world).await;
    until("it is revoked", || feed.authenticate(&revoked) == Err(Refused::Unknown)).await;
    let added = world.token("ada");
    publisher.publish_all(&world).await;
    until("another is known", || feed.authenticate(&added).is_ok()).await;
    let before = feed.revision();
    nats.stop();
    // What was revoked is there again, and the one that was added is not; and soon it has as many revisions as were seen before.
    nats.copy("backup", "data");
    nats.start_again(true);
    world.0.remove(&token_key(added.id()));
    for number in 0..before + 100 {
        world.user(&format!("user-{number}"));
    }
    nats.publisher(&world).await;
    until("it is read anew", || feed.permissions().is_user("user-0") && feed.standing() == Standing::Fresh).await;
    let known = [&kept, &revoked, &added].map(|token| feed.authenticate(token).is_ok());
    assert_eq!(known, [true, false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_was_opened_last_publishes() {
    let nats = Nats::start();
    let (mut world, _, revoked) = World::of_two();
    let client = nats.identity().await;
    let mut first = Publisher::open(&client, 1).await.unwrap();
    first.publish_all(&world.0).await.unwrap();
    first.beat().await.unwrap();
    world.0.remove(&token_key(revoked.id()));
    let mut second = Publisher::open(&client, 1).await.unwrap();
    second.publish_all(&world.0).await.unwrap();
    assert!(matches!(first.beat().await, Err(PublishError::Beat(_))));
    second.beat().await.unwrap();
    // Held up for a while, it would put back what was revoked meanwhile.
    tokio::time::sleep(HEARTBEAT_EVERY * 5).await;
    let entry =
        TokenEntry { user: "ada".into(), name: "t".into(), account: None, scopes: None, hash: revoked.hash(), expires_s: None };
    let late = first.publish(&[(token_key(revoked.id()), Some(Entry::Token(entry)))]).await;
    assert!(matches!(late, Err(PublishError::Beat(_))), "{late:?}");
    let feed = nats.feed("permissions").await;
    until("it is read", || feed.permissions().is_user("ada")).await;
    second.beat().await.unwrap();
    second.beat().await.unwrap();
    until("signs of life", || feed.age().is_some()).await;
    assert_eq!(feed.authenticate(&revoked), Err(Refused::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_wholly_published_is_taken_by_nobody() {
    let nats = Nats::start();
    let (world, kept, feed) = {
        let (world, kept, _, feed) = nats.two_known().await;
        (world, kept, feed)
    };
    // Another begins, and has not said all yet.
    let mut publisher = Publisher::open(&nats.identity().await, 1).await.unwrap();
    let half = BTreeMap::from([(user_key("eve"), Entry::User(UserEntry::default()))]);
    publisher.publish_all(&half).await.unwrap();
    let late = nats.feed("late").await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        assert!(!late.permissions().is_user("eve") && late.age().is_none());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    publisher.publish_all(&world.0).await.unwrap();
    publisher.beat().await.unwrap();
    until("it is whole", || late.permissions().is_user("ada")).await;
    publisher.beat().await.unwrap();
    until("it is known", || late.authenticate(&kept).is_ok() && feed.authenticate(&kept).is_ok()).await;
    assert!(!late.permissions().is_user("eve") && !feed.permissions().is_user("eve"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_sent_before_it_was_replaced_does_not_stay() {
    let nats = Nats::start();
    let (mut world, _, revoked) = World::of_two();
    let client = nats.identity().await;
    world.0.remove(&token_key(revoked.id()));
    let mut publisher = Publisher::open(&client, 1).await.unwrap();
    publisher.publish_all(&world.0).await.unwrap();
    publisher.beat().await.unwrap();
    // It comes late.
    let subject = format!("$KV.eddy-permissions.{}", token_key(revoked.id()));
    async_nats::jetstream::new(client.clone()).publish(subject, "{}".into()).await.unwrap().await.unwrap();
    assert!(matches!(publisher.beat().await, Err(PublishError::Foreign)));
    let mut publisher = Publisher::open(&client, 1).await.unwrap();
    assert_eq!(publisher.publish_all(&world.0).await.unwrap(), 1, "it is taken away again");
    publisher.beat().await.unwrap();
    // Of what is published here, nothing is foreign: neither entries nor what is taken away.
    let added = world.token("ada");
    publisher.publish_all(&world.0).await.unwrap();
    world.0.remove(&token_key(added.id()));
    publisher
        .publish(&[(token_key(added.id()), None), (user_key("bob"), Some(Entry::User(UserEntry::default())))])
        .await
        .unwrap();
    publisher.beat().await.unwrap();
}

#[tokio::test]
async fn identity_hears_which_tokens_were_used() {
    let nats = Nats::start();
    let mut said = {
        let client = nats.identity().await;
        client.subscribe(USED_SUBJECT).await.unwrap()
    };
    let (_, one, two, feed) = nats.two_known().await;
    feed.authenticate(&one).unwrap();
    // By a signature.
    feed.used(two.id());
    feed.used(two.id());
    let mut ids = std::collections::BTreeSet::new();
    while ids.len() < 2 {
        let message = tokio::time::timeout(Duration::from_secs(30), said.next()).await.expect("it is said").unwrap();
        ids.extend(used_ids(&message.payload).map(str::to_owned));
    }
    assert_eq!(ids, [one.id().to_owned(), two.id().to_owned()].into());
}
