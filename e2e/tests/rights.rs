//! Each part may do what it does and no more.

#![allow(clippy::unwrap_used)]

use eddy_e2e::Cluster;

/// Whether the API server would let somebody do something, to a resource or, behind a slash, a subresource.
fn may(cluster: &Cluster, who: &str, place: &str, verb: &str, resource: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let subresource = format!("--subresource={subresource}");
    let who = format!("--as={who}");
    let (_, answer) = cluster.try_kubectl(&["auth", "can-i", verb, resource, &subresource, place, &who], None);
    answer.trim().ends_with("yes")
}

#[tokio::test]
#[ignore = "needs a cluster: run ./test"]
async fn the_operator_and_the_gateway_hold_no_more_rights_than_they_use() {
    let cluster = Cluster::connect().await;
    let may = |account: &str, verb: &str, resource: &str| {
        may(&cluster, &format!("system:serviceaccount:eddy-system:{account}"), "--all-namespaces", verb, resource)
    };
    assert!(may("eddy-operator", "patch", "deployments.apps"));
    assert!(may("eddy-api", "list", "tokens.eddy.cloud"));
    for (verb, resource) in [
        ("create", "containers.eddy.cloud"),
        ("patch", "users.eddy.cloud"),
        ("get", "secrets"),
        ("list", "pods"),
        ("impersonate", "serviceaccounts"),
        ("impersonate", "groups"),
    ] {
        assert!(!may("eddy-api", verb, resource), "the API writes as tenants only: {verb} {resource}");
    }
    for (verb, resource) in [
        ("get", "secrets"),
        ("list", "secrets"),
        ("delete", "secrets"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("delete", "namespaces"),
        ("delete", "pods"),
        ("patch", "containers.eddy.cloud"),
        ("create", "users.eddy.cloud"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
        ("escalate", "clusterroles.rbac.authorization.k8s.io"),
        ("bind", "clusterroles.rbac.authorization.k8s.io"),
        ("impersonate", "users"),
        ("get", "nodes"),
    ] {
        assert!(!may("eddy-operator", verb, resource), "the operator may {verb} {resource}");
    }
    assert!(may("eddy-gateway", "watch", "routes.eddy.cloud"));
    for (verb, resource) in
        [("get", "secrets"), ("patch", "routes.eddy.cloud"), ("list", "pods"), ("list", "containers.eddy.cloud")]
    {
        assert!(!may("eddy-gateway", verb, resource), "the gateway may {verb} {resource}");
    }
    assert!(may("eddy-identity", "watch", "tokens.eddy.cloud"));
    // When a Token was last used, and nothing else.
    assert!(may("eddy-identity", "patch", "tokens.eddy.cloud/status"));
    for (verb, resource) in [
        ("get", "secrets"),
        ("list", "secrets"),
        ("patch", "tokens.eddy.cloud"),
        ("update", "tokens.eddy.cloud/status"),
        ("patch", "users.eddy.cloud/status"),
        ("list", "routes.eddy.cloud"),
        ("list", "pods"),
    ] {
        assert!(!may("eddy-identity", verb, resource), "identity may {verb} {resource}");
    }
}

#[tokio::test]
#[ignore = "needs a cluster: run ./test"]
async fn a_tenant_may_do_much_at_home_and_nothing_elsewhere() {
    let cluster = Cluster::connect().await;
    cluster.tenant("ada");
    cluster.tenant("bob");
    let may = |namespace: &str, verb: &str, resource: &str| {
        may(&cluster, "eddy:ada", &format!("--namespace={namespace}"), verb, resource)
    };
    assert!(
        may("u-ada", "create", "containers.eddy.cloud")
            && may("u-ada", "patch", "routes.eddy.cloud")
            && may("u-ada", "create", "secrets")
    );
    for (verb, resource) in [
        ("create", "pods"),
        ("create", "deployments.apps"),
        ("delete", "networkpolicies.networking.k8s.io"),
        ("patch", "resourcequotas"),
        ("create", "rolebindings.rbac.authorization.k8s.io"),
        ("patch", "containers.eddy.cloud/status"),
    ] {
        assert!(!may("u-ada", verb, resource), "a tenant may {verb} {resource}");
    }
    assert!(!may("u-bob", "get", "containers.eddy.cloud") && !may("default", "get", "secrets"));
    assert!(!may("u-ada", "create", "users.eddy.cloud"));
}
