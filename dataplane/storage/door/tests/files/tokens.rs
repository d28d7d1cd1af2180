//! Tokens, and the access keys that they are.

use std::time::Duration;

use eddy_authz::feed::{Ages, Feed};
use eddy_authz::{
    AccountEntry, Entry, Permissions, Scope, Scopes, SigningKey, Token, TokenEntry, UserEntry, account_key, token_key, user_key,
};
use eddy_storage_door::ServeOptions;
use eddy_storage_testing::Cluster;
use reqwest::Method;
use serde_json::json;

use crate::access::everything;
use crate::support::House;

/// What identity says, to be changed.
#[derive(Default)]
struct World(Vec<(String, Entry)>);

impl World {
    fn of(users: &[&str]) -> Self {
        Self(users.iter().map(|name| (user_key(name), Entry::User(UserEntry::default()))).collect())
    }

    fn token(&mut self, user: &str, account: Option<&str>, scopes: Option<Scopes>, expires_s: Option<i64>) -> String {
        let token = Token::draw().unwrap();
        let entry = TokenEntry {
            user: user.into(),
            name: "t".into(),
            account: account.map(Into::into),
            scopes,
            hash: token.hash(),
            expires_s,
        };
        self.0.push((token_key(token.id()), Entry::Token(entry)));
        token.expose().to_owned()
    }

    fn permissions(&self) -> Permissions {
        let permissions = Permissions::default();
        for (key, entry) in &self.0 {
            permissions.set(key, Some(&entry.to_bytes().unwrap()));
        }
        permissions
    }
}

fn scopes(all: &[(&str, &[&str])]) -> Scopes {
    all.iter().map(|(scope, actions)| Scope::parse(scope, actions.iter().copied()).unwrap()).collect()
}

fn signing() -> SigningKey {
    SigningKey::new(&[5; 32]).unwrap()
}

