//! A provider that lies, and what of it counts: played, since no real one lies so.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eddy_oidc::{Answer, OidcError, Person, Provider, ProviderOptions};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

const REDIRECT: &str = "https://cloud.example/auth/v1/providers/id/callback";
const SECRET: &str = "the secret of this client";

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Signed {
    ByItsKey,
    /// With the key's name, and another key.
    ByAnother,
    ByNobody,
    WithTheSecret,
    WithThePublicKey,
}

/// What the provider says next.
struct Lies {
    key: Ed25519KeyPair,
    kid: String,
    signed: Signed,
    claims: Value,
    /// What it says instead of tokens.
    instead: Option<fn() -> Response>,
    metadata: Value,
    user: Value,
    discovered: usize,
}

type Shared = Arc<Mutex<Lies>>;

fn key() -> Ed25519KeyPair {
    let drawn = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(drawn.as_ref()).unwrap()
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Lies {
    fn token(&self) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let alg = match self.signed {
            Signed::ByItsKey | Signed::ByAnother => "EdDSA",
            Signed::ByNobody => "none",
            Signed::WithTheSecret | Signed::WithThePublicKey => "HS256",
        };
        let text = format!("{}.{}", part(&json!({"alg": alg, "kid": self.kid, "typ": "JWT"})), part(&self.claims));
        let mac = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
        let signature = match self.signed {
            Signed::ByItsKey => self.key.sign(text.as_bytes()).as_ref().to_vec(),
            Signed::ByAnother => key().sign(text.as_bytes()).as_ref().to_vec(),
            Signed::ByNobody => Vec::new(),
            Signed::WithTheSecret => mac(SECRET.as_bytes()),
            Signed::WithThePublicKey => mac(self.key.public_key().as_ref()),
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

struct Stage {
    lies: Shared,
    provider: Provider,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let metadata = json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"), "userinfo_endpoint": format!("{issuer}/user"), "response_types_supported": ["code"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["EdDSA", "HS256", "none"],
        });
        let lies = Lies {
            key: key(),
            kid: "1".into(),
            signed: Signed::ByItsKey,
            claims: json!({"iss": issuer, "aud": "eddy", "sub": "7", "iat": now_s(), "exp": now_s() + 300}),
            instead: None,
            metadata,
            user: json!({"sub": "7"}),
            discovered: 0,
        };
        let lies = Arc::new(Mutex::new(lies));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(tokens))
            .route("/user", get(async |State(lies): State<Shared>| Json(lies.lock().unwrap().user.clone())))
            .with_state(lies.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, format!("{SECRET}\n")).unwrap();
        let options: ProviderOptions = serde_json::from_value(json!({
            "name": "id", "issuer": issuer, "clientId": "eddy", "clientSecretFile": file, "adminGroups": ["ops"], "scopes": ["groups"],
        }))
        .unwrap();
        Self { lies, provider: Provider::new(options).unwrap(), _folder: folder }
    }

    fn lie(&self, change: impl FnOnce(&mut Lies)) -> &Self {
        change(&mut self.lies.lock().unwrap());
        self
    }

    fn claim(&self, name: &str, value: Value) -> &Self {
        self.lie(|lies| {
            lies.claims[name] = value;
        })
    }

    /// Who signs in, where the provider answers with the state that it was given, and this besides.
    async fn answered(&self, more: Value) -> Result<Person, OidcError> {
        let begun = self.provider.begin(REDIRECT, false).await?;
        let query: std::collections::HashMap<String, String> =
            openidconnect::url::form_urlencoded::parse(begun.url.split_once('?').unwrap().1.as_bytes()).into_owned().collect();
        self.lie(|lies| {
            if lies.claims["nonce"].is_null() {
                lies.claims["nonce"] = json!(query["nonce"]);
            }
        });
        let mut answer = json!({"code": "c", "state": query["state"]});
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer: Answer = serde_json::from_value(answer).unwrap();
        let done = self.provider.finish(REDIRECT, &begun.pending, answer).await;
        self.lie(|lies| lies.claims["nonce"] = Value::Null);
        done
    }

    async fn sign_in(&self) -> Result<Person, OidcError> {
        self.answered(json!({})).await
    }
}

async fn discovery(State(lies): State<Shared>) -> Json<Value> {
    let mut lies = lies.lock().unwrap();
    lies.discovered += 1;
    Json(lies.metadata.clone())
}

