//! A tenant's repository, applied by kustomize again and again, converges to one state.

#![allow(clippy::unwrap_used)]

use eddy_e2e::{Cluster, Gateway, repository};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn applied_twice_and_in_reverse_nothing_changes() {
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    let folder = |name: &str| repository().join("examples/gitops").join(name).display().to_string();
    cluster.kubectl(&["apply", "-k", &folder("admin")]);
    cluster.wait_ready("users.eddy.cloud", "default", "gitops");

    let built = cluster.kubectl(&["kustomize", &folder("tenant")]);
    let documents: Vec<&str> = built.split("\n---\n").collect();
    assert!(documents.len() >= 4, "the example has several objects");
    let reversed: Vec<&str> = documents.iter().rev().copied().collect();
    // The first time backwards, so that everything comes before what it needs.
    cluster.apply(&reversed.join("\n---\n"));
    for route in ["shop", "api"] {
        cluster.wait_ready("routes.eddy.cloud", "u-gitops", route);
    }
    gateway.wait_body("shop.eddy.example", "/", "the shop").await;
    gateway.wait_body("shop.eddy.example", "/api/", "the api").await;

    let versions = || {
        cluster.kubectl(&[
            "-n",
            "u-gitops",
            "get",
            "containers.eddy.cloud,routes.eddy.cloud,deployments,services,networkpolicies",
            "-o",
            "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.generation} {.metadata.uid}{'\\n'}{end}",
        ])
    };
    let before = versions();
    for order in [documents.join("\n---\n"), reversed.join("\n---\n")] {
        let applied = cluster.apply(&order);
        assert!(applied.lines().all(|line| line.ends_with("unchanged")), "{applied}");
    }
    assert_eq!(versions(), before);
}
