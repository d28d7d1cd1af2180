//! The REST API, as its clients use it.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use eddy_e2e::{Cluster, Gateway, TOKENS, token, wait};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// The API, as a client outside the cluster sees it.
struct Api {
    url: String,
    client: reqwest::Client,
}

impl Api {
    fn of(cluster: &Cluster) -> Self {
        let address =
            cluster.kubectl(&["get", "node", "node1", "-o", "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}"]);
        let port =
            cluster.kubectl(&["-n", "eddy-system", "get", "service", "eddy-api", "-o", "jsonpath={.spec.ports[0].nodePort}"]);
        // Each request on a connection of its own, so that every replica is asked sooner or later.
        let client =
            reqwest::Client::builder().connect_timeout(Duration::from_secs(2)).pool_max_idle_per_host(0).build().unwrap();
        Self { url: format!("http://{address}:{port}/api/v1"), client }
    }

    fn ask(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url)).timeout(Duration::from_secs(20));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    async fn send(&self, token: &str, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let request = self.ask(token, method, path).header("content-type", "application/json").body(body.to_string());
        read(request.send().await.unwrap()).await
    }

    async fn get(&self, token: &str, path: &str) -> (u16, Value) {
        read(self.ask(token, Method::GET, path).send().await.unwrap()).await
    }

    /// Waits until every replica knows a token.
    fn wait_known(&self, token: &str) {
        let handle = tokio::runtime::Handle::current();
        let known = || tokio::task::block_in_place(|| handle.block_on(async { self.get(token, "/whoami").await.0 == 200 }));
        wait("replicas that know the token", || (0..20).all(|_| known()));
    }
}

async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

/// A tenant with nothing of an earlier run.
fn tenant(cluster: &Cluster, name: &str) {
    cluster.tenant(name);
    cluster.kubectl(&["-n", &format!("u-{name}"), "delete", "serviceaccounts.eddy.cloud,tokens.eddy.cloud", "--all"]);
}