async fn keys(State(lies): State<Shared>) -> Json<Value> {
    let lies = lies.lock().unwrap();
    let x = URL_SAFE_NO_PAD.encode(lies.key.public_key().as_ref());
    Json(json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": lies.kid, "x": x}]}))
}

async fn tokens(State(lies): State<Shared>) -> Response {
    let lies = lies.lock().unwrap();
    match lies.instead {
        Some(instead) => instead(),
        None => Json(json!({"access_token": "a", "token_type": "Bearer", "id_token": lies.token()})).into_response(),
    }
}

#[tokio::test]
async fn what_counts() {
    let stage = Stage::new().await;
    let begun = stage.provider.begin(REDIRECT, false).await.unwrap();
    for part in [
        "response_type=code",
        "client_id=eddy",
        "scope=openid+groups",
        "code_challenge_method=S256",
        "code_challenge=",
        "nonce=",
        "state=",
    ] {
        assert!(begun.url.contains(part), "{part} in {}", begun.url);
    }
    let ada = stage.sign_in().await.unwrap();
    assert_eq!((ada.subject.as_str(), ada.is_admin), ("7", false));
    assert!(stage.claim("groups", json!(["x", "ops"])).sign_in().await.unwrap().is_admin);
    // Where it says groups only when it is asked for them.
    stage.lie(|lies| lies.user = json!({"sub": "7", "groups": ["ops"]}));
    assert!(!stage.claim("groups", json!([])).sign_in().await.unwrap().is_admin, "it said none");
    assert!(
        stage
            .claim("groups", Value::Null)
            .lie(|lies| _ = lies.claims.as_object_mut().unwrap().remove("groups"))
            .sign_in()
            .await
            .unwrap()
            .is_admin
    );
    stage.lie(|lies| lies.user = json!({"sub": "8", "groups": ["ops"]}));
    assert!(stage.sign_in().await.is_err(), "of somebody else");
    stage.claim("groups", json!([])).claim("azp", json!("eddy")).sign_in().await.unwrap();
    // Clocks differ.
    stage.claim("exp", json!(now_s() - 30)).sign_in().await.unwrap();
    stage.claim("exp", json!(now_s() + 300)).claim("iat", json!(now_s() + 30)).sign_in().await.unwrap();
    assert_eq!(stage.answered(json!({"iss": stage.provider.options().issuer})).await.unwrap().subject, "7");
}

#[tokio::test]
async fn what_does_not() {
    let stage = Stage::new().await;
    stage.sign_in().await.unwrap();
    for signed in [Signed::ByAnother, Signed::ByNobody, Signed::WithTheSecret, Signed::WithThePublicKey] {
        let said = stage.lie(|lies| lies.signed = signed).sign_in().await;
        assert!(matches!(said, Err(OidcError::Token(_) | OidcError::Unreachable(_))), "{signed:?}: {said:?}");
    }
    stage.lie(|lies| lies.signed = Signed::ByItsKey).sign_in().await.unwrap();
    let good = stage.lies.lock().unwrap().claims.clone();
    for (name, value) in [
        ("iss", json!("https://other.example")),
        ("aud", json!("other")),
        ("aud", json!(["eddy", "other"])),
        ("azp", json!("other")),
        ("nonce", json!("of another time")),
        ("sub", json!("")),
        ("exp", json!(now_s() - 120)),
        ("iat", json!(now_s() + 120)),
        ("iat", json!(now_s() - 3600)),
        ("at_hash", json!("x")),
    ] {
        let said = stage.claim(name, value.clone()).sign_in().await;
        assert!(matches!(said, Err(OidcError::Token(_))), "{name} = {value}: {said:?}");
        stage.lie(|lies| lies.claims = good.clone());
    }
    for name in ["iss", "aud", "sub", "exp", "iat"] {
        let said = stage.lie(|lies| _ = lies.claims.as_object_mut().unwrap().remove(name)).sign_in().await;
        assert!(said.is_err(), "without {name}: {said:?}");
        stage.lie(|lies| lies.claims = good.clone());
    }
    for (name, instead) in [
        ("no token", (|| Json(json!({"access_token": "a", "token_type": "Bearer"})).into_response()) as fn() -> Response),
        ("an error", || (http::StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant<script>"}))).into_response()),
        ("elsewhere", || Redirect::temporary("https://other.example/token").into_response()),
        ("no JSON", || "hello".into_response()),
        ("too much", || "x".repeat(2 << 20).into_response()),
        ("nothing", || http::StatusCode::INTERNAL_SERVER_ERROR.into_response()),
    ] {
        let said = stage.lie(|lies| lies.instead = Some(instead)).sign_in().await.unwrap_err();
        assert!(!said.to_string().contains('<'), "{name}: {said}");
    }
    stage.lie(|lies| lies.instead = None).sign_in().await.unwrap();
}

#[tokio::test]
async fn whoever_is_to_show_who_they_are_has_just_done_so() {
    let stage = Stage::new().await;
    let anew = async || {
        let begun = stage.provider.begin(REDIRECT, true).await.unwrap();
        assert!(begun.url.contains("max_age=0"), "{}", begun.url);
        let query: std::collections::HashMap<String, String> =
            openidconnect::url::form_urlencoded::parse(begun.url.split_once('?').unwrap().1.as_bytes()).into_owned().collect();
        stage.claim("nonce", json!(query["nonce"]));
        let answer = serde_json::from_value(json!({"code": "c", "state": query["state"]})).unwrap();
        stage.provider.finish(REDIRECT, &begun.pending, answer).await
    };
    assert!(matches!(anew().await, Err(OidcError::Token(_))), "it does not say when");
    stage.claim("auth_time", json!(now_s() - 3600));
    assert!(matches!(anew().await, Err(OidcError::Token(_))), "that was long before");
    stage.claim("auth_time", json!(now_s() - 5));
    assert!(anew().await.unwrap().anew);
}

#[tokio::test]
async fn an_answer_is_to_what_was_asked() {
    let stage = Stage::new().await;
    for (answer, is_it) in [
        (json!({"state": "other"}), OidcError::NotAsked),
        (json!({"state": null}), OidcError::NotAsked),
        (json!({"code": null}), OidcError::NotAsked),
        (json!({"iss": "https://other.example"}), OidcError::NotAsked),
        (json!({"error": "access_denied", "code": null}), OidcError::Refused("access_denied".into())),
        (json!({"error": "<b>no</b>"}), OidcError::Refused("bnob".into())),
    ] {
        let said = stage.answered(answer.clone()).await.unwrap_err();
        assert_eq!(said.to_string(), is_it.to_string(), "{answer}");
    }
}

#[tokio::test]
async fn keys_are_read_again_when_one_is_missing_and_not_all_the_time() {
    let stage = Stage::new().await;
    stage.sign_in().await.unwrap();
    let rotated = |kid: &str| stage.lie(|lies| (lies.key, lies.kid) = (key(), kid.into()));
    rotated("2").sign_in().await.unwrap();
    assert_eq!(stage.lies.lock().unwrap().discovered, 2);
    // Whoever signs with keys of their own makes nobody ask all the time.
    for _ in 0..10 {
        let said = stage.lie(|lies| lies.kid = "made up".into()).sign_in().await;
        assert!(matches!(said, Err(OidcError::Token(_))), "{said:?}");
    }
    assert_eq!(stage.lies.lock().unwrap().discovered, 2);
}

#[tokio::test]
async fn a_provider_is_who_it_is_set_up_to_be() {
    let stage = Stage::new().await;
    let good = stage.lies.lock().unwrap().metadata.clone();
    for (name, value) in [
        ("issuer", json!("https://other.example")),
        ("jwks_uri", json!("http://keys.example/keys")),
        ("jwks_uri", json!("file:///etc/passwd")),
    ] {
        let said = stage.lie(|lies| lies.metadata[name] = value.clone()).sign_in().await;
        assert!(matches!(said, Err(OidcError::Unreachable(_))), "{name} = {value}: {said:?}");
        stage.lie(|lies| lies.metadata = good.clone());
    }
    for (name, value) in [
        ("token_endpoint", "http://tokens.example/token"),
        ("authorization_endpoint", "http://other.example/authorize"),
        ("authorization_endpoint", "javascript:alert(1)"),
    ] {
        let other = Stage::new().await;
        let said = other.lie(|lies| lies.metadata[name] = json!(value)).sign_in().await;
        assert!(matches!(said, Err(OidcError::Unreachable(_))), "{name} = {value}: {said:?}");
    }
}

#[tokio::test]
async fn what_a_provider_said_before_counts_while_it_is_away() {
    let stage = Stage::new().await;
    let good = stage.lies.lock().unwrap().metadata.clone();
    stage.sign_in().await.unwrap();
    // A key is missing, for which it is read again: it says nothing that counts.
    stage.lie(|lies| (lies.metadata["issuer"], lies.kid) = (json!("https://other.example"), "2".into()));
    assert!(matches!(stage.sign_in().await, Err(OidcError::Token(_))));
    stage.lie(|lies| lies.kid = "1".into()).sign_in().await.unwrap();
    assert_eq!(stage.lies.lock().unwrap().discovered, 2, "it is not asked all the time");
    stage.lie(|lies| lies.metadata = good);
}
