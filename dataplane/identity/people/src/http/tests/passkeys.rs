//! Passkeys, by an authenticator that is a program.

use eddy_passkey_testing::{Authenticator, IS_SYNCED, MAY_BE_SYNCED, PRESENT};

use super::*;

const ORIGIN: &str = "https://cloud.example";

impl Stage {
    /// As a page of this site, of whoever comes.
    async fn as_stranger(&self, path: &str, body: Value) -> Said {
        self.post(path, &[("sec-fetch-site", "same-origin")], body).await
    }

    async fn asked(&self, path: &str, cookie: &str, body: Value) -> Value {
        let said = self.as_page(Method::POST, path, cookie, body).await;
        assert_eq!(said.status, 200, "{}", said.body);
        said.body
    }

    /// Registers a passkey of whoever has this cookie.
    async fn register(&self, cookie: &str, name: &str) -> (Authenticator, Said) {
        self.register_of(Authenticator::at(ORIGIN), cookie, name).await
    }

    async fn register_of(&self, mut authenticator: Authenticator, cookie: &str, name: &str) -> (Authenticator, Said) {
        let asked = self.asked("/auth/v1/passkeys/options", cookie, json!({})).await;
        let credential = authenticator.create(&asked["publicKey"]);
        let body = json!({"ceremony": asked["ceremony"], "credential": credential, "name": name});
        let said = self.as_page(Method::POST, "/auth/v1/passkeys", cookie, body).await;
        (authenticator, said)
    }

    async fn sign_in_by(&self, authenticator: &mut Authenticator) -> Said {
        let asked = self.asked("/auth/v1/passkey/options", "", json!({})).await;
        let credential = authenticator.get(&asked["publicKey"]);
        self.as_stranger("/auth/v1/passkey", json!({"ceremony": asked["ceremony"], "credential": credential})).await
    }

    async fn is_signed_in(&self, cookie: &str) -> bool {
        self.as_page(Method::GET, "/auth/v1/session", cookie, json!(null)).await.status == 200
    }
}

#[tokio::test]
async fn whoever_has_a_passkey_signs_in_by_it_alone() {
    let stage = Stage::new();
    let cookie = stage.invited("ada", ADAS).await.cookie();
    let (mut laptop, added) = stage.register(&cookie, " laptop ").await;
    assert_eq!((added.status, &added.body["name"], &added.body["synced"]), (201, &json!("laptop"), &json!(false)));
    let said = stage.sign_in_by(&mut laptop).await;
    assert_eq!((said.status, &said.body["user"], &said.body["way"]), (200, &json!("ada"), &json!("passkey")));
    assert!(stage.is_signed_in(&said.cookie()).await);
    // Another one beside it, and both are told apart.
    let (mut phone, _) = stage.register(&said.cookie(), "phone").await;
    assert_eq!(stage.sign_in_by(&mut phone).await.status, 200);
    let listed = stage.as_page(Method::GET, "/auth/v1/passkeys", &cookie, json!(null)).await.body;
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["laptop", "phone"]);
    assert!(listed["items"][1]["usedAt"].is_string() && !listed.to_string().contains("handle"), "{listed}");
    let path = format!("/auth/v1/passkeys/{}", added.body["id"].as_str().unwrap());
    assert_eq!(stage.as_page(Method::PATCH, &path, &cookie, json!({"name": "old laptop"})).await.status, 204);
    let listed = stage.as_page(Method::GET, "/auth/v1/passkeys", &cookie, json!(null)).await.body;
    assert_eq!(listed["items"][0]["name"], "old laptop");
}

#[tokio::test]
async fn a_passkey_that_is_forgotten_lets_nobody_in_and_ends_what_it_began() {
    let stage = Stage::new();
    let cookie = stage.invited("ada", ADAS).await.cookie();
    let (mut laptop, added) = stage.register(&cookie, "laptop").await;
    let by_it = stage.sign_in_by(&mut laptop).await.cookie();
    let path = format!("/auth/v1/passkeys/{}", added.body["id"].as_str().unwrap());
    assert_eq!(stage.as_page(Method::DELETE, &path, &cookie, json!({})).await.status, 204);
    assert!(!stage.is_signed_in(&by_it).await && stage.is_signed_in(&cookie).await);
    assert_eq!(stage.sign_in_by(&mut laptop).await.code(), (401, "Wrong"));
    assert_eq!(stage.as_page(Method::DELETE, &path, &cookie, json!({})).await.code(), (404, "NotFound"));
}

