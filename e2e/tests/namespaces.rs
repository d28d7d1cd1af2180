//! Storage namespaces as resources, seen through the doors.

#![allow(clippy::unwrap_used)]

use eddy_e2e::{
    Cluster, Door, KEEPER, Key, LEAVER, LOADER, STORAGE_NAMESPACES as KIND, repository, storage_namespace as namespace, wait,
};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// So many requests in a row reach every door, in all likelihood.
const DOORS_ASKED: usize = 20;

fn wait_status(door: &Door, key: Option<Key>, path: &str, expected: u16) {
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        wait(&format!("{path} answers {expected}"), || {
            // Each door learns of keys by itself, and each request may be another's.
            (0..DOORS_ASKED).all(|_| handle.block_on(door.get(key, path)).is_ok_and(|(status, _)| status == expected))
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_namespace_is_a_bucket_with_its_quota_visibility_usage_and_end() {
    let cluster = Cluster::connect().await;
    cluster.tenant("keeper");
    cluster.tenant("rival");
    let door = Door::on(&cluster, "node1");
    cluster.apply(&namespace("e2e-photos", "u-keeper", "{quota: {objects: 2}}"));
    cluster.wait_ready(KIND, "u-keeper", "e2e-photos");
    wait_status(&door, Some(KEEPER), "e2e-photos", 200);

    assert_eq!(door.put(KEEPER, "e2e-photos/a", b"one".to_vec()).await.unwrap(), 201);
    assert_eq!(door.put(KEEPER, "e2e-photos/b", b"four".to_vec()).await.unwrap(), 201);
    assert_eq!(door.put(KEEPER, "e2e-photos/c", b"six".to_vec()).await.unwrap(), 507, "beyond the quota");
    wait("its usage in its status", || {
        let status = cluster.get(KIND, "u-keeper", "e2e-photos").unwrap_or_default()["status"].clone();
        (status["objects"].as_i64(), status["bytes"].as_i64()) == (Some(2), Some(7))
    });

    assert_ne!(door.get(None, "e2e-photos/a").await.unwrap().0, 200, "it is private");
    cluster.apply(&namespace("e2e-photos", "u-keeper", "{visibility: Public, quota: {objects: 2}}"));
    wait_status(&door, None, "e2e-photos/a", 200);

    cluster.apply(&namespace("e2e-photos", "u-rival", "{deletionPolicy: Delete}"));
    cluster.wait_reason(KIND, "u-rival", "e2e-photos", "NameTaken");
    cluster.kubectl(&["-n", "u-rival", "delete", KIND, "e2e-photos", "--timeout=60s"]);
    assert_eq!(door.get(None, "e2e-photos/a").await.unwrap().1, b"one", "what is another's is never touched");

    cluster.kubectl(&["-n", "u-keeper", "delete", KIND, "e2e-photos", "--wait=false"]);
    cluster.wait_reason(KIND, "u-keeper", "e2e-photos", "NotEmpty");
    assert_eq!(door.get(None, "e2e-photos/a").await.unwrap().0, 200);
    let policy = r#"{"spec": {"deletionPolicy": "Delete"}}"#;
    cluster.kubectl(&["-n", "u-keeper", "patch", KIND, "e2e-photos", "--type=merge", "-p", policy]);
    cluster.wait_gone(KIND, "u-keeper", "e2e-photos");
    assert_eq!(door.get(Some(KEEPER), "e2e-photos/a").await.unwrap().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_bucket_does_what_its_namespace_says() {
    let cluster = Cluster::connect().await;
    cluster.tenant("keeper");
    let door = Door::on(&cluster, "node1");
    let lifecycle = "[{name: brief, prefix: tmp/, expireAfterDays: 1}, {name: old, expireVersionsAfterDays: 9}]";
    let spec = format!("{{visibility: Visible, versioning: true, lifecycle: {lifecycle}, tierPolicy: {{coldAfterDays: 30}}}}");
    cluster.apply(&namespace("e2e-ruled", "u-keeper", &spec));
    cluster.wait_ready(KIND, "u-keeper", "e2e-ruled");
    wait_status(&door, Some(KEEPER), "e2e-ruled", 200);
    wait_status(&door, Some(LOADER), "e2e-ruled", 403);

    tokio::task::block_in_place(|| {
        for _ in 0..2 {
            let (status, answer) = door.s3(KEEPER, "PUT", "e2e-ruled/a");
            assert!(status == "200" && answer.to_lowercase().contains("x-amz-version-id: "), "{answer}");
        }
        let versions = door.s3(KEEPER, "GET", "e2e-ruled?versions=").1;
        assert_eq!(versions.matches("<VersionId>").count(), 2, "{versions}");
        let rules = door.s3(KEEPER, "GET", "e2e-ruled?lifecycle=").1;
        for rule in ["<Prefix>tmp/</Prefix>", "<Days>1</Days>", "<NoncurrentDays>9</NoncurrentDays>"] {
            assert!(rules.contains(rule), "{rule}: {rules}");
        }
    });
    // Whoever is signed in sees that it is there, and nothing that is in it.
    let others = door.get(Some(LOADER), "").await.unwrap();
    assert!(String::from_utf8_lossy(&others.1).contains("\"e2e-ruled\""), "{others:?}");
    assert_eq!(door.get(Some(LOADER), "e2e-ruled/a").await.unwrap().0, 403);
    let anyone = door.get(None, "").await.unwrap();
    assert!(!String::from_utf8_lossy(&anyone.1).contains("\"e2e-ruled\""), "{anyone:?}");
    cluster.kubectl(&[
        "-n",
        "u-keeper",
        "patch",
        KIND,
        "e2e-ruled",
        "--type=merge",
        "-p",
        r#"{"spec": {"deletionPolicy": "Delete"}}"#,
    ]);
    // Also while its user goes on writing: what is refused, or comes to a namespace that is gone, is of no interest.
    let writer = tokio::spawn(async move {
        for number in 0.. {
            let _ = door.put(KEEPER, &format!("e2e-ruled/{number}"), b"late".to_vec()).await;
        }
    });
    tokio::task::block_in_place(|| cluster.kubectl(&["-n", "u-keeper", "delete", KIND, "e2e-ruled", "--timeout=60s"]));
    writer.abort();
}

#[tokio::test]
#[ignore = "needs a cluster: run ./test"]
async fn the_operator_may_hold_a_namespace_and_not_change_what_its_user_wants() {
    let cluster = Cluster::connect().await;
    cluster.tenant("holder");
    cluster.apply(&namespace("e2e-held", "u-holder", "{}"));
    assert_eq!(patched_by_operator(&cluster, json!({"metadata": {"annotations": {"held": "yes"}}})).await, "");
    let refusal = patched_by_operator(&cluster, json!({"spec": {"visibility": "Public"}})).await;
    assert!(refusal.contains("the operator writes no spec"), "{refusal:?}");
}

/// What the API server has against a patch of the operator's; nothing where it takes it. kubectl would read the object first,
/// by its name, which the operator may not.
async fn patched_by_operator(cluster: &Cluster, patch: Value) -> String {
    let path = "/apis/eddy.cloud/v1alpha1/namespaces/u-holder/namespaces";
    let mut request = kube::core::Request::new(path).patch("e2e-held", &PatchParams::default(), &Patch::Merge(patch)).unwrap();
    request.headers_mut().insert("Impersonate-User", "system:serviceaccount:eddy-system:eddy-operator".parse().unwrap());
    cluster.client.request::<Value>(request).await.err().map(|error| error.to_string()).unwrap_or_default()
}

#[tokio::test]
#[ignore = "needs a cluster: run ./test"]
async fn the_example_of_files_becomes_ready() {
    let cluster = Cluster::connect().await;
    cluster.kubectl(&["apply", "-f", &repository().join("examples/files").display().to_string()]);
    cluster.wait_ready("users.eddy.cloud", "default", "files");
    for name in ["example-photos", "example-site"] {
        cluster.wait_ready(KIND, "u-files", name);
    }
    cluster.wait_ready("tokens.eddy.cloud", "u-files", "laptop");
}

#[tokio::test]
#[ignore = "needs a cluster: run ./test"]
async fn what_waits_for_more_servers_can_be_used_and_says_so() {
    let cluster = Cluster::connect().await;
    cluster.tenant("asker");
    cluster.apply(&namespace("e2e-coded", "u-asker", "{redundancy: {mode: ErasureCoded}, tierPolicy: {coldAfterDays: 30}}"));
    let sentence = cluster.wait_reason(KIND, "u-asker", "e2e-coded", "Provisioned");
    assert!(sentence.contains("until there are six chunkservers"), "{sentence}");
    cluster.wait_ready(KIND, "u-asker", "e2e-coded");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_resource_takes_over_its_owner_s_bucket_and_puts_right_what_s3_was_told_otherwise() {
    let cluster = Cluster::connect().await;
    cluster.tenant("keeper");
    let door = Door::on(&cluster, "node1");
    tokio::task::block_in_place(|| door.wait_bucket(KEEPER, "e2e-taken"));
    assert_eq!(door.put(KEEPER, "e2e-taken/a", b"one".to_vec()).await.unwrap(), 201);
    cluster.apply(&namespace("e2e-taken", "u-keeper", "{versioning: true}"));
    cluster.wait_ready(KIND, "u-keeper", "e2e-taken");
    let versioning = |status: &str| {
        format!(
            "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>{status}</Status></VersioningConfiguration>"
        )
    };
    let is = |status: &str| door.s3(KEEPER, "GET", "e2e-taken?versioning=").1.contains(&format!("<Status>{status}</Status>"));
    tokio::task::block_in_place(|| {
        assert!(is("Enabled"));
        assert_eq!(door.s3_with(KEEPER, "PUT", "e2e-taken?versioning=", &versioning("Suspended")).0, "200");
        wait("what the resource says holds again", || is("Enabled"));
    });
    assert_eq!(door.get(Some(KEEPER), "e2e-taken/a").await.unwrap(), (200, b"one".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_bucket_of_a_user_who_is_deleted_is_nobody_s_also_where_another_gets_the_name() {
    let cluster = Cluster::connect().await;
    cluster.tenant("leaver");
    cluster.tenant("keeper");
    let door = Door::on(&cluster, "node1");
    door.wait_bucket(LEAVER, "e2e-left");
    wait_status(&door, Some(LEAVER), "e2e-left", 200);
    assert_eq!(door.put(LEAVER, "e2e-left/a", b"one".to_vec()).await.unwrap(), 201);

    cluster.kubectl(&["delete", "users.eddy.cloud", "leaver", "--timeout=120s"]);
    cluster.tenant("leaver");
    let answer = door.get(Some(LEAVER), "e2e-left/a").await.unwrap();
    assert_ne!(answer.0, 200, "another has the name, and got {:?}", answer.1);

    // Whoever runs the cluster hands it over.
    let tool = ["-n", "eddy-system", "exec", "deployment/eddy-storage-door", "--", "/eddy-dataplane", "storage-namespace"];
    let listed = cluster.kubectl(&[&tool[..], &["list"]].concat());
    assert!(listed.contains("e2e-left\tformer:leaver\tPrivate\t1\t3"), "{listed}");
    cluster.kubectl(&[&tool[..], &["put", "e2e-left", "--versioning"]].concat());
    cluster.kubectl(&[&tool[..], &["put", "e2e-left", "--owner=keeper"]].concat());
    assert_eq!(door.get(Some(KEEPER), "e2e-left/a").await.unwrap(), (200, b"one".to_vec()));
    let versioning = tokio::task::block_in_place(|| door.s3(KEEPER, "GET", "e2e-left?versioning=").1);
    assert!(versioning.contains("<Status>Enabled</Status>"), "all but the owner is as it was: {versioning}");
}
