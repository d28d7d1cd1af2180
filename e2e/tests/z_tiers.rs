//! What becomes of objects in the cluster that are to be coded, or that nobody reads. Days are short for the master meanwhile.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use eddy_e2e::{
    Cluster, Door, KEEPER, STORAGE_NAMESPACES as KIND, chunkservers, storage_namespace, storage_ready, system, wait, wait_figure,
    wait_within,
};

/// Of each object: more than short files whose bytes doors remember.
const OBJECT_BYTES: usize = 2_000_000;
/// Of each namespace.
const OBJECTS: usize = 4;
/// Instead of those that the master was given: what nobody needed, or wrote to, for a minute is old, and so is what nobody read for
/// a "day" of half a minute.
const SHORT: [&str; 5] = [
    "--grace-seconds=60",
    "--tier-day-seconds=30",
    "--tier-interval-seconds=5",
    "--tier-mebibytes-per-second=0",
    "--repair-interval-seconds=5",
];
/// A minute until a chunk is old, and rounds before and after it.
const WITHIN: Duration = Duration::from_secs(240);

/// Whole copies, on the slow chunkserver too, while there are too few servers to code for; shards when there are six. Two servers go, and
/// nothing is lost; what is read comes back.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn what_nobody_reads_goes_to_slow_servers_is_coded_for_six_outlives_two_and_comes_back() {
    let cluster = Cluster::connect().await;
    cluster.tenant("keeper");
    let door = Door::on(&cluster, "node1");
    let path = "-o=jsonpath={.spec.template.spec.containers[0].args}";
    let arguments = system(&cluster, &["get", "deployment/eddy-storage-master", path]);
    give_arguments(&cluster, &shortened(&arguments));
    for (name, spec) in [("e2e-codes", "{redundancy: {mode: ErasureCoded}}"), ("e2e-cools", "{tierPolicy: {coldAfterDays: 1}}")] {
        cluster.apply(&storage_namespace(name, "u-keeper", spec));
        cluster.wait_ready(KIND, "u-keeper", name);
        tokio::task::block_in_place(|| door.wait_bucket(KEEPER, name));
        for number in 0..OBJECTS {
            assert_eq!(door.put(KEEPER, &format!("{name}/{number}"), body(name, number)).await.unwrap(), 201);
        }
    }
    let cold = u64::try_from(OBJECTS * OBJECT_BYTES).unwrap();
    tokio::task::block_in_place(|| {
        wait_figure(&cluster, WITHIN, "eddy_storage_cold_bytes", |bytes| bytes == cold);
        wait("cold copies on the slow chunkserver", || chunkservers(&cluster, "eddy-chunkserver-slow-0")[0].chunks > 0);
        assert!(cluster.ready(KIND, "u-keeper", "e2e-codes").2.contains("until there are six chunkservers"));

        system(&cluster, &["scale", "statefulset/eddy-chunkserver", "--replicas=6"]);
        storage_ready(&cluster);
        wait_within(WITHIN, "its user learns that it is coded now", || {
            !cluster.ready(KIND, "u-keeper", "e2e-codes").2.contains("six")
        });
        // One of each at least: doors write to chunks of their own.
        wait_figure(&cluster, WITHIN, "eddy_storage_chunks_coded", |chunks| chunks >= 2);
        wait_figure(&cluster, WITHIN, "eddy_storage_coding_left", |chunks| chunks == 0);
        for name in ["eddy-chunkserver-4", "eddy-chunkserver-5"] {
            assert!(chunkservers(&cluster, name)[0].chunks > 0, "{name} has shards");
        }

        system(&cluster, &["scale", "statefulset/eddy-chunkserver", "--replicas=4"]);
        system(&cluster, &["wait", "--for=delete", "pod/eddy-chunkserver-4", "pod/eddy-chunkserver-5", "--timeout=60s"]);
    });
    check(&door).await;
    tokio::task::block_in_place(|| {
        // They have just been read.
        wait_figure(&cluster, WITHIN, "eddy_storage_cold_bytes", |bytes| bytes == 0);
        system(&cluster, &["scale", "statefulset/eddy-chunkserver", "--replicas=6"]);
        storage_ready(&cluster);
        wait_figure(&cluster, WITHIN, "eddy_storage_chunks_under_replicated", |chunks| chunks == 0);
        give_arguments(&cluster, &arguments);
    });
    check(&door).await;
}

async fn check(door: &Door) {
    for name in ["e2e-codes", "e2e-cools"] {
        for number in 0..OBJECTS {
            let (status, bytes) = door.get(Some(KEEPER), &format!("{name}/{number}")).await.unwrap();
            assert!(status == 200 && bytes == body(name, number), "{name}/{number} is not what it was: {status}");
        }
    }
}

/// Bytes that no other object has.
fn body(name: &str, number: usize) -> Vec<u8> {
    let mut body = format!("{name}/{number}:").into_bytes();
    body.extend((body.len()..OBJECT_BYTES).map(|at| (at.wrapping_mul(31) >> 3 ^ number) as u8));
    body
}

/// The master's arguments, some of them for this test.
fn shortened(arguments: &str) -> String {
    let given: Vec<String> = serde_json::from_str(arguments).unwrap();
    let name = |argument: &str| argument.split('=').next().unwrap_or_default().to_owned();
    let kept = given.into_iter().filter(|one| SHORT.iter().all(|short| name(short) != name(one)));
    let all: Vec<String> = kept.chain(SHORT.map(str::to_owned)).collect();
    serde_json::to_string(&all).unwrap()
}

/// Has the master run with these arguments, a list in JSON.
fn give_arguments(cluster: &Cluster, arguments: &str) {
    let patch = format!(r#"[{{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": {arguments}}}]"#);
    system(cluster, &["patch", "deployment/eddy-storage-master", "--type=json", "-p", &patch]);
    storage_ready(cluster);
}