async fn house(world: &World) -> House {
    let feed = Feed::fixed(world.permissions());
    let cluster = Cluster::start(3).await;
    House::known(cluster, ServeOptions::default(), Duration::from_secs(60), |known| known.with_tokens(feed, Some(signing())))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_is_refused_without_the_scope_for_it() {
    let mut world = World::of(&["alice", "bob"]);
    world.0.push((account_key("alice", "less"), Entry::Account(AccountEntry { suspended: false, scopes: Scopes::default() })));
    world.0.push((account_key("alice", "off"), Entry::Account(AccountEntry { suspended: true, scopes: Scopes::default() })));
    let all = || Some(scopes(&[("storage.alice.files", &["list", "read", "write", "delete", "share"])]));
    let good = world.token("alice", None, None, None);
    let reads = world.token("alice", None, Some(scopes(&[("storage.alice.files", &["list", "read"])])), None);
    let refused = [
        (
            "of another kind",
            world.token("alice", None, Some(scopes(&[("storage.alice.namespaces", &["read", "update"])])), None),
            404,
        ),
        (
            "of another namespace",
            world.token("alice", None, Some(scopes(&[("storage.alice.files.privates", &["read", "write"])])), None),
            404,
        ),
        ("of an account without it", world.token("alice", Some("less"), all(), None), 404),
        ("of another user", world.token("bob", None, None, None), 404),
        ("of another user, with the scope", world.token("bob", None, all(), None), 404),
        ("expired", world.token("alice", None, None, Some(1)), 401),
        ("suspended", world.token("alice", Some("off"), None, None), 401),
        ("of nobody", world.token("eve", None, None, None), 401),
        ("revoked, or of another cluster", Token::draw().unwrap().expose().to_owned(), 401),
        ("cut off", good[..good.len() - 1].to_owned(), 401),
        ("very long", format!("{good}{}", "x".repeat(60_000)), 401),
        ("no token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.".to_owned(), 401),
    ];
    let house = house(&world).await;
    let bearer = |token: &str| format!("Bearer {token}");
    let put = house.request(&bearer(&good), Method::PUT, "/v1/files/private/key").body("data");
    assert_eq!(put.send().await.unwrap().status(), 201);
    for (method, path, body, only_reads) in everything("private") {
        for (what, token, expected) in &refused {
            let request = house.request(&bearer(token), method.clone(), &path).header("content-type", "application/json");
            let answer = request.body(body.to_string()).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), *expected, "{method} {path} with a token {what}");
            assert!(!answer.text().await.unwrap().contains(&token[..20]), "{what}");
        }
        let request = house.request(&bearer(&reads), method.clone(), &path).header("content-type", "application/json");
        let status = request.body(body.to_string()).send().await.unwrap().status().as_u16();
        assert_eq!(status, if only_reads { 200 } else { 404 }, "{method} {path} with a token that reads");
    }
    let read = house.request(&bearer(&good), Method::GET, "/v1/files/private/key").send().await.unwrap();
    assert_eq!(read.text().await.unwrap(), "data");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_folder_opens_that_and_what_anyone_may_see() {
    let mut world = World::of(&["alice"]);
    let folder = scopes(&[("storage.alice.files.private/a", &["list", "read", "write", "share"])]);
    let narrow = world.token("alice", None, Some(folder), None);
    let narrow = format!("Bearer {narrow}");
    let blind = format!("Bearer {}", world.token("alice", None, Some(scopes(&[("storage.alice.files", &["share"])])), None));
    let house = house(&world).await;
    for key in ["a/x", "ab", "b"] {
        assert_eq!(house.put(&format!("/v1/files/private/{key}"), key).await.status(), 201);
    }
    assert_eq!(house.put("/v1/files/public/all", "seen").await.status(), 201);
    let status = async |method: Method, path: &str| {
        let request = house.request(&narrow, method, path).header("content-type", "application/json");
        request.body(json!({ "expiresInSeconds": 60 }).to_string()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(Method::GET, "/v1/files/private/a/x").await, 200);
    assert_eq!(status(Method::PUT, "/v1/files/private/a/y").await, 201);
    assert_eq!(status(Method::GET, "/v1/files/public/all").await, 200);
    assert_eq!(status(Method::PUT, "/v1/files/public/all").await, 403);
    for path in ["/v1/files/private/ab", "/v1/files/private/b", "/v1/files/private"] {
        assert_eq!(status(Method::GET, path).await, 404, "{path}");
    }
    for (prefix, expected) in [("a/", 200), ("a/x", 200), ("a", 404), ("ab/", 404), ("b", 404), ("a/../b", 200), ("", 404)] {
        assert_eq!(status(Method::GET, &format!("/v1/files/private?prefix={prefix}")).await, expected, "{prefix:?}");
    }
    assert_eq!(status(Method::DELETE, "/v1/files/private/a/x").await, 404);
    assert_eq!(status(Method::POST, "/v1/shares/private/b").await, 404);
    let blind = house.request(&blind, Method::POST, "/v1/shares/private/b").header("content-type", "application/json");
    let blind = blind.body(json!({ "expiresInSeconds": 60 }).to_string()).send().await.unwrap();
    assert_eq!(blind.status(), 404, "who may not read it lets nobody read it");
    let shared = house.request(&narrow, Method::POST, "/v1/shares/private/a/x").header("content-type", "application/json");
    let shared = shared.body(json!({ "expiresInSeconds": 60 }).to_string()).send().await.unwrap();
    let link = crate::support::json(shared).await["path"].as_str().unwrap().to_owned();
    assert_eq!(house.get("", &link).await.text().await.unwrap(), "a/x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_signs_requests_of_s3() {
    let mut world = World::of(&["alice"]);
    let (all, less) = (
        world.token("alice", None, None, None),
        world.token("alice", None, Some(scopes(&[("storage.alice.files", &["read"])])), None),
    );
    let maker = world.token("alice", None, Some(scopes(&[("storage.alice.namespaces", &["create"])])), None);
    let writer = world.token("alice", None, Some(scopes(&[("storage.alice.files", &["read", "write"])])), None);
    let house = house(&world).await;
    let key = |token: &str| {
        let token = Token::parse(token).unwrap();
        format!("{}:{}", token.id(), signing().secret_of(token.id(), &token.hash()).expose())
    };
    assert_eq!(house.s3_put_as(&key(&all), "private/s3", b"data").0, 200);
    let (status, body) = house.s3_put_as(&key(&less), "private/s3", b"other");
    assert!(status == 403 && body.contains("AccessDenied"), "{status} {body}");
    let (status, body) = house.s3_put_as(&key(&less), "made", b"");
    assert!(status == 403 && body.contains("AccessDenied"), "{status} {body}");
    let make = |name: &str, acl: &str| house.s3_put_with(&key(&maker), name, b"", acl);
    assert_eq!((make("mine", "").0, make("shared", "public-read").0), (200, 403), "whoever makes one decides nothing about it");
    // Nor may whoever only writes share what they write.
    let write = |acl: &str| house.s3_put_with(&key(&writer), "private/w", b"data", acl).0;
    assert_eq!((write(""), write("public-read")), (200, 403));
    // The token itself signs nothing.
    let token = Token::parse(&all).unwrap();
    let (status, body) = house.s3_put_as(&format!("{}:{all}", token.id()), "private/s3", b"other");
    assert!(status == 403 && body.contains("SignatureDoesNotMatch"), "{status} {body}");
    let read = house.request(&format!("Bearer {less}"), Method::GET, "/v1/files/private/s3").send().await.unwrap();
    assert_eq!(read.text().await.unwrap(), "data");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_from_too_long_ago_opens_what_is_public() {
    let mut world = World::of(&["alice", "bob"]);
    let good = format!("Bearer {}", world.token("alice", None, None, None));
    let other = format!("Bearer {}", world.token("bob", None, None, None));
    let old = |writes_s, reads_s| Ages { writes_max: Duration::from_secs(writes_s), reads_max: Duration::from_secs(reads_s) };
    for (ages, reads, writes) in [(old(9, 9), 200, 200), (old(0, 9), 200, 503), (old(0, 0), 503, 503)] {
        let feed = Feed::fixed_at(world.permissions(), ages, Duration::from_secs(1));
        let house = House::known(Cluster::start(3).await, ServeOptions::default(), Duration::from_secs(60), |known| {
            known.with_tokens(feed, Some(signing()))
        })
        .await;
        for space in ["private", "public"] {
            assert_eq!(house.put(&format!("/v1/files/{space}/key"), "data").await.status(), 201);
        }
        let status = async |who: &str, method: Method, path: &str| {
            house.request(who, method, path).body("x").send().await.unwrap().status().as_u16()
        };
        assert_eq!(status(&good, Method::GET, "/v1/files/private/key").await, reads, "{ages:?}");
        assert_eq!(status(&good, Method::PUT, "/v1/files/private/key").await, writes, "{ages:?}");
        // Who might not anyway hears nothing of what is there.
        if reads == 200 {
            assert_eq!(status(&other, Method::PUT, "/v1/files/private/key").await, 404, "{ages:?}");
            assert_eq!(status(&other, Method::PUT, "/v1/files/nowhere/key").await, 404, "{ages:?}");
        }
        assert_eq!(status("", Method::GET, "/v1/files/public/key").await, 200, "{ages:?}");
    }
}
