//! What users get wrong is refused with a sentence, or said in the status, and leaves their other objects alone.

#![allow(clippy::unwrap_used)]

use eddy_e2e::{Cluster, Gateway, wait};

fn container(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: eddy.cloud/v1alpha1\nkind: Container\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn serving(namespace: &str, name: &str, host: &str) -> String {
    let spec = "{image: 'busybox:1.35', command: [sh, -c, \"echo fine >/tmp/index.html; httpd -p 80 -h /tmp; trap 'exit 0' TERM; sleep infinity & wait\"], ports: [{port: 80}], resources: {cpu: 10m, memory: 16Mi}}";
    format!(
        "{}---\napiVersion: eddy.cloud/v1alpha1\nkind: Route\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{hosts: [{host}], backends: [{{container: {name}, port: 80}}]}}\n",
        container(namespace, name, spec)
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_bad_spec_is_refused_with_a_sentence_that_says_what_to_do() {
    let cluster = Cluster::connect().await;
    cluster.tenant("refused");
    let image = "image: 'busybox:1.35'";
    for (object, sentence) in [
        (container("u-refused", "a", &format!("{{{image}, imgae: x}}")), "unknown field \"spec.imgae\""),
        (container("u-refused", &"a".repeat(41), &format!("{{{image}}}")), "metadata.name must be at most 40 lower-case letters"),
        (container("u-refused", "a", "{image: 'Not An Image'}"), "must be an image reference, as in nginx:1.27"),
        (container("u-refused", "a", &format!("{{{image}, ports: [{{port: 70000}}]}}")), "a port is a number from 1 to 65535"),
        (container("u-refused", "a", &format!("{{{image}, resources: {{memory: lots}}}}")), "must be a quantity above zero"),
        (container("u-refused", "a", &format!("{{{image}, env: [{{name: A}}]}}")), "exactly one of value and secret"),
        (container("u-refused", "a", &format!("{{{image}, replicas: 101}}")), "less than or equal to 100"),
        (container("u-refused", "a", &format!("{{{image}, restart: Sometimes}}")), "supported values: \"Always\""),
    ] {
        let refusal = cluster.refused(&object);
        assert!(refusal.contains(sentence), "should say {sentence:?}, says {refusal}");
    }
    let route = "apiVersion: eddy.cloud/v1alpha1\nkind: Route\nmetadata: {name: a, namespace: u-refused}\nspec: {hosts: ['a.*.com'], backends: [{container: a, port: 80}]}\n";
    assert!(cluster.refused(route).contains("each host must be lower-case"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn what_cannot_run_says_why_and_its_neighbours_go_on() {
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    cluster.tenant("trouble");
    let namespace = "u-trouble";
    cluster.apply(&serving(namespace, "fine", "fine.example"));
    cluster.apply(&container(
        namespace,
        "secretless",
        "{image: 'busybox:1.35', env: [{name: A, secret: {name: missing, key: k}}], resources: {cpu: 10m, memory: 16Mi}}",
    ));
    cluster.apply(&container(namespace, "imageless", "{image: 'localhost/no/such:image', resources: {cpu: 10m, memory: 16Mi}}"));
    cluster.apply(&container(
        namespace,
        "crashing",
        "{image: 'busybox:1.35', command: [sh, -c, exit 3], resources: {cpu: 10m, memory: 16Mi}}",
    ));
    cluster.apply(&container(namespace, "greedy", "{image: 'busybox:1.35', resources: {cpu: 10m, memory: 100Gi}}"));
    cluster.apply(&container(namespace, "homeless", "{image: 'busybox:1.35', arch: arm64, resources: {cpu: 10m, memory: 16Mi}}"));

    for (name, reason, sentence, stalled) in [
        ("secretless", "SecretMissing", "secret \"missing\" not found", true),
        ("imageless", "ImageUnavailable", "localhost/no/such:image", true),
        ("crashing", "CrashLooping", "exit code 3", false),
        ("greedy", "QuotaExceeded", "spec.quota of the User", true),
        ("homeless", "Unschedulable", "no node can take a replica", false),
    ] {
        // The kubelet may at first say that it could not find out.
        wait(&format!("{name} says {reason}: {sentence}"), || {
            let (_, is, message) = cluster.ready("containers.eddy.cloud", namespace, name);
            is == reason && message.contains(sentence)
        });
        let object = cluster.get("containers.eddy.cloud", namespace, name).unwrap();
        let types: Vec<&str> = object["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|condition| condition["type"].as_str().unwrap())
            .collect();
        assert_eq!(types.contains(&"Stalled"), stalled, "{name}: {types:?}");
        assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);
        let events = cluster.kubectl(&[
            "-n",
            namespace,
            "get",
            "events",
            "--field-selector",
            &format!("involvedObject.name={name},reason={reason}"),
            "-o",
            "name",
        ]);
        assert!(!events.is_empty(), "{name}: no event {reason}");
    }
    gateway.wait_body("fine.example", "/", "fine").await;
    cluster.wait_ready("containers.eddy.cloud", namespace, "fine");

    // Mended, they run.
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: missing, namespace: {namespace}}}, stringData: {{k: v}}}}"
    ));
    cluster.kubectl(&[
        "-n",
        namespace,
        "patch",
        "containers.eddy.cloud",
        "secretless",
        "--type=merge",
        "-p",
        r#"{"spec":{"command":["sleep","3600"]}}"#,
    ]);
    cluster.wait_ready("containers.eddy.cloud", namespace, "secretless");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn more_containers_than_the_quota_allows_are_refused() {
    let cluster = Cluster::connect().await;
    cluster.apply("apiVersion: eddy.cloud/v1alpha1\nkind: User\nmetadata: {name: small}\nspec: {quota: {containers: 1}}\n");
    cluster.wait_ready("users.eddy.cloud", "default", "small");
    let spec = "{image: 'busybox:1.35', replicas: 0}";
    cluster.apply(&container("u-small", "one", spec));
    wait("the quota counts the first", || {
        cluster
            .get("resourcequota", "u-small", "eddy")
            .is_some_and(|quota| quota["status"]["used"]["count/containers.eddy.cloud"] == "1")
    });
    let refusal = cluster.refused(&container("u-small", "two", spec));
    assert!(refusal.contains("exceeded quota"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_host_stays_with_the_tenant_who_had_it_first() {
    let cluster = Cluster::connect().await;
    let gateway = Gateway::of(&cluster);
    cluster.tenant("first");
    cluster.tenant("second");
    cluster.apply(&serving("u-first", "web", "taken.example"));
    cluster.wait_ready("routes.eddy.cloud", "u-first", "web");
    // Creation times are whole seconds: the second claim must be of a later one.
    wait("the next second", || {
        let created = cluster.get("routes.eddy.cloud", "u-first", "web").unwrap()["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap()
            .to_owned();
        cluster.apply("{apiVersion: v1, kind: Secret, metadata: {name: clock, namespace: u-second}}");
        let now =
            cluster.get("secret", "u-second", "clock").unwrap()["metadata"]["creationTimestamp"].as_str().unwrap().to_owned();
        cluster.kubectl(&["-n", "u-second", "delete", "secret", "clock"]);
        now > created
    });
    cluster.apply(&serving("u-second", "web", "taken.example"));
    let message = cluster.wait_reason("routes.eddy.cloud", "u-second", "web", "HostTaken");
    assert!(message.contains("taken.example"), "{message}");
    assert_eq!(cluster.get("routes.eddy.cloud", "u-second", "web").unwrap()["status"]["hostsTaken"][0], "taken.example");
    gateway.wait_body("taken.example", "/", "fine").await;
    assert_eq!(cluster.ready("routes.eddy.cloud", "u-first", "web").1, "Serving");

    // When the first gives it up, the second gets it.
    cluster.kubectl(&["-n", "u-first", "delete", "routes.eddy.cloud", "web"]);
    cluster.wait_ready("routes.eddy.cloud", "u-second", "web");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn what_eddy_does_not_do_is_said_rather_than_left_out() {
    let cluster = Cluster::connect().await;
    cluster.apply(&container("default", "stray", "{image: 'busybox:1.35'}"));
    assert!(cluster.wait_reason("containers.eddy.cloud", "default", "stray", "NotATenant").contains("u-<user>"));
    cluster.kubectl(&["delete", "containers.eddy.cloud", "stray"]);

    cluster.tenant("eager");
    cluster.apply("apiVersion: eddy.cloud/v1alpha1\nkind: Volume\nmetadata: {name: v, namespace: u-eager}\nspec: {size: 1Gi}\n");
    cluster.wait_reason("volumes.eddy.cloud", "u-eager", "v", "NotSupported");
    cluster.apply("apiVersion: eddy.cloud/v1alpha1\nkind: Route\nmetadata: {name: r, namespace: u-eager}\nspec: {hosts: [eager.example], backends: [{container: c, port: 80}], protocol: SSH}\n");
    assert!(cluster.wait_reason("routes.eddy.cloud", "u-eager", "r", "NotSupported").contains("spec.protocol"));
}
