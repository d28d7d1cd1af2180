//! What happens when parts of the platform go away. One test after another, and after all other tests: each takes
//! something from the cluster that they need.

#![allow(clippy::unwrap_used)]

use eddy_e2e::{Cluster, Gateway, Load, cluster_tool, kill, repository, wait};

const PAGE: &str = r#"
apiVersion: eddy.cloud/v1alpha1
kind: Container
metadata: {name: web, namespace: u-steady}
spec:
  image: busybox:1.35
  command: [sh, -c, "echo steady >/tmp/index.html; httpd -p 8080 -h /tmp; trap 'exit 0' TERM; sleep infinity & wait"]
  ports: [{port: 8080}]
  replicas: 2
  resources: {cpu: 10m, memory: 16Mi}
---
apiVersion: eddy.cloud/v1alpha1
kind: Route
metadata: {name: web, namespace: u-steady}
spec: {hosts: [steady.example], backends: [{container: web, port: 8080}]}
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn the_platform_goes_on_without_each_of_its_parts() {
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    cluster.tenant("steady");
    cluster.apply(PAGE);
    gateway.wait_body("steady.example", "/", "steady").await;

    a_leader_that_is_killed_or_goes_is_replaced(&cluster);
    rolling_the_gateway_fails_no_request(&cluster, &gateway).await;
    a_malformed_object_stalls_no_other(&cluster);
    the_gateway_serves_while_the_api_server_is_away(&cluster, &gateway).await;
}

fn holder(cluster: &Cluster) -> String {
    cluster.kubectl(&["-n", "eddy-system", "get", "lease", "eddy-operator", "-o", "jsonpath={.spec.holderIdentity}"])
}

fn a_leader_that_is_killed_or_goes_is_replaced(cluster: &Cluster) {
    // Whoever leads then, itself again or the other: it had no time to give the Lease back.
    kill(cluster, "eddy-system", &holder(cluster));
    cluster.apply("apiVersion: eddy.cloud/v1alpha1\nkind: User\nmetadata: {name: orphan}\nspec: {}\n");
    cluster.wait_ready("users.eddy.cloud", "default", "orphan");
    cluster.kubectl(&["-n", "eddy-system", "rollout", "status", "deployment", "eddy-operator", "--timeout=120s"]);
    // A leader that does not come back.
    let leader = holder(cluster);
    cluster.kubectl(&["-n", "eddy-system", "delete", "pod", &leader, "--grace-period=0", "--force"]);
    wait("another leader", || !["", &leader].contains(&holder(cluster).as_str()));
    cluster.kubectl(&["-n", "eddy-system", "rollout", "status", "deployment", "eddy-operator", "--timeout=120s"]);
}

async fn rolling_the_gateway_fails_no_request(cluster: &Cluster, gateway: &Gateway) {
    let load = Load::start(gateway, "steady.example");
    cluster.kubectl(&["-n", "eddy-system", "rollout", "restart", "deployment", "eddy-gateway"]);
    cluster.kubectl(&["-n", "eddy-system", "rollout", "status", "deployment", "eddy-gateway", "--timeout=180s"]);
    wait("the old gateways gone", || {
        let pods =
            cluster.kubectl(&["-n", "eddy-system", "get", "pods", "-l", "app.kubernetes.io/name=eddy-gateway", "-o", "name"]);
        pods.lines().count() == 2
    });
    load.stop().await.assert_clean();
}

/// An object of a newer version of the definitions, which this operator cannot read, must not stop the watch.
fn a_malformed_object_stalls_no_other(cluster: &Cluster) {
    let lax = r#"[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/admin","value":{"x-kubernetes-preserve-unknown-fields":true}}]"#;
    cluster.kubectl(&["patch", "crd", "users.eddy.cloud", "--type=json", "-p", lax]);
    let malformed =
        "apiVersion: eddy.cloud/v1alpha1\nkind: User\nmetadata: {name: malformed}\nspec: {admin: {sometimes: true}}\n";
    wait("the lax definition is served", || cluster.try_kubectl(&["apply", "-f", "-"], Some(malformed)).0);
    // A restart lists everything anew, the malformed object among it.
    cluster.kubectl(&["-n", "eddy-system", "rollout", "restart", "deployment", "eddy-operator"]);
    cluster.kubectl(&["-n", "eddy-system", "rollout", "status", "deployment", "eddy-operator", "--timeout=120s"]);
    cluster.tenant("wellformed");
    // With many objects there at its start, none may have waited in vain.
    let metrics = cluster.kubectl(&[
        "get",
        "--raw",
        &format!("/api/v1/namespaces/eddy-system/pods/{}:9090/proxy/metrics", holder(cluster)),
    ]);
    assert!(metrics.contains("eddy_operator_leading 1") && !metrics.contains("error=\"timeout\""), "{metrics}");
    assert_eq!(cluster.ready("users.eddy.cloud", "default", "malformed").1, "");
    cluster.kubectl(&["delete", "users.eddy.cloud", "malformed"]);
    cluster.kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        &repository().join("crds/yaml/users.yaml").display().to_string(),
    ]);
}

async fn the_gateway_serves_while_the_api_server_is_away(cluster: &Cluster, gateway: &Gateway) {
    let load = Load::start(gateway, "steady.example");
    cluster_tool(&["kill", "--name", "eddy-test", "apiserver-1"]);
    assert!(!cluster.try_kubectl(&["get", "--raw", "/readyz"], None).0);
    for _ in 0..200 {
        assert_eq!(gateway.get("steady.example", "/").await.0, 200);
    }
    // `up` starts what is missing, and nothing else.
    cluster_tool(&["up", "--name", "eddy-test", "--nodes", "3", "--kubernetes-only"]);
    load.stop().await.assert_clean();
    cluster.apply("apiVersion: eddy.cloud/v1alpha1\nkind: User\nmetadata: {name: afterwards}\nspec: {}\n");
    cluster.wait_ready("users.eddy.cloud", "default", "afterwards");
}
