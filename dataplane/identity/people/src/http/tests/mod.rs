//! Signing in as clients do, with whoever tells of sessions played.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::body::{Body, to_bytes};
use eddy_authz::feed::Ages;
use eddy_authz::{Entry, Permissions, session_key, user_key};
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::sessions::Sessions;
use crate::testing::people;

mod pages;
mod passkeys;
mod providers;

struct Stage {
    router: Router,
    people: People,
    feed: Feed,
    /// How many of the next that are told are lost on the way.
    to_lose: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

/// What was answered.
struct Said {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Said {
    fn cookie(&self) -> String {
        let cookie = self.headers["set-cookie"].to_str().unwrap();
        assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=1209600"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

impl Stage {
    fn new() -> Self {
        Self::with(Permissions::default(), Feed::fixed)
    }

    fn with(permissions: Permissions, feed: impl Fn(Permissions) -> Feed) -> Self {
        Self::with_options(permissions, feed, |options| options)
    }

    fn with_options(
        permissions: Permissions,
        feed: impl Fn(Permissions) -> Feed,
        change: impl Fn(SignInOptions) -> SignInOptions,
    ) -> Self {
        for (name, admin) in [("ada", false), ("bob", false), ("root", true)] {
            let user = UserEntry { admin, suspended: false, since_s: 5 };
            permissions.set(&user_key(name), Some(&Entry::User(user).to_bytes().unwrap()));
        }
        let (people, folder) = people();
        let (feed, sessions) = (feed(permissions), Sessions::of(people.clone()));
        let options = SignInOptions {
            session_days: 14,
            device_days: 90,
            invitation_hours: 72,
            platform_url: "https://cloud.example".into(),
            providers_file: None,
            provider_admin_hours: 12,
        };
        let options = change(options);
        // As identity does, in another process.
        let (told, to_lose) = (feed.clone(), Arc::new(AtomicUsize::new(0)));
        let lose = to_lose.clone();
        let tell = move |id: &str| {
            if lose.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1)).is_ok() {
                return;
            }
            let (id, feed, sessions) = (id.to_owned(), told.clone(), sessions.clone());
            tokio::spawn(async move {
                let entry = sessions.one(&id).await.unwrap().map(|session| Entry::Session(session.entry).to_bytes().unwrap());
                feed.permissions().set(&session_key(&id), entry.as_deref());
            });
        };
        let router = SignIn::new(people.clone(), feed.clone(), options, (Recorder::nowhere(), None), tell).unwrap().router();
        Self { router, people, feed, to_lose, _folder: folder }
    }

