//! The first thing that a user does, and what they do next: apply, change, scale, break, mend, delete.

#![allow(clippy::unwrap_used)]

use eddy_e2e::{Cluster, Gateway, Load, repository, wait};

/// A Container that says `text`, with a Route of its own.
fn page(tenant: &str, host: &str, text: &str) -> String {
    format!(
        r#"
apiVersion: eddy.cloud/v1alpha1
kind: Container
metadata: {{name: web, namespace: u-{tenant}}}
spec:
  image: busybox:1.35
  command: [sh, -c, "echo $TEXT >/tmp/index.html; httpd -p 8080 -h /tmp; trap 'exit 0' TERM; sleep infinity & wait"]
  env: [{{name: TEXT, value: "{text}"}}]
  ports: [{{port: 8080}}]
  resources: {{cpu: 10m, memory: 16Mi}}
  probes: {{readiness: {{http: {{path: /}}}}}}
---
apiVersion: eddy.cloud/v1alpha1
kind: Route
metadata: {{name: web, namespace: u-{tenant}}}
spec:
  hosts: [{host}]
  backends: [{{container: web, port: 8080}}]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn the_example_answers_and_leaves_nothing_behind() {
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    let example = repository().join("examples/hello").display().to_string();
    cluster.kubectl(&["apply", "-f", &example]);
    for resource in ["users.eddy.cloud", "containers.eddy.cloud", "routes.eddy.cloud"] {
        cluster.wait_ready(resource, "u-hello", "hello");
    }
    gateway.wait_body("hello.eddy.example", "/", "Hello, world!").await;

    let again = cluster.kubectl(&["apply", "-f", &example]);
    assert!(again.lines().all(|line| line.ends_with("unchanged")), "{again}");

    cluster.kubectl(&["delete", "-f", &example, "--wait=false"]);
    cluster.wait_gone("users.eddy.cloud", "default", "hello");
    cluster.wait_gone("namespace", "default", "u-hello");
    assert_eq!(gateway.wait_status("hello.eddy.example", "/", 404).await.trim(), "404: no Route has this host and path");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn changes_converge_whoever_makes_them() {
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    let (host, namespace) = ("converge.example", "u-converge");
    cluster.tenant("converge");
    cluster.apply(&page("converge", host, "one"));
    gateway.wait_body(host, "/", "one").await;

    // An edit.
    cluster.apply(&page("converge", host, "two"));
    gateway.wait_body(host, "/", "two").await;

    // Scaling by the scale subresource, and a status that says so.
    cluster.kubectl(&["-n", namespace, "scale", "containers.eddy.cloud", "web", "--replicas=3"]);
    wait("three ready replicas", || {
        cluster.get("containers.eddy.cloud", namespace, "web").unwrap()["status"]["readyReplicas"] == 3
    });
    cluster.kubectl(&["-n", namespace, "scale", "containers.eddy.cloud", "web", "--replicas=0"]);
    cluster.wait_reason("containers.eddy.cloud", namespace, "web", "Stopped");
    cluster.wait_reason("routes.eddy.cloud", namespace, "web", "NoEndpoints");
    assert!(gateway.wait_status(host, "/", 503).await.starts_with("503"));
    cluster.kubectl(&["-n", namespace, "scale", "containers.eddy.cloud", "web", "--replicas=1"]);
    gateway.wait_body(host, "/", "two").await;

    // What someone deletes or changes by hand comes back.
    let uid = |resource: &str| cluster.get(resource, namespace, "web").map(|object| object["metadata"]["uid"].clone());
    for child in ["deployment", "service", "networkpolicy"] {
        let before = uid(child);
        cluster.kubectl(&["-n", namespace, "delete", child, "web", "--wait=false"]);
        wait(&format!("a new {child}"), || uid(child).is_some_and(|now| Some(now) != before));
    }
    cluster.kubectl(&["-n", namespace, "patch", "deployment", "web", "--type=merge", "-p", r#"{"spec":{"replicas":0}}"#]);
    wait("the replicas are put right", || cluster.get("deployment", namespace, "web").unwrap()["spec"]["replicas"] == 1);
    cluster.kubectl(&["-n", namespace, "delete", "resourcequota", "eddy", "--wait=false"]);
    wait("a new quota", || {
        cluster.get("resourcequota", namespace, "eddy").is_some_and(|quota| quota["metadata"]["deletionTimestamp"].is_null())
    });
    gateway.wait_body(host, "/", "two").await;

    // Without ports, neither Service nor policy.
    cluster.kubectl(&[
        "-n",
        namespace,
        "patch",
        "containers.eddy.cloud",
        "web",
        "--type=json",
        "-p",
        r#"[{"op":"remove","path":"/spec/ports"},{"op":"remove","path":"/spec/probes"}]"#,
    ]);
    cluster.wait_gone("service", namespace, "web");
    cluster.wait_gone("networkpolicy", namespace, "web");

    // Deletion takes the children; the same again brings all back.
    cluster.kubectl(&["-n", namespace, "delete", "containers.eddy.cloud", "web", "--wait=false"]);
    cluster.wait_gone("deployment", namespace, "web");
    cluster.apply(&page("converge", host, "three"));
    gateway.wait_body(host, "/", "three").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn objects_may_be_applied_before_what_they_need() {
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: u-order}}");
    let objects = page("order", "order.example", "in any order");
    let mut parts: Vec<&str> = objects.split("---").collect();
    parts.reverse();
    cluster.apply(parts[0]);
    cluster.wait_reason("routes.eddy.cloud", "u-order", "web", "BackendNotFound");
    cluster.apply(parts[1]);
    cluster.wait_reason("containers.eddy.cloud", "u-order", "web", "TenantMissing");
    assert!(cluster.get("deployment", "u-order", "web").is_none(), "nothing may run before the tenant's walls stand");
    cluster.tenant("order");
    gateway.wait_body("order.example", "/", "in any order").await;
    cluster.wait_ready("routes.eddy.cloud", "u-order", "web");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_rollout_loses_no_request() {
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    cluster.tenant("rollout");
    cluster.apply(&page("rollout", "rollout.example", "old"));
    gateway.wait_body("rollout.example", "/", "old").await;
    let load = Load::start(&gateway, "rollout.example");
    cluster.apply(&page("rollout", "rollout.example", "new"));
    gateway.wait_body("rollout.example", "/", "new").await;
    wait("the old replica gone", || {
        let pods = cluster.kubectl(&["-n", "u-rollout", "get", "pods", "-o", "name"]);
        pods.lines().count() == 1
    });
    load.stop().await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_new_user_of_an_old_name_gets_nothing_of_the_old_one() {
    let cluster = Cluster::connect().await;
    cluster.tenant("again");
    cluster.apply("{apiVersion: v1, kind: Secret, metadata: {name: old, namespace: u-again}}");
    let before = cluster.get("namespace", "default", "u-again").unwrap()["metadata"]["uid"].clone();
    cluster.kubectl(&["delete", "users.eddy.cloud", "again", "--wait=true"]);
    cluster.tenant("again");
    let now = cluster.get("namespace", "default", "u-again").unwrap()["metadata"]["uid"].clone();
    assert_ne!(before, now);
    assert!(cluster.get("secret", "u-again", "old").is_none());
}