fn account(name: &str, labels: &Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "spec": {"scopes": []}})
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn objects_are_made_read_changed_and_removed() {
    let cluster = Cluster::connect().await;
    tenant(&cluster, "restful");
    let (api, token) = (Api::of(&cluster), token(&cluster, "restful", "all", "{}"));
    api.wait_known(&token);
    let (all, one) = ("/tenants/restful/serviceaccounts", "/tenants/restful/serviceaccounts/a");
    assert_eq!(
        api.get(&token, "/whoami").await,
        (200, json!({"user": "restful", "admin": false, "token": "all", "limited": false}))
    );

    // Made once, however often it is asked for.
    let make = |key: &'static str, body: Value| {
        api.ask(&token, Method::POST, all)
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(body.to_string())
    };
    let made = make("k1", account("a", &json!({"tier": "front"}))).send().await.unwrap();
    assert_eq!(
        (made.status().as_u16(), made.headers()["location"].to_str().unwrap()),
        (201, "/api/v1/tenants/restful/serviceaccounts/a")
    );
    let (tag, made) = (made.headers()["etag"].to_str().unwrap().to_owned(), read(made).await.1);
    assert!(
        made["metadata"]["managedFields"].is_null()
            && tag == format!("\"{}\"", made["metadata"]["resourceVersion"].as_str().unwrap())
    );
    let again = read(make("k1", account("a", &json!({"tier": "front"}))).send().await.unwrap()).await;
    assert_eq!((again.0, &again.1["metadata"]["uid"]), (200, &made["metadata"]["uid"]));
    for (key, body, status, code) in [
        ("k1", account("a", &json!({})), 422, "IdempotencyKeyReused"),
        ("k2", account("a", &json!({"tier": "front"})), 409, "AlreadyExists"),
    ] {
        let refused = read(make(key, body).send().await.unwrap()).await;
        assert_eq!((refused.0, refused.1["code"].as_str()), (status, Some(code)));
    }

    // What is wrong is said by field, and a dry run does nothing.
    let (status, problem) = api
        .send(&token, Method::POST, "/tenants/restful/containers", &json!({"metadata": {"name": "c"}, "spec": {"image": ""}}))
        .await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("Invalid")));
    assert_eq!(problem["errors"][0]["field"], "spec.image");
    let unknown = json!({"metadata": {"name": "c"}, "spec": {"image": "x", "imagge": "y"}});
    let (status, problem) = api.send(&token, Method::POST, "/tenants/restful/containers", &unknown).await;
    assert!(status == 400 && problem["detail"].as_str().unwrap().contains("imagge"), "{problem}");
    let dry = api.send(&token, Method::POST, &format!("{all}?dryRun=true"), &account("dry", &json!({}))).await;
    assert_eq!((dry.0, api.get(&token, &format!("{all}/dry")).await.0), (200, 404));

    // Read by pages and labels.
    for name in ["b", "c"] {
        assert_eq!(api.send(&token, Method::POST, all, &account(name, &json!({"tier": "back"}))).await.0, 201);
    }
    let version = api.get(&token, &format!("{all}/c")).await.1["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
    let names = async |query: &str| {
        let (status, list) = api.get(&token, &format!("{all}?minResourceVersion={version}&{query}")).await;
        assert_eq!(status, 200, "{list}");
        let names: Vec<String> =
            list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        (names.join(","), list["metadata"]["continue"].as_str().unwrap().to_owned())
    };
    assert_eq!(names("").await, ("a,b,c".into(), String::new()));
    assert_eq!(names("labelSelector=tier%3Dback").await.0, "b,c");
    let (page, next) = names("limit=2").await;
    assert_eq!((page.as_str(), names(&format!("limit=2&continue={next}")).await.0.as_str()), ("a,b", "c"));
    let unchanged = api.ask(&token, Method::GET, &format!("{one}?minResourceVersion={version}"));
    let shown = unchanged.send().await.unwrap();
    let now = shown.headers()["etag"].to_str().unwrap().to_owned();
    let unchanged = api.ask(&token, Method::GET, one).header("if-none-match", &now).send().await.unwrap();
    assert_eq!(unchanged.status(), 304);

    // Changed, of the version that was meant.
    let patch = |condition: &str, kind: &str, body: Value| {
        let request = api.ask(&token, Method::PATCH, one).header("content-type", kind).header("if-match", condition);
        request.body(body.to_string())
    };
    let merge = "application/merge-patch+json";
    let patched = patch(&now, merge, json!({"metadata": {"labels": {"tier": "middle"}}})).send().await.unwrap();
    assert_eq!(patched.status(), 200);
    for (kind, body) in [(merge, json!({"metadata": {"labels": {"x": "y"}}})), ("application/json-patch+json", json!([]))] {
        let late = read(patch(&tag, kind, body).send().await.unwrap()).await;
        assert!(late.0 == 412 || late.0 == 409 || late.0 == 422, "{late:?}");
        assert_ne!(late.1["code"], "Unavailable");
    }
    let (status, replaced) = api.send(&token, Method::PUT, one, &account("a", &json!({"tier": "new"}))).await;
    assert_eq!((status, replaced["metadata"]["labels"]["tier"].as_str()), (200, Some("new")));
    let apply = api
        .ask(&token, Method::PATCH, &format!("{all}/applied?fieldManager=me"))
        .header("content-type", "application/apply-patch+yaml");
    let yaml = "apiVersion: eddy.cloud/v1alpha1\nkind: ServiceAccount\nmetadata: {name: applied}\nspec: {scopes: []}\n";
    assert!(apply.body(yaml).send().await.unwrap().status().is_success());
    assert_eq!(api.send(&token, Method::DELETE, &format!("{all}/applied"), &json!(null)).await.0, 200);
    wait("it is gone", || cluster.get("serviceaccounts.eddy.cloud", "u-restful", "applied").is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn changes_are_followed_and_gone_on_with() {
    let cluster = Cluster::connect().await;
    tenant(&cluster, "follows");
    let (api, token) = (Api::of(&cluster), token(&cluster, "follows", "all", "{}"));
    api.wait_known(&token);
    let all = "/tenants/follows/serviceaccounts";
    assert_eq!(api.send(&token, Method::POST, all, &account("a", &json!({}))).await.0, 201);
    let follow = async |last: Option<&str>| {
        let request = api.client.get(format!("{}{all}", api.url)).bearer_auth(&token).header("accept", "text/event-stream");
        let request = last.into_iter().fold(request, |request, last| request.header("last-event-id", last));
        Events { response: request.send().await.unwrap(), text: String::new() }
    };
    let mut events = follow(None).await;
    let (what, id, list) = events.next().await;
    assert_eq!((what.as_str(), list["kind"].as_str()), ("snapshot", Some("ServiceAccountList")));
    // The replica that was asked may not have seen it yet.
    assert!(list["items"].as_array().unwrap().len() <= 1 && id.parse::<u64>().is_ok());
    assert_eq!(api.send(&token, Method::POST, all, &account("b", &json!({}))).await.0, 201);
    let (mut what, mut id, mut object) = events.next().await;
    while object["metadata"]["name"] != "b" {
        (what, id, object) = events.next().await;
    }
    assert_eq!(what, "put");
    drop(events);
    // Whoever comes back, to whichever replica, misses nothing and hears nothing twice.
    assert_eq!(api.send(&token, Method::DELETE, &format!("{all}/b"), &json!(null)).await.0, 200);
    let mut events = follow(Some(&id)).await;
    let mut heard = events.next().await;
    while heard.0 == "put" {
        let version = heard.2["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
        assert!(version > id.parse().unwrap(), "what came before {id} is not told again: {}", heard.2);
        heard = events.next().await;
    }
    assert_eq!((heard.0.as_str(), heard.2["metadata"]["name"].as_str()), ("delete", Some("b")));
    // Whose token is taken back hears no more.
    cluster.kubectl(&["-n", "u-follows", "delete", TOKENS, "all"]);
    wait("it is known", || {
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| handle.block_on(async { api.get(&token, "/whoami").await.0 == 401 }))
    });
    let end = tokio::time::timeout(Duration::from_secs(30), async { while events.response.chunk().await.unwrap().is_some() {} });
    end.await.expect("the stream ends");
}

struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn next(&mut self) -> (String, String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n").map(|(event, rest)| (event.to_owned(), rest.to_owned())) {
                self.text = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
                if !event.starts_with(':') {
                    return (field("event: "), field("id: "), serde_json::from_str(&field("data: ")).unwrap());
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await.expect("an event");
            self.text.push_str(std::str::from_utf8(&chunk.unwrap().expect("the stream goes on")).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn every_way_in_is_refused_to_whom_it_is_not_for() {
    let cluster = Cluster::connect().await;
    for name in ["mine", "theirs"] {
        tenant(&cluster, name);
    }
    let api = Api::of(&cluster);
    let good = token(&cluster, "mine", "all", "{}");
    let reads = token(&cluster, "mine", "reads", "{scopes: [{scope: identity.mine.serviceaccounts, actions: [read]}]}");
    let other = token(&cluster, "theirs", "all", "{}");
    let claims = token(
        &cluster,
        "theirs",
        "claims",
        "{scopes: [{scope: identity.mine.serviceaccounts, actions: [read, create, update, delete]}]}",
    );
    let revoked = token(&cluster, "mine", "revoked", "{}");
    for token in [&good, &reads, &other, &claims, &revoked] {
        api.wait_known(token);
    }
    cluster.kubectl(&["-n", "u-mine", "delete", TOKENS, "revoked"]);
    wait("it is known", || {
        let handle = tokio::runtime::Handle::current();
        (0..20).all(|_| tokio::task::block_in_place(|| handle.block_on(async { api.get(&revoked, "/whoami").await.0 == 401 })))
    });
    assert_eq!(api.send(&good, Method::POST, "/tenants/mine/serviceaccounts", &account("x", &json!({}))).await.0, 201);
    let (status, document) = api.get("", "/openapi.json").await;
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1").unwrap().replace("{tenant}", "mine").replace("{name}", "x");
        for verb in ["get", "post", "put", "patch", "delete"].into_iter().filter(|verb| operations[verb].is_object()) {
            let method = Method::from_bytes(verb.to_uppercase().as_bytes()).unwrap();
            for wrong in [
                "",
                "x",
                "eddy_0123456789abcdef_short",
                &good[..good.len() - 1],
                &format!("{good}{}", "x".repeat(20_000)),
                &revoked,
            ] {
                let (status, problem) = api.send(wrong, method.clone(), &path, &account("x", &json!({}))).await;
                assert_eq!((status, problem["code"].as_str()), (401, Some("Unauthorized")), "{verb} {path} with {wrong:.30}");
            }
            if path == "/whoami" {
                continue;
            }
            for wrong in [&other, &claims] {
                let (status, problem) = api.send(wrong, method.clone(), &path, &account("x", &json!({}))).await;
                assert_eq!(
                    (status, problem["code"].as_str()),
                    (404, Some("NotFound")),
                    "{verb} {path} by another user: {problem}"
                );
            }
            let is_good = verb == "get" && path.starts_with("/tenants/mine/serviceaccounts");
            let status = api.send(&reads, method, &path, &account("x", &json!({}))).await.0;
            let expected: &[u16] = if is_good { &[200] } else { &[403, 404] };
            assert!(expected.contains(&status), "{verb} {path} with a scope for reading: {status}");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
    assert!(cluster.get("serviceaccounts.eddy.cloud", "u-mine", "x").is_some(), "nothing of it happened");
    for path in [
        "/tenants/mine/secrets",
        "/tenants/mine/pods",
        "/tenants/..%2f/tokens",
        "/tenants/mine/tokens/..%2fx",
        "/nothing/at/all/of/it",
    ] {
        assert!([400, 404].contains(&api.get(&good, path).await.0), "{path}");
    }
    let long = json!({"metadata": {"name": "long", "annotations": {"x": "x".repeat(2 * 1024 * 1024)}}});
    let (status, problem) = api.send(&good, Method::POST, "/tenants/mine/serviceaccounts", &long).await;
    assert_eq!((status, problem["code"].as_str()), (413, Some("TooLong")));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn nobody_gives_on_more_than_they_have_and_only_administrators_make_users() {
    let cluster = Cluster::connect().await;
    tenant(&cluster, "gives");
    tenant(&cluster, "chief");
    cluster.kubectl(&["patch", "users.eddy.cloud", "chief", "--type=merge", "-p", r#"{"spec": {"admin": true}}"#]);
    let api = Api::of(&cluster);
    let all = token(&cluster, "gives", "all", "{}");
    let scopes = "{scopes: [{scope: identity.gives.tokens, actions: [create, update, read]}, {scope: storage.gives.files.photos, actions: [read]}]}";
    let some = token(&cluster, "gives", "some", scopes);
    let chief = token(&cluster, "chief", "all", "{}");
    for token in [&all, &some, &chief] {
        api.wait_known(token);
    }
    let tokens = "/tenants/gives/tokens";
    let of = |name: &str, scope: &str| json!({"metadata": {"name": name}, "spec": {"scopes": [{"scope": scope, "actions": ["read"]}]}});
    assert_eq!(api.send(&some, Method::POST, tokens, &of("less", "storage.gives.files.photos/2026")).await.0, 201);
    assert_eq!(api.send(&some, Method::POST, tokens, &of("more", "storage.gives.files")).await.0, 403);
    assert_eq!(api.send(&some, Method::POST, tokens, &json!({"metadata": {"name": "more"}, "spec": {}})).await.0, 403);
    assert_eq!(api.send(&some, Method::PUT, &format!("{tokens}/less"), &of("less", "storage.gives.files")).await.0, 403);
    let patch = api.ask(&some, Method::PATCH, &format!("{tokens}/less")).header("content-type", "application/merge-patch+json");
    assert_eq!(patch.body(r#"{"spec": {"scopes": null}}"#).send().await.unwrap().status(), 403);
    assert_eq!(api.send(&all, Method::PUT, &format!("{tokens}/less"), &of("less", "storage.gives.files")).await.0, 200);

    let user = json!({"metadata": {"name": "newcomer"}, "spec": {"displayName": "New"}});
    assert_eq!(api.send(&all, Method::POST, "/users", &user).await.0, 404);
    assert_eq!(api.send(&all, Method::PUT, "/users/gives", &json!({"spec": {"admin": true}})).await.0, 403);
    assert_eq!(api.get(&all, "/users/gives").await.0, 200);
    assert_eq!((api.get(&all, "/users").await.0, api.get(&all, "/users/chief").await.0), (404, 404));
    let (status, made) = api.send(&chief, Method::POST, "/users", &user).await;
    assert!(status == 201 || status == 409, "{made}");
    wait("they have a core namespace", || cluster.get("namespace", "", "u-newcomer").is_some());
    assert_eq!(api.send(&chief, Method::DELETE, "/users/newcomer", &json!(null)).await.0 / 100, 2);

    // With whom a Container is shared may see and remove it; what it runs is its owner's.
    tenant(&cluster, "guest");
    let guest = token(&cluster, "guest", "all", "{}");
    api.wait_known(&guest);
    let containers = "/tenants/gives/containers";
    let shared = json!({"metadata": {"name": "shared"}, "spec": {"image": "example.com/x:1", "replicas": 0, "access": {"manage": ["user/guest"]}}});
    let made = api.send(&all, Method::POST, containers, &shared).await.0;
    assert!(made == 201 || made == 409, "{made}");
    let one = format!("{containers}/shared");
    let handle = tokio::runtime::Handle::current();
    wait("replicas that know that it is shared", || {
        (0..20).all(|_| tokio::task::block_in_place(|| handle.block_on(async { api.get(&guest, &one).await.0 == 200 })))
    });
    assert_eq!(api.get(&guest, containers).await.0, 404);
    assert_eq!(api.send(&guest, Method::PUT, &one, &shared).await.0, 403);
    assert_eq!(api.send(&guest, Method::DELETE, &one, &json!(null)).await.0 / 100, 2);
    assert_eq!(api.get(&all, "/containers/gives").await.0, 404, "what is a tenant's is reached by the tenant");
    let odd = json!({"metadata": {"name": "odd", "annotations": "x"}, "spec": {}});
    let keyed = api.ask(&all, Method::POST, tokens).header("content-type", "application/json").header("idempotency-key", "k");
    assert_eq!(keyed.body(odd.to_string()).send().await.unwrap().status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn the_platforms_own_host_leads_to_the_api_and_to_files_and_is_no_tenants() {
    let cluster = Cluster::connect().await;
    tenant(&cluster, "fronted");
    let (api, token) = (Api::of(&cluster), token(&cluster, "fronted", "all", "{}"));
    api.wait_known(&token);
    let (gateway, host) = (Gateway::of(&cluster), "cloud.eddy.example");
    let (status, who) = gateway.by_token(&token, host, "/api/v1/whoami").await;
    assert_eq!((status, serde_json::from_str::<Value>(&who).unwrap()["user"].as_str()), (200, Some("fronted")));
    assert_eq!(gateway.by_token(&token, host, "/v1/files").await.0, 200);
    assert_eq!(gateway.by_token(&token[1..], host, "/api/v1/whoami").await.0, 401);
    assert_eq!(gateway.get(host, "/").await.0, 404);
    let grabs = "{apiVersion: eddy.cloud/v1alpha1, kind: Route, metadata: {name: grabs, namespace: u-fronted}, \
                 spec: {hosts: [cloud.eddy.example], backends: [{container: x, port: 80}]}}";
    cluster.apply(grabs);
    let said = cluster.wait_reason("routes.eddy.cloud", "u-fronted", "grabs", "HostTaken");
    assert!(said.contains("the platform itself"), "{said}");
}
