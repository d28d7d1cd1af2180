//! Signing in by a provider that others rely on, too (`dev/npm-peer oidc` gets it).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use eddy_authz::{SubjectEntry, subject_digest, subject_key};
use http::header::LOCATION;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::*;

const CALLBACK: &str = "https://cloud.example/auth/v1/providers/id/callback";

/// The provider, and this platform that relies on it.
struct WithProvider {
    stage: Stage,
    issuer: String,
    port: u16,
    process: Child,
    _folder: tempfile::TempDir,
}

async fn run(port: u16, groups: Value, more: &[&str]) -> Child {
    let cache = std::env::var("EDDY_CACHE").expect("EDDY_CACHE, as dev/environment sets it");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../e2e/oidc/provider.mjs");
    let mut process = Command::new("node")
        .arg(script)
        .args([format!("{cache}/npm/oidc"), port.to_string(), CALLBACK.into(), groups.to_string()])
        .args(more)
        .env("NODE_NO_WARNINGS", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("node");
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    while lines.next_line().await.unwrap().expect("the provider, as dev/npm-peer oidc gets it") != "ready" {}
    // Whoever writes where nobody reads any more ends.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    process
}

impl WithProvider {
    async fn new(groups: Value) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A port that is free, and stays so when the provider is started again.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let issuer = format!("http://127.0.0.1:{port}");
        let folder = tempfile::tempdir().unwrap();
        let (secret, file) = (folder.path().join("secret"), folder.path().join("providers.json"));
        std::fs::write(&secret, "the-secret-of-this-client\n").unwrap();
        let provider = json!({
            "name": "id", "title": "Our own", "issuer": issuer, "clientId": "eddy", "clientSecretFile": secret, "scopes": ["groups"],
            "adminGroups": ["ops"],
        });
        std::fs::write(&file, json!([provider]).to_string()).unwrap();
        let with_file = |options| SignInOptions { providers_file: Some(file.clone()), ..options };
        let stage = Stage::with_options(Permissions::default(), Feed::fixed, with_file);
        Self { stage, issuer, port, process: run(port, groups, &[]).await, _folder: folder }
    }

    async fn restart(&mut self, groups: Value, more: &[&str]) {
        self.process.kill().await.unwrap();
        self.process = run(self.port, groups, more).await;
    }

    /// Whom a User object says that somebody there is.
    fn say(&self, subject: &str, user: &str) {
        let entry = Entry::Subject(SubjectEntry { user: user.into() });
        let key = subject_key(&subject_digest(&self.issuer, subject));
        self.stage.feed.permissions().set(&key, Some(&entry.to_bytes().unwrap()));
    }

    /// Where a browser comes back to that was sent there, as whom it comes.
    async fn visit(&self, location: &str, subject: &str) -> String {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let (mut location, mut cookies) = (location.to_owned(), BTreeMap::new());
        for _ in 0..10 {
            if location.starts_with("https://cloud.example") {
                return location;
            }
            if location.starts_with('/') {
                location = format!("{}{location}", self.issuer);
            }
            if location.contains("/interaction/") && !subject.is_empty() {
                location = format!("{location}?as={subject}");
            }
            let kept: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = client.get(&location).header("cookie", kept.join("; ")).send().await.unwrap();
            for cookie in answer.headers().get_all("set-cookie") {
                let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
                let (name, value) = cookie.split_once('=').unwrap();
                cookies.insert(name.to_owned(), value.to_owned());
            }
            let next = answer.headers().get(LOCATION).map(|next| next.to_str().unwrap().to_owned());
            location = next.unwrap_or_else(|| panic!("{location} answered {}", answer.status()));
        }
        panic!("it leads nowhere: {location}");
    }

    /// Begins, and says where a browser comes back to and what it kept.
    async fn there_and_back(&self, begun: Said, subject: &str) -> (String, String) {
        let location = match begun.body["location"].as_str() {
            Some(location) => location.to_owned(),
            None => begun.headers[LOCATION].to_str().unwrap().to_owned(),
        };
        assert!(location.starts_with(&format!("{}/auth?", self.issuer)), "{location}");
        let kept = begun.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let back = self.visit(&location, subject).await;
        (back.strip_prefix("https://cloud.example").unwrap().to_owned(), kept)
    }

    async fn begin(&self, place: &str) -> Said {
        self.stage.ask(Method::GET, &format!("/auth/v1/providers/id?return={place}"), &[], "").await
    }

    /// Who signs in, and shows the provider anew who they are.
    async fn sign_in_anew(&self, subject: &str) -> Said {
        let begun = self.stage.ask(Method::GET, "/auth/v1/providers/id?return=/files&again=true", &[], "").await;
        let (path, kept) = self.there_and_back(begun, subject).await;
        self.come_back(&path, &kept).await
    }

    async fn come_back(&self, path: &str, kept: &str) -> Said {
        self.stage.ask(Method::GET, path, &[("cookie", kept), ("sec-fetch-site", "cross-site")], "").await
    }

    async fn sign_in(&self, subject: &str) -> Said {
        let (path, kept) = self.there_and_back(self.begin("/files").await, subject).await;
        self.come_back(&path, &kept).await
    }

    /// Who has signed in.
    async fn own(&self, said: &Said) -> Value {
        assert_eq!((said.status, said.headers[LOCATION].to_str().unwrap()), (303, "/files"), "{}", said.body);
        let cookies: Vec<&str> = said.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
        let session = cookies.iter().find(|cookie| cookie.starts_with("__Host-eddy=")).unwrap().split(';').next().unwrap();
        assert!(cookies.iter().any(|cookie| cookie.starts_with("__Host-eddy-provider=;") && cookie.ends_with("Max-Age=0")));
        let mut own = self.stage.as_page(Method::GET, "/auth/v1/session", session, json!(null)).await.body;
        own["cookie"] = json!(session);
        own
    }
}

