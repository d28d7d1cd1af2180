//! Each part may do what it does and no more.

#![allow(clippy::unwrap_used)]

use eddy_e2e::Cluster;
use serde_json::json;

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

#[tokio::test]
#[ignore = "needs a cluster: run ./test"]
async fn the_operator_hands_out_no_more_than_named_certificates() {
    let cluster = Cluster::connect().await;
    cluster.tenant("ada");
    let apply = |object: serde_json::Value| {
        let operator = "--as=system:serviceaccount:eddy-system:eddy-operator";
        cluster.try_kubectl(&[operator, "apply", "--server-side", "--dry-run=server", "-f", "-"], Some(&object.to_string()))
    };
    let role = |name: &str, namespace: &str, rule: serde_json::Value| {
        let metadata = json!({"name": name, "namespace": namespace});
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": [rule]})
    };
    let (name, group) = ("eddy-gateway-certificates", "rbac.authorization.k8s.io");
    let good =
        json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["web-tls"], "verbs": ["get", "list", "watch"]});
    let (done, said) = apply(role(name, "u-ada", good.clone()));
    assert!(done, "{said}");
    for (field, value) in [
        ("resourceNames", json!([])),
        ("resourceNames", json!([""])),
        ("resources", json!(["secrets", "pods"])),
        ("verbs", json!(["get", "create"])),
        ("apiGroups", json!(["", "apps"])),
    ] {
        let mut rule = good.clone();
        rule[field] = value;
        let (done, said) = apply(role(name, "u-ada", rule));
        assert!(!done && said.contains("that Role is for Secrets that it names"), "{field}: {said}");
    }
    assert!(!apply(role("another", "u-ada", good.clone())).0 && !apply(role(name, "eddy-system", good)).0);
    let binding = |kind: &str, role: &str, subject: serde_json::Value| {
        let reference = json!({"apiGroup": group, "kind": kind, "name": role});
        let metadata = json!({"name": "b", "namespace": "u-ada"});
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": reference, "subjects": [subject]})
    };
    let account = |name: &str, namespace: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
    let ada = json!({"kind": "User", "apiGroup": group, "name": "eddy:ada"});
    for right in [binding("Role", name, account("eddy-gateway", "eddy-system")), binding("ClusterRole", "eddy-tenant", ada)] {
        let (done, said) = apply(right);
        assert!(done, "{said}");
    }
    for wrong in [
        binding("Role", name, account("eddy-gateway", "u-ada")),
        binding("Role", name, account("default", "eddy-system")),
        binding("Role", name, json!({"kind": "User", "apiGroup": group, "name": "eddy:bob"})),
        binding("ClusterRole", "eddy-tenant", account("eddy-operator", "eddy-system")),
        binding("ClusterRole", "eddy-tenant", json!({"kind": "User", "apiGroup": group, "name": "eddy:bob"})),
        binding("ClusterRole", "cluster-admin", account("eddy-gateway", "eddy-system")),
    ] {
        assert!(!apply(wrong.clone()).0, "{wrong}");
    }
}
