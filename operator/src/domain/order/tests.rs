//! Orders, a step at a time, against an authority that does as the test says and counts what it is asked.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use eddy_crds::DomainSpec;
use http::{Request, Response};
use http_body_util::Full;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient, NewAccount};
use serde_json::{Value, json};

use super::*;
use crate::domain::budget::Budget;
use crate::domain::lookup::Lookup;

/// What the authority says of the one order, and of the one challenge.
#[derive(Clone)]
struct Scripted(Arc<Mutex<State>>);

struct State {
    order: &'static str,
    error: Option<Value>,
    /// What was asked for, by its path.
    asked: Vec<String>,
}

impl HttpClient for Scripted {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let mut state = self.0.lock().unwrap();
        let path = request.uri().path().to_owned();
        let url = |path: &str| format!("https://ca.example{path}");
        let challenge =
            json!({"type": "http-01", "url": url("/challenge"), "token": "t", "status": "pending", "error": state.error});
        let body = match path.as_str() {
            "/dir" => json!({
                "newNonce": url("/nonce"), "newAccount": url("/account"), "newOrder": url("/new"),
                "revokeCert": url("/revoke"), "keyChange": url("/change"),
            }),
            "/new" | "/order" | "/finalize" => json!({
                "status": state.order, "authorizations": [url("/authorization")], "finalize": url("/finalize"), "certificate": url("/certificate"),
            }),
            "/authorization" => json!({
                "identifier": {"type": "dns", "value": "a.example"}, "status": "pending", "challenges": [challenge],
            }),
            "/challenge" => challenge,
            "/certificate" => json!("the chain"),
            _ => json!({"status": "valid"}),
        };
        state.asked.push(path.clone());
        let location = url(if path == "/new" { "/order" } else { "/me" });
        let response = Response::builder().header("Replay-Nonce", "n").header("Location", location);
        let response = response.body(Full::new(Bytes::from(body.to_string()))).unwrap();
        Box::pin(async move { Ok(response.into()) })
    }
}

impl Scripted {
    fn says(&self, order: &'static str) {
        self.0.lock().unwrap().order = order;
    }

    fn count(&self, path: &str) -> usize {
        self.0.lock().unwrap().asked.iter().filter(|asked| *asked == path).count()
    }
}

struct Scene {
    authority: Scripted,
    account: Account,
    domains: Domains,
    domain: Domain,
}

impl Scene {
    async fn begin() -> Self {
        let authority = Scripted(Arc::new(Mutex::new(State { order: "pending", error: None, asked: Vec::new() })));
        let new = NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
        let builder = Account::builder_with_http(Box::new(authority.clone()));
        let (account, _) = builder.create(&new, "https://ca.example/dir".to_owned(), None).await.unwrap();
        let lookup = Lookup::new(&["127.0.0.1:9".parse().unwrap()]).unwrap();
        let domains = Domains { lookup, authority: None, dns01: None, zones: Vec::new(), budget: Budget::default() };
        let domain = Domain::new("d", DomainSpec { host: "a.example".to_owned(), ..DomainSpec::default() });
        Self { authority, account, domains, domain }
    }

    async fn step(&self, known: Option<DomainOrder>, key: Option<&str>, at_s: i64) -> Result<Step, OrderError> {
        let now = Timestamp::from_second(at_s).unwrap();
        match known {
            None => begin(&self.account, &self.domains, &self.domain, now).await,
            Some(known) => go_on(&self.account, &self.domains, &self.domain, (known, key), now).await,
        }
    }

    async fn goes(&self, known: Option<DomainOrder>, at_s: i64) -> DomainOrder {
        match self.step(known, None, at_s).await {
            Ok(Step::Goes(order, _)) => order,
            Ok(Step::Keep(_) | Step::Issued(_)) => panic!("it is over"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn an_authority_is_asked_to_look_once_and_not_before_gateways_know_the_answer() {
    let scene = Scene::begin().await;
    let mut order = scene.goes(None, 0).await;
    assert!(order.url.ends_with("/order") && order.answer.is_none());
    order = scene.goes(Some(order), 0).await;
    let answer = order.answer.clone().unwrap();
    assert!(answer.key_authorization.starts_with("t.") && answer.challenge == DomainChallenge::HTTP01);
    order = scene.goes(Some(order), 1).await;
    assert_eq!(scene.authority.count("/challenge"), 0, "it came early");
    for at_s in 2..30 {
        order = scene.goes(Some(order), at_s).await;
    }
    assert_eq!((scene.authority.count("/challenge"), scene.authority.count("/new")), (1, 1));
    let slow = scene.step(Some(order), None, 901).await;
    assert!(matches!(slow, Err(OrderError::Slow)));
}

#[tokio::test]
async fn a_key_is_kept_before_it_is_told_and_waits_for_its_certificate() {
    let scene = Scene::begin().await;
    let order = scene.goes(None, 0).await;
    scene.authority.says("ready");
    let Ok(Step::Keep(key)) = scene.step(Some(order.clone()), None, 1).await else { panic!("a key is made") };
    assert_eq!(scene.authority.count("/finalize"), 0);
    let told = scene.step(Some(order.clone()), Some(&key), 2).await;
    assert!(matches!(told, Ok(Step::Goes(..))) && scene.authority.count("/finalize") == 1);
    scene.authority.says("processing");
    for at_s in 3..60 {
        assert!(matches!(scene.step(Some(order.clone()), Some(&key), at_s).await, Ok(Step::Goes(..))));
    }
    scene.authority.says("valid");
    let issued = scene.step(Some(order.clone()), Some(&key), 60).await;
    assert!(matches!(issued, Ok(Step::Issued(chain)) if chain.contains("the chain")));
    assert!(matches!(scene.step(Some(order), None, 60).await, Err(OrderError::KeyLost)));
}

#[tokio::test]
async fn what_went_wrong_is_what_was_found() {
    let scene = Scene::begin().await;
    let order = scene.goes(None, 0).await;
    scene.authority.says("invalid");
    scene.authority.0.lock().unwrap().error =
        Some(json!({"type": "urn:ietf:params:acme:error:connection", "detail": "nobody there"}));
    let error = scene.step(Some(order), None, 1).await.err().unwrap();
    assert_eq!(error.say(), "the certificate authority: nobody there");
    assert!(error.ends_order() && error.least_pause_s() == 0);
}

#[tokio::test]
async fn nothing_is_ordered_that_cannot_be_proven() {
    let mut scene = Scene::begin().await;
    scene.domain.spec.challenge = DomainChallenge::DNS01;
    assert!(matches!(scene.step(None, None, 0).await, Err(OrderError::NoDns01)));
    assert_eq!(scene.authority.count("/new"), 0);
    // What is only in the way ends no order.
    let late = OrderError::Late;
    assert!(!late.ends_order());
}