#[tokio::test]
async fn somebody_signs_in_by_a_provider_that_knows_them() {
    let with = WithProvider::new(json!({"boss": ["ops"]})).await;
    let listed = with.stage.ask(Method::GET, "/auth/v1/providers", &[], "").await;
    assert_eq!(listed.body, json!([{"name": "id", "title": "Our own"}]));
    assert_eq!(with.stage.ask(Method::GET, "/auth/v1/providers/other", &[], "").await.code(), (404, "NotFound"));
    let unknown = with.sign_in("7").await;
    assert_eq!(unknown.code(), (403, "NoAccount"));
    assert!(unknown.body["detail"].as_str().unwrap().contains("\"7\""), "so that they can tell an administrator");
    with.say("7", "ada");
    let said = with.sign_in("7").await;
    let own = with.own(&said).await;
    assert_eq!(
        (own["user"].as_str(), own["way"].as_str(), own["provider"].as_str()),
        (Some("ada"), Some("provider"), Some("id"))
    );
    assert_eq!(own["admin"], false);
    // Whoever is suspended, or no user any more, is nobody.
    with.stage.set_user("ada", UserEntry { suspended: true, since_s: 5, admin: false });
    assert_eq!(with.sign_in("7").await.code(), (403, "NoAccount"));
}

#[tokio::test]
async fn an_answer_counts_once_in_the_browser_that_asked() {
    let with = WithProvider::new(json!({})).await;
    with.say("7", "ada");
    let (path, kept) = with.there_and_back(with.begin("//evil.example").await, "7").await;
    assert_eq!(with.stage.ask(Method::GET, &path, &[], "").await.code(), (400, "NotAsked"));
    let (_, of_another) = with.there_and_back(with.begin("/").await, "7").await;
    assert_eq!(with.come_back(&path, &of_another).await.code(), (400, "NotAsked"));
    let other = path.replace("providers/id", "providers/other");
    assert_eq!(with.come_back(&other, &kept).await.code(), (404, "NotFound"));
    let said = with.come_back(&path, &kept).await;
    assert_eq!((said.status, said.headers[LOCATION].to_str().unwrap()), (303, "/"), "nobody is sent elsewhere");
    let again = with.come_back(&path, &kept).await;
    assert_eq!(again.code(), (403, "ProviderAnswer"), "the provider takes a code once");
    assert_eq!(with.come_back(&path, &kept).await.code(), (403, "ProviderAnswer"));
    assert_eq!(with.come_back(&path, &kept).await.code(), (429, "TooManyAttempts"), "and is not asked for ever");
    assert_eq!(with.stage.people.sessions_of("ada").await.unwrap().len(), 1);
    // Who did not want it.
    let (path, kept) = with.there_and_back(with.begin("/").await, "").await;
    let said = with.come_back(&path, &kept).await;
    assert_eq!(said.code(), (403, "ProviderRefused"));
    assert!(said.headers["set-cookie"].to_str().unwrap().starts_with("__Host-eddy-provider=; "));
}