#[tokio::test]
async fn whoever_is_invited_needs_no_password() {
    let stage = Stage::new();
    let before = stage.invited("ada", ADAS).await.cookie();
    let (mut old, _) = stage.register(&before, "old").await;
    let user = UserRef { name: "ada", since_s: 5 };
    let invitation = stage.people.invite(user, ("root", None), now_s() + 100).await.unwrap();
    let asked = stage.asked("/auth/v1/invitation/passkey/options", "", json!({"invitation": invitation})).await;
    assert!(!asked["ceremony"].as_str().unwrap().contains("ada~"), "nobody reads it");
    let mut authenticator = Authenticator::at(ORIGIN);
    let credential = authenticator.create(&asked["publicKey"]);
    let body = json!({"ceremony": asked["ceremony"], "credential": credential, "name": "key"});
    let said = stage.as_stranger("/auth/v1/invitation/passkey", body.clone()).await;
    assert_eq!((said.status, said.body["recoveryCodes"].as_array().unwrap().len()), (200, 10));
    assert!(stage.is_signed_in(&said.cookie()).await && !stage.is_signed_in(&before).await);
    assert_eq!(stage.sign_in_by(&mut authenticator).await.status, 200);
    // Whatever there was is forgotten.
    assert_eq!((stage.password("ada", ADAS).await.status, stage.sign_in_by(&mut old).await.status), (401, 401));
    assert_eq!(stage.as_stranger("/auth/v1/invitation/passkey", body).await.code(), (404, "NotFound"));
    let gone = stage.as_stranger("/auth/v1/invitation/passkey/options", json!({"invitation": invitation})).await;
    assert_eq!(gone.code(), (404, "NotFound"));
}

#[tokio::test]
async fn an_answer_counts_once_and_for_what_was_asked() {
    let stage = Stage::new();
    let ada = stage.invited("ada", ADAS).await.cookie();
    // Of one that is on several devices, how often it was used says nothing.
    let mut synced = Authenticator::at(ORIGIN);
    synced.flags |= MAY_BE_SYNCED | IS_SYNCED;
    let (mut laptop, _) = stage.register_of(synced, &ada, "laptop").await;
    let asked = stage.asked("/auth/v1/passkey/options", "", json!({})).await;
    let answer = json!({"ceremony": asked["ceremony"], "credential": laptop.get(&asked["publicKey"])});
    assert_eq!(stage.as_stranger("/auth/v1/passkey", answer.clone()).await.status, 200);
    // Whoever saw it go by has nothing.
    assert_eq!(stage.as_stranger("/auth/v1/passkey", answer.clone()).await.code(), (400, "NotAsked"));
    // What another session asked for, or for another purpose.
    let bob = stage.invited("bob", "the horse of bob").await.cookie();
    let adas = stage.asked("/auth/v1/passkeys/options", &ada, json!({})).await;
    let credential = Authenticator::at(ORIGIN).create(&adas["publicKey"]);
    let body = json!({"ceremony": adas["ceremony"], "credential": credential});
    assert_eq!(stage.as_page(Method::POST, "/auth/v1/passkeys", &bob, body.clone()).await.code(), (400, "NotAsked"));
    for path in ["/auth/v1/passkey", "/auth/v1/invitation/passkey"] {
        let said = stage.as_stranger(path, body.clone()).await;
        assert_eq!(said.code(), (400, "NotAsked"), "{path}");
    }
    for ceremony in ["", "AAAA", "=", &"A".repeat(500), &format!("{}A", asked["ceremony"].as_str().unwrap())] {
        let said = stage.as_stranger("/auth/v1/passkey", json!({"ceremony": ceremony, "credential": {}})).await;
        assert_eq!(said.code(), (400, "NotAsked"), "{ceremony}");
    }
}

