//! People sign in, through the gateway, and every process knows them.

#![allow(clippy::unwrap_used)]

use eddy_e2e::{Cluster, Door, Gateway, STORAGE_NAMESPACES, TOKENS, storage_namespace, system, token, wait};
use reqwest::Method;
use serde_json::{Value, json};

const HOST: &str = "cloud.eddy.example";
const ACCOUNTS: &str = "serviceaccounts.eddy.cloud";
const PASSWORD: &str = "correct horse battery";

/// Somebody's browser, or program.
struct Browser<'a> {
    gateway: &'a Gateway,
    cookie: String,
}

impl Browser<'_> {
    async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        self.ask_from(method, path, body, "same-origin").await
    }

    async fn ask_from(&self, method: Method, path: &str, body: Value, site: &str) -> (u16, Value) {
        let headers = [("cookie", &*self.cookie), ("sec-fetch-site", site), ("content-type", "application/json")];
        let (status, _, body) = self.gateway.send(method, HOST, path, &headers, body.to_string()).await;
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// Waits until every replica of the API says so of the session.
    fn wait_known(&self, status: u16) {
        let handle = tokio::runtime::Handle::current();
        let says = || tokio::task::block_in_place(|| handle.block_on(self.ask(Method::GET, "/api/v1/whoami", json!(null)))).0;
        wait("replicas that know of the session", || (0..20).all(|_| says() == status));
    }
}

