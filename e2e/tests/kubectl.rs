//! kubectl with a token of Eddy.

#![allow(clippy::unwrap_used)]

use eddy_e2e::{Cluster, TOKENS, token, wait};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_token_without_limits_is_its_user_to_kubernetes_until_it_is_taken_back() {
    let cluster = Cluster::connect().await;
    cluster.tenant("kubectl");
    let mine = token(&cluster, "kubectl", "mine", "{}");
    // The replicas of the API are two, and each follows for itself.
    wait("an API server that knows the token", || {
        (0..10).all(|_| cluster.kubectl_by_token(&mine, &["-n", "u-kubectl", "get", TOKENS]).0)
    });
    let (_, said) = cluster.kubectl_by_token(&mine, &["auth", "whoami"]);
    for word in ["eddy:kubectl", "eddy:users", "system:authenticated"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    assert!(!said.contains("eddy:admins"), "{said}");
    let account = "create serviceaccounts.eddy.cloud";
    let may = |namespace: &str, what: &str| {
        let arguments: Vec<&str> = ["-n", namespace, "auth", "can-i"].into_iter().chain(what.split(' ')).collect();
        cluster.kubectl_by_token(&mine, &arguments).0
    };
    assert!(may("u-kubectl", account) && may("u-kubectl", "get secrets") && may("u-kubectl", "get pods/log"));
    for (namespace, what) in [
        ("u-kubectl", "create pods"),
        ("u-kubectl", "create rolebindings"),
        ("default", account),
        ("eddy-system", "get secrets"),
        ("default", "create users.eddy.cloud"),
        ("default", "impersonate users"),
    ] {
        assert!(!may(namespace, what), "{what} in {namespace}");
    }

    // Whoever is limited would be all of their user: Kubernetes knows no scopes.
    let scopes = "{scopes: [{scope: compute.kubectl.containers, actions: [read]}]}";
    let limited = token(&cluster, "kubectl", "limited", scopes);
    let changed = format!("{}x", &mine[..mine.len() - 1]);
    for wrong in [&limited, &changed, "eddy_0123456789abcdef_short", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "x"] {
        let (let_in, said) = cluster.kubectl_by_token(wrong, &["-n", "u-kubectl", "get", TOKENS]);
        assert!(!let_in && said.contains("provide credentials"), "{wrong:.30}: {said}");
    }

    cluster.kubectl(&["-n", "u-kubectl", "delete", TOKENS, "mine"]);
    wait("nobody who takes it any more", || {
        (0..10).all(|_| !cluster.kubectl_by_token(&mine, &["-n", "u-kubectl", "get", TOKENS]).0)
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn an_administrator_manages_users_and_what_is_theirs() {
    let cluster = Cluster::connect().await;
    cluster.tenant("kubechief");
    let chief = token(&cluster, "kubechief", "mine", "{}");
    cluster.kubectl(&["patch", "users.eddy.cloud", "kubechief", "--type=merge", "-p", r#"{"spec":{"admin":true}}"#]);
    wait("an API server that knows the administrator", || {
        (0..10).all(|_| cluster.kubectl_by_token(&chief, &["get", "users.eddy.cloud"]).0)
    });
    let may = |what: &str| {
        let arguments: Vec<&str> = ["auth", "can-i", "-A"].into_iter().chain(what.split(' ')).collect();
        cluster.kubectl_by_token(&chief, &arguments).0
    };
    assert!(may("create users.eddy.cloud") && may("update containers.eddy.cloud"));
    assert!(!may("get secrets") && !may("create pods") && !may("impersonate users"));
    cluster.kubectl(&["patch", "users.eddy.cloud", "kubechief", "--type=merge", "-p", r#"{"spec":{"admin":false}}"#]);
    wait("an API server that knows that it is none any more", || {
        (0..10).all(|_| !cluster.kubectl_by_token(&chief, &["get", "users.eddy.cloud"]).0)
    });
}