#[tokio::test]
async fn whoever_does_not_have_it_is_told_no_more_than_that() {
    let stage = Stage::new();
    let cookie = stage.invited("ada", ADAS).await.cookie();
    let (mut laptop, _) = stage.register(&cookie, "laptop").await;
    let mut nobodys = Authenticator::at(ORIGIN);
    nobodys.handle.clone_from(&laptop.handle);
    let unknown = stage.sign_in_by(&mut nobodys).await;
    nobodys.id.clone_from(&laptop.id);
    let forged = stage.sign_in_by(&mut nobodys).await;
    laptop.flags = PRESENT;
    let not_unlocked = stage.sign_in_by(&mut laptop).await;
    for said in [&unknown, &forged, &not_unlocked] {
        assert_eq!((said.code(), &said.body), ((401, "Wrong"), &unknown.body));
    }
    // Not even often enough to keep them from it.
    for _ in 0..70 {
        assert_eq!(stage.sign_in_by(&mut nobodys).await.status, 401);
    }
    laptop.flags = Authenticator::at(ORIGIN).flags;
    assert_eq!(stage.sign_in_by(&mut laptop).await.status, 200);
    stage.set_user("ada", UserEntry { admin: false, suspended: true, since_s: 5 });
    assert_eq!(stage.sign_in_by(&mut laptop).await.body, unknown.body);
    stage.set_user("ada", UserEntry { admin: false, suspended: false, since_s: 6 });
    assert_eq!(stage.sign_in_by(&mut laptop).await.body, unknown.body, "another ada");
}

#[tokio::test]
async fn a_passkey_that_is_somebodys_is_nobody_elses() {
    let stage = Stage::new();
    let ada = stage.invited("ada", ADAS).await.cookie();
    let (mut laptop, _) = stage.register(&ada, "laptop").await;
    let bob = stage.invited("bob", "the horse of bob").await.cookie();
    let asked = stage.asked("/auth/v1/passkeys/options", &bob, json!({})).await;
    let mut copy = Authenticator::at(ORIGIN);
    copy.id.clone_from(&laptop.id);
    let body = json!({"ceremony": asked["ceremony"], "credential": copy.create(&asked["publicKey"])});
    assert_eq!(stage.as_page(Method::POST, "/auth/v1/passkeys", &bob, body).await.code(), (409, "KnownAlready"));
    assert_eq!(stage.sign_in_by(&mut laptop).await.body["user"], "ada");
}

#[tokio::test]
async fn there_are_so_many_and_whoever_asks_has_just_signed_in() {
    let stage = Stage::new();
    let cookie = stage.invited("ada", ADAS).await.cookie();
    for number in 0..10 {
        assert_eq!(stage.register(&cookie, &number.to_string()).await.1.status, 201);
    }
    let more = stage.as_page(Method::POST, "/auth/v1/passkeys/options", &cookie, json!({})).await;
    assert_eq!(more.code(), (409, "TooMany"), "before an authenticator makes one");
    // A page of another site, a program, and whoever says a wrong password.
    let other = [("content-type", "application/json"), ("cookie", &*cookie), ("sec-fetch-site", "cross-site")];
    for path in ["/auth/v1/passkey/options", "/auth/v1/passkeys/options"] {
        assert_eq!(stage.ask(Method::POST, path, &other, "{}").await.code(), (403, "Forbidden"), "{path}");
    }
    let wrong = json!({"current": "wrong horse battery"});
    assert_eq!(stage.as_page(Method::POST, "/auth/v1/passkeys/options", &cookie, wrong).await.code(), (401, "Wrong"));
    for path in ["/auth/v1/passkeys/options", "/auth/v1/passkeys"] {
        let body = json!({"ceremony": "", "credential": {}});
        assert_eq!(stage.as_stranger(path, body).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn who_was_asked_before_an_invitation_was_taken_adds_nothing_after() {
    let stage = Stage::new();
    let before = stage.invited("ada", ADAS).await.cookie();
    let asked = stage.asked("/auth/v1/passkeys/options", &before, json!({})).await;
    let user = UserRef { name: "ada", since_s: 5 };
    // As an invitation does, in the moment before the sessions of before end.
    let anew = |account: &mut crate::account::Account| {
        account.begin_anew();
        Ok(Some(()))
    };
    stage.people.change_account(user, anew).await.unwrap();
    let body = json!({"ceremony": asked["ceremony"], "credential": Authenticator::at(ORIGIN).create(&asked["publicKey"])});
    assert_eq!(stage.as_page(Method::POST, "/auth/v1/passkeys", &before, body).await.code(), (400, "NotAsked"));
    assert!(stage.people.account(user).await.unwrap().passkeys.is_empty());
}

#[tokio::test]
async fn where_the_platform_is_an_address_whoever_asks_is_told_that_there_are_none() {
    let stage = Stage::with_options(Permissions::default(), Feed::fixed, |options| SignInOptions {
        platform_url: "https://192.0.2.1".into(),
        ..options
    });
    let said = stage.as_stranger("/auth/v1/passkey/options", json!({})).await;
    assert_eq!(said.code(), (404, "NotFound"));
    assert!(said.body["detail"].as_str().unwrap().starts_with("there are no passkeys here"), "{}", said.body);
}