#[tokio::test]
async fn a_group_makes_administrators_for_a_while() {
    let mut with = WithProvider::new(json!({"boss": ["ops"]})).await;
    with.say("boss", "bob");
    let said = with.sign_in("boss").await;
    let own = with.own(&said).await;
    assert_eq!(own["admin"], true);
    // Whom the provider knows from before has shown nothing.
    let cookie = own["cookie"].as_str().unwrap();
    let invited = with.stage.as_page(Method::POST, "/auth/v1/users/ada/invitation", cookie, json!({})).await;
    assert_eq!(invited.code(), (403, "SignInAgain"));
    let said = with.sign_in_anew("boss").await;
    let own = with.own(&said).await;
    let time = |name: &str| own[name].as_str().unwrap().parse::<Timestamp>().unwrap().as_second();
    assert_eq!(time("expiresAt") - time("beganAt"), 12 * 3600);
    let cookie = own["cookie"].as_str().unwrap();
    let secret = eddy_authz::Token::parse(cookie.split_once('=').unwrap().1).unwrap();
    assert!(with.stage.feed.authenticate(&secret).unwrap().is_admin(), "everywhere");
    let invited = with.stage.as_page(Method::POST, "/auth/v1/users/ada/invitation", cookie, json!({})).await;
    assert_eq!(invited.status, 201);
    let path = format!("/auth/v1/invitation?invitation={}", invited.body["invitation"].as_str().unwrap());
    assert_eq!(with.stage.ask(Method::GET, &path, &[], "").await.status, 200, "it counts, though no User says that they are one");
    // Not any more, the provider says, when they sign in the next time.
    with.restart(json!({}), &[]).await;
    let said = with.sign_in("boss").await;
    assert_eq!(with.own(&said).await["admin"], false);
    let before = with.stage.as_page(Method::GET, "/auth/v1/session", cookie, json!(null)).await;
    assert_eq!(before.status, 401);
    assert_eq!(with.stage.ask(Method::GET, &path, &[], "").await.status, 404, "nor does the invitation count any more");
}

#[tokio::test]
async fn whoever_has_signed_in_links_who_they_are_elsewhere() {
    let with = WithProvider::new(json!({})).await;
    let cookie = with.stage.invited("ada", ADAS).await.cookie();
    let ask = json!({"provider": "id", "return": "/files"});
    let begun = with.stage.as_page(Method::POST, "/auth/v1/links", &cookie, ask.clone()).await;
    let (path, kept) = with.there_and_back(begun, "at-home").await;
    let said = with.come_back(&path, &kept).await;
    assert_eq!(with.own(&said).await["user"], "ada");
    let said = with.sign_in("at-home").await;
    assert_eq!(with.own(&said).await["user"], "ada");
    let links = with.stage.as_page(Method::GET, "/auth/v1/links", &cookie, json!(null)).await;
    assert_eq!((links.body[0]["provider"].as_str(), links.body.as_array().unwrap().len()), (Some("id"), 1));
    // Nobody else takes it.
    let bobs = with.stage.invited("bob", "bob's own long password").await.cookie();
    let begun = with.stage.as_page(Method::POST, "/auth/v1/links", &bobs, ask.clone()).await;
    let (path, kept) = with.there_and_back(begun, "at-home").await;
    assert_eq!(with.come_back(&path, &kept).await.code(), (409, "LinkedAlready"));
    // Nor does a session that has ended.
    let begun = with.stage.as_page(Method::POST, "/auth/v1/links", &bobs, ask).await;
    let (path, kept) = with.there_and_back(begun, "bobs").await;
    assert_eq!(with.stage.as_page(Method::DELETE, "/auth/v1/session", &bobs, json!(null)).await.status, 200);
    assert_eq!(with.come_back(&path, &kept).await.code(), (400, "NotAsked"));
    let path = format!("/auth/v1/links/{}", links.body[0]["id"].as_str().unwrap());
    assert_eq!(with.stage.as_page(Method::DELETE, &path, &cookie, json!({})).await.status, 204);
    assert_eq!(with.sign_in("at-home").await.code(), (403, "NoAccount"));
    // Who came in by it is out, who asked is not.
    assert_eq!(with.stage.people.sessions_of("ada").await.unwrap().len(), 1);
    assert_eq!(with.stage.as_page(Method::GET, "/auth/v1/session", &cookie, json!(null)).await.status, 200);
}

