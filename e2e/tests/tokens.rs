//! Tokens: drawn once, written to a Secret, known by a hash.

#![allow(clippy::unwrap_used)]

use eddy_e2e::{Cluster, Door, Gateway, STORAGE_NAMESPACES, TOKENS, secret, storage_namespace, system, wait};
use reqwest::Method;
use serde_json::Value;

const ACCOUNTS: &str = "serviceaccounts.eddy.cloud";

fn object(kind: &str, core: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: eddy.cloud/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {core}}}\nspec: {spec}\n")
}

fn known(cluster: &Cluster, core: &str, name: &str) -> Vec<Value> {
    let token = cluster.get(TOKENS, core, name).unwrap();
    token["status"]["secrets"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_token_is_drawn_once_and_goes_with_its_object() {
    let cluster = Cluster::connect().await;
    cluster.tenant("tokens");
    let core = "u-tokens";
    let scopes = "[{scope: storage.tokens.files, actions: [read]}, {scope: compute.ada.containers.web, actions: [logs]}]";
    cluster.apply(&object("Token", core, "early", "{serviceAccount: ci}"));
    cluster.wait_reason(TOKENS, core, "early", "AccountMissing");
    cluster.apply(&object("ServiceAccount", core, "ci", &format!("{{scopes: {scopes}}}")));
    cluster.wait_ready(ACCOUNTS, core, "ci");
    let said = cluster.ready(ACCOUNTS, core, "ci").2;
    assert!(said.ends_with("compute.ada.containers.web counts only for what is shared with tokens"), "{said}");
    cluster.wait_ready(TOKENS, core, "early");

    let manifest = object("Token", core, "mine", "{secretName: mine-token}");
    cluster.apply(&manifest);
    cluster.wait_ready(TOKENS, core, "mine");
    let token = secret(&cluster, core, "mine-token", "token");
    let ids = known(&cluster, core, "mine");
    assert_eq!((ids.len(), token.split('_').nth(1)), (1, ids[0]["id"].as_str()));
    assert_eq!(secret(&cluster, core, "mine-token", "AWS_ACCESS_KEY_ID"), ids[0]["id"].as_str().unwrap());
    assert_eq!(secret(&cluster, core, "mine-token", "AWS_SECRET_ACCESS_KEY").len(), 40);
    let all = cluster.get(TOKENS, core, "mine").unwrap().to_string();
    assert!(!all.contains(token.rsplit('_').next().unwrap()), "only a hash is kept: {all}");

    // GitOps applies the same again and again.
    cluster.apply(&manifest);
    cluster.kubectl(&["-n", core, "annotate", TOKENS, "mine", "applied=again"]);
    cluster.apply(&object(
        "Token",
        core,
        "mine",
        "{secretName: mine-token, scopes: [{scope: storage.tokens.files, actions: [list]}]}",
    ));
    wait("the change was seen", || {
        let token = cluster.get(TOKENS, core, "mine").unwrap();
        token["status"]["observedGeneration"] == token["metadata"]["generation"]
    });
    assert_eq!((secret(&cluster, core, "mine-token", "token"), known(&cluster, core, "mine")), (token, ids));

    cluster.kubectl(&["-n", core, "delete", TOKENS, "mine"]);
    cluster.wait_gone("secret", core, "mine-token");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_token_that_is_due_is_drawn_again_and_the_last_one_stays_for_a_while() {
    let cluster = Cluster::connect().await;
    cluster.tenant("rotates");
    let core = "u-rotates";
    cluster.apply(&object("Token", core, "t", "{}"));
    cluster.wait_ready(TOKENS, core, "t");
    let first = secret(&cluster, core, "t", "token");
    // As if it had been drawn a while ago.
    let old = r#"[{"op": "replace", "path": "/status/secrets/0/issuedAt", "value": "2026-01-01T00:00:00Z"}]"#;
    cluster.kubectl(&["-n", core, "patch", TOKENS, "t", "--subresource=status", "--type=json", "-p", old]);
    cluster.apply(&object("Token", core, "t", "{rotation: {everyDays: 30, overlapHours: 24}}"));
    wait("another was drawn", || known(&cluster, core, "t").len() == 2);
    let (secrets, second) = (known(&cluster, core, "t"), secret(&cluster, core, "t", "token"));
    assert_eq!(second.split('_').nth(1), secrets[0]["id"].as_str());
    assert_eq!(first.split('_').nth(1), secrets[1]["id"].as_str());
    assert!(secrets[0]["expiresAt"].is_null() && secrets[1]["expiresAt"].is_string(), "{secrets:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn what_is_wrong_with_a_token_is_said_and_nobody_s_secret_is_written_over() {
    let cluster = Cluster::connect().await;
    cluster.tenant("wrong");
    let core = "u-wrong";
    cluster.apply(&object("Token", core, "scoped", "{scopes: [{scope: storage.wrong.disks, actions: [read]}]}"));
    let said = cluster.wait_reason(TOKENS, core, "scoped", "InvalidScope");
    assert!(said.contains("storage has no resource \"disks\"; it has namespaces, files"), "{said}");
    assert!(cluster.get("secret", core, "scoped").is_none());
    cluster.apply(&object("Token", core, "late", "{expiresAt: '2020-01-01T00:00:00Z'}"));
    cluster.wait_reason(TOKENS, core, "late", "Expired");

    cluster.kubectl(&["-n", core, "create", "secret", "generic", "precious", "--from-literal=token=mine"]);
    cluster.apply(&object("Token", core, "grabs", "{secretName: precious}"));
    let said = cluster.wait_reason(TOKENS, core, "grabs", "NameTaken");
    assert!(said.contains("there is a Secret of that name that is not this Token's"), "{said}");
    assert_eq!(secret(&cluster, core, "precious", "token"), "mine");
    // Another Token's is no more theirs.
    cluster.apply(&object("Token", core, "one", "{}"));
    cluster.wait_ready(TOKENS, core, "one");
    let token = secret(&cluster, core, "one", "token");
    cluster.apply(&object("Token", core, "two", "{secretName: one}"));
    cluster.wait_reason(TOKENS, core, "two", "NameTaken");
    assert_eq!(secret(&cluster, core, "one", "token"), token);
    assert!(cluster.refused(&object("Token", core, "one", "{secretName: other}")).contains("spec.secretName cannot be changed"));

    // Nor may the operator write any Secret but those of Tokens.
    let operator = "--as=system:serviceaccount:eddy-system:eddy-operator";
    let forged = "apiVersion: v1\nkind: Secret\nmetadata: {name: forged, namespace: u-wrong}\n";
    let (written, refusal) = cluster.try_kubectl(&[operator, "create", "-f", "-"], Some(forged));
    assert!(!written && refusal.contains("not this Token's"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_token_opens_storage_as_far_as_it_goes_until_it_is_taken_back() {
    let cluster = Cluster::connect().await;
    let door = Door::on(&cluster, "node1");
    cluster.tenant("opens");
    let core = "u-opens";
    let scope = |actions: &str| format!("{{scopes: [{{scope: storage.opens.files.e2e-opens, actions: {actions}}}]}}");
    cluster.apply(&storage_namespace("e2e-opens", core, "{deletionPolicy: Delete}"));
    cluster.apply(&object("ServiceAccount", core, "ci", &scope("[read, write]")));
    cluster.apply(&object("Token", core, "ci", "{serviceAccount: ci}"));
    for name in ["all", "idle", "signs"] {
        cluster.apply(&object("Token", core, name, "{}"));
    }
    for (kind, name) in [(STORAGE_NAMESPACES, "e2e-opens"), (TOKENS, "ci"), (TOKENS, "all"), (TOKENS, "idle"), (TOKENS, "signs")]
    {
        cluster.wait_ready(kind, core, name);
    }
    let (ci, all) = (secret(&cluster, core, "ci", "token"), secret(&cluster, core, "all", "token"));
    let status = |token: &str, method: Method, path: &str| {
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| handle.block_on(door.by_token(token, method, path))).unwrap_or_default()
    };
    // The doors are two, and each follows for itself.
    let everywhere =
        |token: &str, method: Method, path: &str, expected: u16| (0..20).all(|_| status(token, method.clone(), path) == expected);
    wait("doors that know the token", || {
        everywhere(&ci, Method::PUT, "e2e-opens/key", 200) || status(&ci, Method::PUT, "e2e-opens/key") == 0
    });
    assert!(everywhere(&ci, Method::GET, "e2e-opens/key", 200));
    assert_eq!(status(&ci, Method::DELETE, "e2e-opens/key"), 404);
    assert_eq!((status(&ci, Method::GET, ""), status(&ci, Method::GET, "e2e-opens")), (200, 404));
    assert_eq!(status(&all, Method::PUT, "e2e-opens/other"), 201);
    let id = secret(&cluster, core, "ci", "AWS_ACCESS_KEY_ID");
    let key = format!("{id}:{}", secret(&cluster, core, "ci", "AWS_SECRET_ACCESS_KEY"));
    assert_eq!(door.s3(&key, "GET", "e2e-opens/key").0, "200");
    assert_eq!(door.s3(&key, "DELETE", "e2e-opens/key").0, "403");
    // What was used says so, however it was shown; a signature that is wrong is no use.
    let key_of = |name: &str, secret_name: &str| {
        format!(
            "{}:{}",
            secret(&cluster, core, name, "AWS_ACCESS_KEY_ID"),
            secret(&cluster, core, secret_name, "AWS_SECRET_ACCESS_KEY")
        )
    };
    wait("doors that know the token that signs", || door.s3(&key_of("signs", "signs"), "GET", "e2e-opens/key").0 == "200");
    assert_eq!(door.s3(&key_of("idle", "signs"), "GET", "e2e-opens/key").0, "403");
    let used = |name: &str| cluster.get(TOKENS, core, name).unwrap()["status"]["lastUsedAt"].is_string();
    wait("Tokens that say that they were used", || {
        // A use that is told of while nobody hears it, as when other tests take identity or NATS away, is lost: the next is told of.
        for token in [&ci, &all] {
            status(token, Method::GET, "e2e-opens/key");
        }
        door.s3(&key_of("signs", "signs"), "GET", "e2e-opens/key");
        ["ci", "all", "signs"].into_iter().all(used)
    });
    assert!(!used("idle"));

    // A ServiceAccount that may less takes it from its tokens.
    cluster.apply(&object("ServiceAccount", core, "ci", &scope("[read]")));
    wait("doors that know of less", || everywhere(&ci, Method::PUT, "e2e-opens/key", 404));
    assert!(everywhere(&ci, Method::GET, "e2e-opens/key", 200));
    // Without NATS, what is known stays known, and is not changed.
    let replicas = system(&cluster, &["get", "statefulset/eddy-nats", "-o", "jsonpath={.spec.replicas}"]);
    system(&cluster, &["scale", "statefulset/eddy-nats", "--replicas=0"]);
    system(&cluster, &["wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=eddy-nats", "--timeout=60s"]);
    cluster.kubectl(&["-n", core, "delete", TOKENS, "ci"]);
    assert!(everywhere(&ci, Method::GET, "e2e-opens/key", 200) && everywhere(&all, Method::PUT, "e2e-opens/other", 200));
    system(&cluster, &["scale", "statefulset/eddy-nats", &format!("--replicas={replicas}")]);
    wait("doors that know that it was taken back", || everywhere(&ci, Method::GET, "e2e-opens/key", 401));
    assert!(everywhere(&all, Method::GET, "e2e-opens/other", 200));
    // Of whoever is suspended nothing is good.
    cluster.kubectl(&["patch", "users.eddy.cloud", "opens", "--type=merge", "-p", r#"{"spec": {"suspended": true}}"#]);
    wait("doors that know that the user is suspended", || everywhere(&all, Method::GET, "e2e-opens/other", 401));
    cluster.wait_reason(TOKENS, core, "all", "Suspended");
    cluster.kubectl(&["patch", "users.eddy.cloud", "opens", "--type=merge", "-p", r#"{"spec": {"suspended": false}}"#]);
    wait("doors that know that they are not", || everywhere(&all, Method::GET, "e2e-opens/other", 200));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn another_identity_takes_over_and_goes_on_revoking() {
    let cluster = Cluster::connect().await;
    let door = Door::on(&cluster, "node1");
    cluster.tenant("survives");
    let core = "u-survives";
    let made = |name: &str| {
        cluster.apply(&object("Token", core, name, "{}"));
        cluster.wait_ready(TOKENS, core, name);
        secret(&cluster, core, name, "token")
    };
    let status = |token: &str| {
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| handle.block_on(door.by_token(token, Method::GET, ""))).unwrap_or_default()
    };
    let everywhere = |token: &str, expected: u16| (0..20).all(|_| status(token) == expected);
    let before = made("before");
    wait("doors that know the token", || everywhere(&before, 200));
    let holder = || system(&cluster, &["get", "lease", "eddy-identity", "-o", "jsonpath={.spec.holderIdentity}"]);
    let lost = holder();
    system(&cluster, &["delete", "pod", &lost, "--grace-period=0", "--force"]);
    cluster.kubectl(&["-n", core, "delete", TOKENS, "before"]);
    wait("doors that know that it was taken back", || everywhere(&before, 401));
    // Removed at once from the API, its process lives on until the kubelet has killed it: the Lease changes hands after that.
    wait("another holder of the Lease", || holder() != lost);
    let after = made("after");
    wait("doors that know a new one", || everywhere(&after, 200));
    cluster.kubectl(&["-n", core, "delete", TOKENS, "after"]);
    wait("doors that know that the other has taken it back", || everywhere(&after, 401));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_route_lets_in_whoever_holds_what_it_requires() {
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    cluster.tenant("lets-in");
    cluster.tenant("outsider");
    let (core, host) = ("u-lets-in", "lets-in.example");
    // It tells what it is asked by.
    let command = r#"["sh", "-c", "mkdir -p /tmp/cgi-bin; printf '#!/bin/sh\necho Content-Type: text/plain; echo; echo user=$HTTP_X_EDDY_USER authorization=$HTTP_AUTHORIZATION' >/tmp/cgi-bin/who; chmod +x /tmp/cgi-bin/who; httpd -p 8080 -h /tmp; trap 'exit 0' TERM; sleep infinity & wait"]"#;
    let container =
        format!("{{image: 'busybox:1.35', command: {command}, ports: [{{port: 8080}}], resources: {{cpu: 10m, memory: 16Mi}}}}");
    cluster.apply(&object("Container", core, "web", &container));
    let route = |action: &str| {
        let scopes = format!("[{{scope: networking.lets-in.routes.web, actions: [{action}]}}]");
        object(
            "Route",
            core,
            "web",
            &format!("{{hosts: [{host}], backends: [{{container: web, port: 8080}}], requiredScopes: {scopes}}}"),
        )
    };
    cluster.apply(&route("march"));
    cluster.wait_reason("routes.eddy.cloud", core, "web", "InvalidScope");
    gateway.wait_status(host, "/", 503).await;
    cluster.apply(&route("open"));
    cluster.wait_ready("routes.eddy.cloud", core, "web");
    let made = |core: &str, name: &str, spec: &str| {
        cluster.apply(&object("Token", core, name, spec));
        cluster.wait_ready(TOKENS, core, name);
        secret(&cluster, core, name, "token")
    };
    let opens = made(core, "opens", "{scopes: [{scope: networking.lets-in.routes.web, actions: [open]}]}");
    let reads = made(core, "reads", "{scopes: [{scope: storage.lets-in.files, actions: [read]}]}");
    let other = made("u-outsider", "all", "{}");
    let answered = |token: &str| {
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| handle.block_on(gateway.by_token(token, host, "/cgi-bin/who")))
    };
    let everywhere = |token: &str, status: u16| (0..20).all(|_| answered(token).0 == status);
    wait("gateways that know the token", || everywhere(&opens, 200));
    assert_eq!(answered(&opens).1.trim(), "user=lets-in authorization=", "the backend gets no token, and is told no lies");
    wait("gateways that know the others", || everywhere(&reads, 403) && everywhere(&other, 403));
    assert!(everywhere("", 401) && everywhere("x", 401));
    cluster.kubectl(&["-n", core, "delete", TOKENS, "opens"]);
    wait("gateways that know that it was taken back", || everywhere(&opens, 401));
}