    fn set_user(&self, name: &str, user: UserEntry) {
        self.feed.permissions().set(&user_key(name), Some(&Entry::User(user).to_bytes().unwrap()));
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Said {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Said { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn post(&self, path: &str, more: &[(&str, &str)], body: Value) -> Said {
        let headers = [&[("content-type", "application/json")], more].concat();
        self.ask(Method::POST, path, &headers, &body.to_string()).await
    }

    /// As a page of this site, of whoever has this cookie.
    async fn as_page(&self, method: Method, path: &str, cookie: &str, body: Value) -> Said {
        let headers = [("content-type", "application/json"), ("cookie", cookie), ("sec-fetch-site", "same-origin")];
        self.ask(method, path, &headers, &body.to_string()).await
    }

    /// Somebody's cookie, who was invited.
    async fn invited(&self, name: &str, password: &str) -> Said {
        let user = self.feed.permissions().user(name).unwrap();
        let user = UserRef { name, since_s: user.since_s };
        let invitation = self.people.invite(user, ("root", None), now_s() + 100).await.unwrap();
        let said = self.post("/auth/v1/invitation", &[], json!({"invitation": invitation, "password": password})).await;
        assert_eq!(said.status, 200, "{}", said.body);
        said
    }

    async fn password(&self, user: &str, password: &str) -> Said {
        self.post("/auth/v1/password", &[("x-forwarded-for", "192.0.2.7")], json!({"user": user, "password": password})).await
    }
}

const ADAS: &str = "correct horse battery";

#[tokio::test]
async fn whoever_was_invited_signs_in_by_password_and_out_again() {
    let stage = Stage::new();
    let invited = stage.invited("ada", ADAS).await;
    assert_eq!(invited.body["recoveryCodes"].as_array().unwrap().len(), 10);
    let said = stage.password("ada", ADAS).await;
    let cookie = said.cookie();
    assert!(!said.body.to_string().contains(cookie.split('=').nth(1).unwrap()), "the secret is in the cookie only");
    let own = stage.as_page(Method::GET, "/auth/v1/session", &cookie, json!(null)).await;
    assert_eq!((own.status, own.body["user"].as_str(), own.body["way"].as_str()), (200, Some("ada"), Some("password")));
    assert_eq!((own.body["address"].as_str(), own.body["admin"].as_bool()), (Some("192.0.2.7"), Some(false)));
    // Every process knows them by then.
    let id = own.body["id"].as_str().unwrap();
    assert!(stage.feed.permissions().is_session(id));
    let sessions = stage.as_page(Method::GET, "/auth/v1/sessions", &cookie, json!(null)).await;
    assert_eq!(sessions.body["items"].as_array().unwrap().len(), 2);
    let out = stage.as_page(Method::DELETE, "/auth/v1/session", &cookie, json!(null)).await;
    assert_eq!(out.status, 200);
    assert!(
        out.headers["set-cookie"].to_str().unwrap().starts_with("__Host-eddy=; ") && !stage.feed.permissions().is_session(id)
    );
    assert_eq!(stage.as_page(Method::GET, "/auth/v1/session", &cookie, json!(null)).await.code(), (401, "Unauthorized"));
}

#[tokio::test]
async fn nobody_learns_who_there_is() {
    let stage = Stage::new();
    stage.invited("ada", ADAS).await;
    let wrong = stage.password("ada", "wrong horse battery").await;
    for (user, password) in
        [("ada", ""), ("bob", ADAS), ("nobody", ADAS), ("../ada", ADAS), ("", ADAS), ("ada", &"x".repeat(300))]
    {
        let said = stage.password(user, password).await;
        assert_eq!((said.code(), &said.body), ((401, "Wrong"), &wrong.body), "{user}");
    }
    stage.set_user("ada", UserEntry { admin: false, suspended: true, since_s: 5 });
    assert_eq!(stage.password("ada", ADAS).await.body, wrong.body);
    let said = stage.post("/auth/v1/recovery", &[], json!({"user": "nobody", "code": "bcdf-bcdf-bcdf-bcdf"})).await;
    assert_eq!(said.body, wrong.body);
    // Nor who tries too often.
    for _ in 0..10 {
        stage.password("nobody", ADAS).await;
    }
    let late = stage.password("nobody", ADAS).await;
    assert_eq!((late.code(), late.headers.contains_key("retry-after")), ((429, "TooManyAttempts"), true));
}

#[tokio::test]
async fn pages_of_other_sites_sign_nobody_in_or_out() {
    let stage = Stage::new();
    let cookie = stage.invited("ada", ADAS).await.cookie();
    for other in [&[("sec-fetch-site", "cross-site")][..], &[("origin", "https://evil.example"), ("host", "cloud.example")]] {
        let said = stage.post("/auth/v1/password", other, json!({"user": "ada", "password": ADAS})).await;
        assert_eq!(said.code(), (403, "Forbidden"));
        let headers = [other, &[("cookie", &*cookie)]].concat();
        assert_eq!(stage.ask(Method::DELETE, "/auth/v1/session", &headers, "").await.code(), (403, "Forbidden"));
    }
    // Whoever does not say where they come from shows no cookie.
    assert_eq!(stage.ask(Method::DELETE, "/auth/v1/session", &[("cookie", &cookie)], "").await.status, 403);
    assert_eq!(stage.ask(Method::GET, "/auth/v1/session", &[("cookie", &cookie)], "").await.status, 200);
    // A form of another site has no JSON to send.
    let form = [("content-type", "text/plain"), ("sec-fetch-site", "same-origin")];
    let said = stage.ask(Method::POST, "/auth/v1/password", &form, &json!({"user": "ada", "password": ADAS}).to_string()).await;
    assert_eq!(said.code(), (415, "BadRequest"));
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_is_really_there_and_ends_other_sessions() {
    let stage = Stage::new();
    let first = stage.invited("ada", ADAS).await.cookie();
    let second = stage.password("ada", ADAS).await.cookie();
    let new = "another horse battery";
    let change = async |body: Value| stage.as_page(Method::PUT, "/auth/v1/password", &second, body).await;
    assert_eq!(change(json!({"current": ADAS, "new": "short"})).await.code(), (422, "WeakPassword"));
    assert_eq!(change(json!({"current": "wrong horse battery", "new": new})).await.code(), (401, "Wrong"));
    assert_eq!(change(json!({"current": ADAS, "new": new})).await.status, 200);
    assert_eq!(stage.as_page(Method::GET, "/auth/v1/session", &first, json!(null)).await.status, 401);
    assert_eq!(stage.as_page(Method::GET, "/auth/v1/session", &second, json!(null)).await.status, 200);
    assert_eq!((stage.password("ada", ADAS).await.status, stage.password("ada", new).await.status), (401, 200));
}

#[tokio::test]
async fn a_recovery_code_signs_in_once_and_new_ones_take_the_place_of_all() {
    let stage = Stage::new();
    let invited = stage.invited("ada", ADAS).await;
    let code = invited.body["recoveryCodes"][0].as_str().unwrap();
    let recover = async |code: &str| stage.post("/auth/v1/recovery", &[], json!({"user": "ada", "code": code})).await;
    let said = recover(code).await;
    assert_eq!((said.status, said.body["codesLeft"].as_u64()), (200, Some(9)));
    assert_eq!(recover(code).await.code(), (401, "Wrong"));
    // Whoever has just signed in by one sets a password without the old one.
    let new = json!({"new": "another horse battery"});
    assert_eq!(stage.as_page(Method::PUT, "/auth/v1/password", &said.cookie(), new).await.status, 200);
    let drawn = stage.as_page(Method::POST, "/auth/v1/recovery-codes", &said.cookie(), json!({})).await;
    assert_eq!(drawn.body["codes"].as_array().unwrap().len(), 10);
    assert_eq!(recover(invited.body["recoveryCodes"][1].as_str().unwrap()).await.status, 401);
    assert_eq!(recover(drawn.body["codes"][1].as_str().unwrap()).await.status, 200);
}

#[tokio::test]
async fn administrators_invite_and_end_sessions_and_others_do_not() {
    let stage = Stage::new();
    let (ada, root) = (stage.invited("ada", ADAS).await.cookie(), stage.invited("root", "the horse of root").await.cookie());
    let as_root = async |method, path: &str| stage.as_page(method, path, &root, json!({})).await;
    let invitation = as_root(Method::POST, "/auth/v1/users/bob/invitation").await;
    assert_eq!(invitation.status, 201);
    let secret = invitation.body["invitation"].as_str().unwrap();
    assert_eq!(invitation.body["link"], format!("https://cloud.example/auth/invitation#{secret}"));
    let shown = stage.ask(Method::GET, &format!("/auth/v1/invitation?invitation={secret}"), &[], "").await;
    assert_eq!((shown.body["user"].as_str(), shown.body["by"].as_str()), (Some("bob"), Some("root")));
    let accept = json!({"invitation": secret, "password": "the horse of bob"});
    assert_eq!(stage.post("/auth/v1/invitation", &[], accept.clone()).await.status, 200);
    assert_eq!(stage.post("/auth/v1/invitation", &[], accept).await.code(), (404, "NotFound"));
    assert_eq!(as_root(Method::POST, "/auth/v1/users/nobody/invitation").await.status, 404);

    // Who is no administrator any more has invited nobody, and what ends all sessions takes the invitation with it.
    let accepted = async |said: &Said| {
        let accept = json!({"invitation": said.body["invitation"], "password": "the horse of bob"});
        stage.post("/auth/v1/invitation", &[], accept).await.status
    };
    let invited = as_root(Method::POST, "/auth/v1/users/bob/invitation").await;
    stage.set_user("root", UserEntry { admin: false, suspended: false, since_s: 5 });
    assert_eq!(accepted(&invited).await, 404);
    stage.set_user("root", UserEntry { admin: true, suspended: false, since_s: 5 });
    assert_eq!(as_root(Method::DELETE, "/auth/v1/users/bob/sessions").await.status, 200);
    assert_eq!(accepted(&invited).await, 404);

    let theirs = as_root(Method::GET, "/auth/v1/users/ada/sessions").await;
    assert_eq!(theirs.body["items"].as_array().unwrap().len(), 1);
    for (method, path) in [
        (Method::POST, "/auth/v1/users/ada/invitation"),
        (Method::POST, "/auth/v1/users/root/invitation"),
        (Method::GET, "/auth/v1/users/root/sessions"),
        (Method::DELETE, "/auth/v1/users/root/sessions"),
    ] {
        assert_eq!(stage.as_page(method, path, &ada, json!({})).await.code(), (404, "NotFound"), "{path}");
    }
    assert_eq!(as_root(Method::DELETE, "/auth/v1/users/ada/sessions").await.status, 200);
    assert_eq!(stage.as_page(Method::GET, "/auth/v1/session", &ada, json!(null)).await.status, 401);
}

#[tokio::test]
async fn a_program_is_let_in_by_whoever_types_its_code() {
    let stage = Stage::new();
    let ada = stage.invited("ada", ADAS).await.cookie();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let begun = stage.ask(Method::POST, "/auth/v1/device", &form, "client_id=eddy+on+laptop").await.body;
    let (secret, code) = (begun["device_code"].as_str().unwrap(), begun["user_code"].as_str().unwrap());
    assert_eq!(begun["verification_uri_complete"], format!("https://cloud.example/auth/device#{code}"));
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
    let ask = async || stage.ask(Method::POST, "/auth/v1/device/token", &form, &format!("{grant}&device_code={secret}")).await;
    assert_eq!(ask().await.body["error"], "authorization_pending");
    let path = format!("/auth/v1/device/{code}");
    assert_eq!(stage.as_page(Method::GET, &path, &ada, json!(null)).await.body["client"], "eddy on laptop");
    assert_eq!(stage.post(&path, &[], json!({"allow": true})).await.status, 401);
    assert_eq!(stage.as_page(Method::POST, &path, &ada, json!({"allow": true})).await.status, 204);
    let granted = ask().await.body;
    assert_eq!((granted["token_type"].as_str(), granted["user"].as_str()), (Some("Bearer"), Some("ada")));
    assert_eq!(ask().await.body["error"], "expired_token");
    let bearer = format!("Bearer {}", granted["access_token"].as_str().unwrap());
    let shown = [("authorization", &*bearer), ("content-type", "application/json")];
    let own = stage.ask(Method::GET, "/auth/v1/session", &shown, "").await;
    assert_eq!(own.body["way"], "device");
    // It neither lets others in nor takes over whose it is.
    let again = stage.ask(Method::POST, "/auth/v1/device", &form, "").await.body;
    let path = format!("/auth/v1/device/{}", again["user_code"].as_str().unwrap());
    assert_eq!(stage.ask(Method::POST, &path, &shown, r#"{"allow":true}"#).await.code(), (403, "Forbidden"));
    let new = json!({"new": "another horse battery"}).to_string();
    assert_eq!(stage.ask(Method::PUT, "/auth/v1/password", &shown, &new).await.code(), (403, "SignInAgain"));
    // Not even an administrator's, by inviting them.
    stage.set_user("ada", UserEntry { admin: true, suspended: false, since_s: 5 });
    assert_eq!(stage.ask(Method::POST, "/auth/v1/users/ada/invitation", &shown, "{}").await.code(), (403, "SignInAgain"));
    assert_eq!(stage.ask(Method::POST, "/auth/v1/device/token", &form, "grant_type=password&device_code=x").await.status, 400);
}

#[tokio::test]
async fn a_program_of_somebody_who_is_suspended_or_signed_out_by_then_is_not_let_in() {
    let stage = Stage::new();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
    for suspended in [true, false] {
        let ada = stage.invited("ada", ADAS).await.cookie();
        let begun = stage.ask(Method::POST, "/auth/v1/device", &form, "").await.body;
        let path = format!("/auth/v1/device/{}", begun["user_code"].as_str().unwrap());
        assert_eq!(stage.as_page(Method::POST, &path, &ada, json!({"allow": true})).await.status, 204);
        if suspended {
            stage.set_user("ada", UserEntry { admin: false, suspended: true, since_s: 5 });
        } else {
            assert_eq!(stage.as_page(Method::DELETE, "/auth/v1/session", &ada, json!(null)).await.status, 200);
        }
        let ask = format!("{grant}&device_code={}", begun["device_code"].as_str().unwrap());
        let said = stage.ask(Method::POST, "/auth/v1/device/token", &form, &ask).await;
        assert_eq!((said.status, said.body["access_token"].as_str()), (400, None));
        stage.set_user("ada", UserEntry { admin: false, suspended: false, since_s: 5 });
    }
}

#[tokio::test]
async fn whoever_is_invited_before_it_is_known_that_they_are_a_user_is_let_in_once_it_is() {
    let stage = Stage::new();
    let invite = async |name: &'static str, since_s| {
        let user = UserRef { name, since_s };
        let invitation = stage.people.invite(user, ("", None), now_s() + 100).await.unwrap();
        json!({"invitation": invitation, "password": "the horse of new"})
    };
    let (new, again) = (invite("new", 7).await, invite("bob", 9).await);
    let known_later = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        stage.set_user("new", UserEntry { admin: false, suspended: false, since_s: 7 });
        stage.set_user("bob", UserEntry { admin: false, suspended: false, since_s: 9 });
    };
    let post = |accept| stage.post("/auth/v1/invitation", &[], accept);
    let (first, second, ()) = tokio::join!(post(new), post(again), known_later);
    assert_eq!((first.status, second.status), (200, 200), "{} {}", first.body, second.body);
}

#[tokio::test]
async fn what_is_told_and_lost_on_the_way_is_told_again() {
    let stage = Stage::new();
    let cookie = stage.invited("ada", ADAS).await.cookie();
    stage.password("ada", ADAS).await;
    stage.to_lose.store(1, Relaxed);
    assert_eq!(stage.as_page(Method::DELETE, "/auth/v1/sessions", &cookie, json!(null)).await.status, 200);
}

#[tokio::test]
async fn an_invitation_that_is_taken_ends_what_there_was() {
    let stage = Stage::new();
    let (first, codes) = {
        let said = stage.invited("ada", ADAS).await;
        (said.cookie(), said.body["recoveryCodes"].clone())
    };
    let second = stage.invited("ada", "another horse battery").await.cookie();
    assert_eq!(stage.as_page(Method::GET, "/auth/v1/session", &first, json!(null)).await.status, 401);
    assert_eq!(stage.as_page(Method::GET, "/auth/v1/session", &second, json!(null)).await.status, 200);
    assert_eq!(stage.password("ada", ADAS).await.status, 401);
    let recover = json!({"user": "ada", "code": codes[0]});
    assert_eq!(stage.post("/auth/v1/recovery", &[], recover).await.status, 401);
}

#[tokio::test]
async fn a_token_is_no_session_and_a_name_is_no_inheritance() {
    let stage = Stage::new();
    let token = eddy_authz::Token::draw().unwrap();
    let entry = eddy_authz::TokenEntry {
        user: "ada".into(),
        name: "t".into(),
        account: None,
        scopes: None,
        hash: token.hash(),
        expires_s: None,
    };
    stage.feed.permissions().set(&eddy_authz::token_key(token.id()), Some(&Entry::Token(entry).to_bytes().unwrap()));
    let bearer = format!("Bearer {}", token.expose());
    assert_eq!(stage.ask(Method::GET, "/auth/v1/session", &[("authorization", &bearer)], "").await.status, 401);
    // Another user of the same name, who was made later, has neither session nor password nor invitation of the first.
    let cookie = stage.invited("ada", ADAS).await.cookie();
    let invitation = stage.people.invite(UserRef { name: "ada", since_s: 5 }, ("root", None), now_s() + 100).await.unwrap();
    stage.set_user("ada", UserEntry { admin: false, suspended: false, since_s: now_s() + 1 });
    assert_eq!(stage.as_page(Method::GET, "/auth/v1/session", &cookie, json!(null)).await.status, 401);
    assert_eq!(stage.password("ada", ADAS).await.status, 401);
    let accept = json!({"invitation": invitation, "password": "the horse of ada"});
    assert_eq!(stage.post("/auth/v1/invitation", &[], accept).await.status, 404);
}

#[tokio::test]
async fn while_nobody_is_known_for_sure_nobody_signs_in() {
    let ages = Ages { writes_max: Duration::from_secs(10), reads_max: Duration::from_secs(60) };
    let stage = Stage::with(Permissions::default(), |permissions| Feed::fixed_at(permissions, ages, Duration::from_secs(30)));
    let said = stage.password("ada", ADAS).await;
    assert_eq!((said.code(), said.headers.contains_key("retry-after")), ((503, "PermissionsStale"), true));
}

#[tokio::test]
async fn nonsense_is_refused_in_our_form() {
    let stage = Stage::new();
    for (path, body, status) in [
        ("/auth/v1/password", "{", 400),
        ("/auth/v1/password", r#"{"user": "ada"}"#, 422),
        ("/auth/v1/password", r#"{"user": "ada", "password": "x", "admin": true}"#, 422),
        ("/auth/v1/nothing", "{}", 404),
        ("/auth/v1/invitation", r#"{"invitation": "x", "password": "the horse of eve"}"#, 404),
    ] {
        let said = stage.ask(Method::POST, path, &[("content-type", "application/json")], body).await;
        assert_eq!(said.status, status, "{path} {body}");
        assert_eq!(said.headers["content-type"], "application/problem+json");
    }
    let long = format!(r#"{{"user": "{}"}}"#, "x".repeat(20_000));
    assert_eq!(stage.ask(Method::POST, "/auth/v1/password", &[("content-type", "application/json")], &long).await.status, 413);
    assert_eq!(stage.ask(Method::PATCH, "/auth/v1/password", &[], "").await.code(), (405, "MethodNotAllowed"));
}

#[tokio::test]
async fn what_has_begun_is_done_though_nobody_waits_for_it() {
    let stage = Stage::new();
    let cookie = stage.invited("ada", ADAS).await.cookie();
    let mut asked = Box::pin(stage.as_page(Method::DELETE, "/auth/v1/session", &cookie, json!(null)));
    assert!(futures::poll!(&mut asked).is_pending());
    drop(asked);
    let start = Instant::now();
    while !stage.people.sessions_of("ada").await.unwrap().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "it goes on");
        tokio::task::yield_now().await;
    }
}