/// Signs somebody in who is told the way, and says the cookie.
async fn signed_in<'a>(gateway: &'a Gateway, path: &str, body: Value) -> (Browser<'a>, Value) {
    let headers = [("content-type", "application/json"), ("sec-fetch-site", "same-origin")];
    let (status, head, said) = gateway.send(Method::POST, HOST, path, &headers, body.to_string()).await;
    assert_eq!(status, 200, "{path}: {said}");
    let cookie = head["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    (Browser { gateway, cookie }, serde_json::from_str(&said).unwrap())
}

fn invitation(cluster: &Cluster, user: &str) -> String {
    let exec = ["exec", "deploy/eddy-identity", "-c", "identity", "--", "/eddy-dataplane", "invite", "--user", user];
    system(cluster, &exec).trim().split_once('#').unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn whoever_is_invited_signs_in_and_is_known_everywhere_until_they_are_not() {
    let cluster = Cluster::connect().await;
    cluster.tenant("signs");
    cluster.tenant("signs-other");
    cluster.kubectl(&["-n", "u-signs", "delete", ACCOUNTS, "--all"]);
    let gateway = Gateway::of(&cluster);
    let accept = json!({"invitation": invitation(&cluster, "signs"), "password": PASSWORD});
    let (first, said) = signed_in(&gateway, "/auth/v1/invitation", accept).await;
    assert_eq!(said["recoveryCodes"].as_array().unwrap().len(), 10);
    let (browser, _) = signed_in(&gateway, "/auth/v1/password", json!({"user": "signs", "password": PASSWORD})).await;
    browser.wait_known(200);
    let (_, who) = browser.ask(Method::GET, "/api/v1/whoami", json!(null)).await;
    assert_eq!(
        (who["user"].as_str(), who["session"].as_bool(), who["limited"].as_bool()),
        (Some("signs"), Some(true), Some(false))
    );

    // Pages of this site write, others do not.
    let (all, account) = ("/api/v1/tenants/signs/serviceaccounts", json!({"metadata": {"name": "a"}, "spec": {"scopes": []}}));
    assert_eq!(browser.ask_from(Method::POST, all, account.clone(), "cross-site").await.0, 403);
    assert_eq!(browser.ask(Method::POST, all, account).await.0, 201);
    assert_eq!(browser.ask(Method::GET, "/api/v1/tenants/kube-system/serviceaccounts", json!(null)).await.0, 404);

    // A program is let in, and has files, too.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let (_, _, begun) = gateway.send(Method::POST, HOST, "/auth/v1/device", &form, "client_id=e2e".into()).await;
    let begun: Value = serde_json::from_str(&begun).unwrap();
    let code = begun["user_code"].as_str().unwrap();
    assert_eq!(begun["verification_uri"], "https://cloud.eddy.example/auth/device");
    assert_eq!(browser.ask(Method::POST, &format!("/auth/v1/device/{code}"), json!({"allow": true})).await.0, 204);
    let grant = "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=";
    let ask = format!("{grant}{}", begun["device_code"].as_str().unwrap());
    let (_, _, granted) = gateway.send(Method::POST, HOST, "/auth/v1/device/token", &form, ask).await;
    let granted: Value = serde_json::from_str(&granted).unwrap();
    let secret = granted["access_token"].as_str().unwrap();
    let door = Door::on(&cluster, "node1");
    let files = |secret: &str| {
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| handle.block_on(door.by_token(secret, Method::GET, ""))).unwrap_or_default()
    };
    wait("doors that know the program", || (0..20).all(|_| files(secret) == 200));
    let (let_in, said) = cluster.kubectl_by_token(secret, &["-n", "u-signs", "get", TOKENS]);
    assert!(let_in, "kubectl works with it: {said}");

    // Sessions are in the store: identity may come and go.
    system(&cluster, &["rollout", "restart", "deploy/eddy-identity"]);
    system(&cluster, &["rollout", "status", "deploy/eddy-identity", "--timeout=120s"]);
    browser.wait_known(200);
    wait("identity that answers again", || {
        let handle = tokio::runtime::Handle::current();
        let own = || tokio::task::block_in_place(|| handle.block_on(browser.ask(Method::GET, "/auth/v1/session", json!(null)))).0;
        (0..10).all(|_| own() == 200)
    });
    let (_, sessions) = browser.ask(Method::GET, "/auth/v1/sessions", json!(null)).await;
    let ways: Vec<&str> = sessions["items"].as_array().unwrap().iter().map(|session| session["way"].as_str().unwrap()).collect();
    assert_eq!(ways.len(), 3, "{sessions}");
    assert!(ways.contains(&"device") && ways.contains(&"invitation") && ways.contains(&"password"));

    // Who did what is written down: here, to files, and what was tried elsewhere.
    cluster.apply(&storage_namespace("e2e-signs", "u-signs", "{deletionPolicy: Delete}"));
    cluster.wait_ready(STORAGE_NAMESPACES, "u-signs", "e2e-signs");
    for _ in 0..3 {
        assert_eq!(door.by_token(secret, Method::PUT, "e2e-signs/a").await.unwrap() / 100, 2);
    }
    let stranger = token(&cluster, "signs-other", "writes", "{}");
    wait("doors that know the stranger", || (0..20).all(|_| files(&stranger) == 200));
    assert_eq!(door.by_token(&stranger, Method::PUT, "e2e-signs/b").await.unwrap(), 404);
    let elsewhere = json!({"metadata": {"name": "x"}, "spec": {"scopes": []}});
    assert_eq!(browser.ask(Method::POST, "/api/v1/tenants/signs-other/serviceaccounts", elsewhere).await.0, 404);
    // The same by kubectl, of a program that was let in, of a token, and of the cluster's own administrator.
    let robot = |name: &str| ["-n", "u-signs", "delete", ACCOUNTS, name].map(str::to_owned);
    let by = |secret: &str, arguments: &[String]| {
        cluster.kubectl_by_token(secret, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mine = token(&cluster, "signs", "mine", "{}");
    let lists = |secret: &str, user: &str| by(secret, &["-n", &format!("u-{user}"), "get", TOKENS].map(str::to_owned)).0;
    wait("API servers that know the tokens", || (0..10).all(|_| lists(&mine, "signs") && lists(&stranger, "signs-other")));
    let (deleted, said) = by(secret, &robot("a"));
    assert!(deleted, "{said}");
    assert!(!by(&stranger, &robot("a")).0 && !by(&mine, &robot("gone")).0);
    cluster.kubectl(&["annotate", "users.eddy.cloud", "signs", "--overwrite", "e2e=people"]);
    let shell = r#"{image: 'busybox:1.35', command: [sleep, infinity], resources: {cpu: 10m, memory: 16Mi}}"#;
    cluster.apply(&format!(
        "apiVersion: eddy.cloud/v1alpha1\nkind: Container\nmetadata: {{name: shell, namespace: u-signs}}\nspec: {shell}\n"
    ));
    cluster.wait_ready("containers.eddy.cloud", "u-signs", "shell");
    cluster.kubectl(&["-n", "u-signs", "exec", "deploy/shell", "--", "true"]);
    wait("records of all of it", || {
        let handle = tokio::runtime::Handle::current();
        let asked = || tokio::task::block_in_place(|| handle.block_on(browser.ask(Method::GET, "/auth/v1/audit", json!(null))));
        let (status, page) = asked();
        let has = |action: &str, object: &str, tenant: &str, outcome: &str| -> Vec<Option<&str>> {
            let fits = |record: &&Value| {
                record["action"] == action
                    && record["object"] == object
                    && record["tenant"] == tenant
                    && record["outcome"] == outcome
            };
            page["items"].as_array().into_iter().flatten().filter(fits).map(|record| record["actor"]["user"].as_str()).collect()
        };
        let kubectl = |action: &str, object: &str, actor: Value, outcome: &str| {
            page["items"].as_array().into_iter().flatten().any(|record| {
                record["action"] == action
                    && record["object"] == object
                    && record["actor"] == actor
                    && record["outcome"] == outcome
            })
        };
        let did = |action: &str, object: &str, tenant: &str, outcome: &str| {
            has(action, object, tenant, outcome).contains(&Some("signs"))
        };
        status == 200
            && did("session.begin", "", "signs", "done")
            && did("device.allow", "", "signs", "done")
            && did("serviceaccounts.create", "a", "signs", "done")
            && did("serviceaccounts.create", "x", "signs-other", "denied")
            && did("files.write", "e2e-signs/a", "signs", "done")
            && has("files.write", "e2e-signs/b", "signs", "denied").contains(&Some("signs-other"))
            && kubectl("serviceaccounts.delete", "a", json!({"user": "signs", "session": true}), "done")
            && kubectl("serviceaccounts.delete", "a", json!({"user": "signs-other", "token": "writes"}), "denied")
            && kubectl("serviceaccounts.delete", "gone", json!({"user": "signs", "token": "mine"}), "failed")
            && page["items"].as_array().into_iter().flatten().any(|record| record["action"] == "core/pods/exec.create")
            && kubectl("users.update", "signs", json!({"user": "", "kubernetesUser": "admin"}), "done")
    });
    for others in ["?user=root", "?user=*"] {
        assert_eq!(browser.ask(Method::GET, &format!("/auth/v1/audit{others}"), json!(null)).await.0, 404);
    }

    // Ended, they are nobody's.
    assert_eq!(browser.ask(Method::DELETE, "/auth/v1/sessions", json!(null)).await.0, 200);
    first.wait_known(401);
    wait("doors that know it no more", || (0..20).all(|_| files(secret) == 401));
    browser.wait_known(200);
    cluster.kubectl(&["patch", "users.eddy.cloud", "signs", "--type=merge", "-p", r#"{"spec":{"suspended":true}}"#]);
    browser.wait_known(401);
    let password = json!({"user": "signs", "password": PASSWORD}).to_string();
    let form = [("content-type", "application/json")];
    assert_eq!(gateway.send(Method::POST, HOST, "/auth/v1/password", &form, password).await.0, 401);
    cluster.kubectl(&["patch", "users.eddy.cloud", "signs", "--type=merge", "-p", r#"{"spec":{"suspended":false}}"#]);
    browser.wait_known(200);
    assert_eq!(browser.ask(Method::DELETE, "/auth/v1/session", json!(null)).await.0, 200);
    browser.wait_known(401);
}

/// Signing in by a provider is a component's test, which has a real one. Here is none.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn who_wants_to_sign_in_by_a_provider_that_is_away_is_told_so() {
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    let (status, _, listed) = gateway.send(Method::GET, HOST, "/auth/v1/providers", &[], String::new()).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((status, listed), (200, json!([{"name": "nobody", "title": "nobody"}])));
    let (status, _, said) = gateway.send(Method::GET, HOST, "/auth/v1/providers/nobody", &[], String::new()).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, said["code"].as_str()), (502, Some("ProviderUnreachable")));
}