#[tokio::test]
async fn nobody_links_who_is_somebody_else_already_nor_after_their_user_is_another() {
    let with = WithProvider::new(json!({})).await;
    let cookie = with.stage.invited("bob", "bob's own long password").await.cookie();
    let ask = json!({"provider": "id", "return": "/files"});
    // Of somebody who is suspended.
    with.say("adas", "ada");
    with.stage.set_user("ada", UserEntry { suspended: true, since_s: 5, admin: false });
    let begun = with.stage.as_page(Method::POST, "/auth/v1/links", &cookie, ask.clone()).await;
    let (path, kept) = with.there_and_back(begun, "adas").await;
    assert_eq!(with.come_back(&path, &kept).await.code(), (409, "LinkedAlready"));
    // While somebody was there, the user was made anew.
    let begun = with.stage.as_page(Method::POST, "/auth/v1/links", &cookie, ask).await;
    let (path, kept) = with.there_and_back(begun, "bobs").await;
    with.stage.set_user("bob", UserEntry { suspended: false, since_s: now_s() + 1, admin: false });
    assert_eq!(with.come_back(&path, &kept).await.code(), (400, "NotAsked"));
    assert_eq!(with.sign_in("bobs").await.code(), (403, "NoAccount"));
    // Pages of other sites send nobody there.
    let begun = with.stage.ask(Method::GET, "/auth/v1/providers/id", &[("sec-fetch-site", "cross-site")], "").await;
    assert_eq!(begun.status, 403);
}

#[tokio::test]
async fn an_invitation_is_taken_without_a_password() {
    let mut with = WithProvider::new(json!({})).await;
    let before = with.stage.invited("ada", ADAS).await;
    let invitation = with.stage.people.invite(UserRef { name: "ada", since_s: 5 }, ("root", None), now_s() + 100).await.unwrap();
    let ask = |invitation: &str| json!({"invitation": invitation, "provider": "id", "return": "/files"});
    assert_eq!(with.stage.post("/auth/v1/invitation/provider", &[], ask("ada~x")).await.status, 404);
    let begun = with.stage.post("/auth/v1/invitation/provider", &[], ask(&invitation)).await;
    let (path, kept) = with.there_and_back(begun, "7").await;
    let said = with.come_back(&path, &kept).await;
    assert_eq!(with.own(&said).await["user"], "ada");
    let path = format!("/auth/v1/invitation?invitation={invitation}");
    assert_eq!(with.stage.ask(Method::GET, &path, &[], "").await.status, 404, "it is taken");
    // Whatever somebody else could have signed in by is forgotten, and they are out.
    assert_eq!(with.stage.password("ada", ADAS).await.status, 401);
    assert_eq!(with.stage.as_page(Method::GET, "/auth/v1/session", &before.cookie(), json!(null)).await.status, 401);
    let ada = with.stage.people.account(UserRef { name: "ada", since_s: 5 }).await.unwrap();
    assert_eq!((ada.password, ada.recovery.len(), ada.links.len()), (None, 0, 1));
    // The provider signs with another key since.
    with.restart(json!({}), &["fresh"]).await;
    let said = with.sign_in("7").await;
    assert_eq!(with.own(&said).await["user"], "ada");
    // And is gone.
    with.process.kill().await.unwrap();
    let begun = with.begin("/").await;
    assert_eq!(begun.status, 303, "where it is, is known");
    let kept = begun.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let state = begun.headers[LOCATION].to_str().unwrap().split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let path = format!("/auth/v1/providers/id/callback?code=x&state={state}");
    assert_eq!(with.come_back(&path, &kept).await.code(), (502, "ProviderUnreachable"));
}
