//! Storage in the cluster, through its doors, while processes are killed and a machine is cut off: what was acknowledged is there.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eddy_e2e::{Cluster, cluster_tool, wait};

const KEY: &str = "e2e:0123456789abcdef";
const WRITERS: u64 = 4;
/// Long enough for two needles of different lengths to be told apart, short enough for many of them.
const BYTES_MAX: u64 = 200_000;

/// Clients that write objects of their own, again and again, until told to stop.
struct Writers {
    acknowledged: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    failed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    fn start(door: &str) -> Self {
        let mut writers = Self { acknowledged: Arc::default(), failed: Arc::default(), stop: Arc::default(), tasks: Vec::new() };
        for writer in 0..WRITERS {
            let (acknowledged, failed, stop) = (writers.acknowledged.clone(), writers.failed.clone(), writers.stop.clone());
            let door = door.to_owned();
            writers.tasks.push(tokio::spawn(async move {
                let client = client();
                for number in 0u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("{writer}/{number}");
                    let body = body(writer, number);
                    match put(&client, &format!("{door}/v1/files/e2e-load/{key}"), body.clone()).await {
                        true => drop(acknowledged.lock().unwrap().insert(key, body)),
                        // What failed may be there or not: it is never asked for.
                        false => drop(failed.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            }));
        }
        writers
    }

    /// Waits until so many more are acknowledged: the store goes on.
    fn wait_more(&self, what: &str, more: usize) {
        let at_least = self.acknowledged.lock().unwrap().len() + more;
        wait(&format!("{more} more objects acknowledged {what}"), || self.acknowledged.lock().unwrap().len() >= at_least);
    }

    async fn stop(self) -> (BTreeMap<String, Vec<u8>>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        (std::mem::take(&mut *self.acknowledged.lock().unwrap()), self.failed.load(Ordering::Relaxed))
    }
}

/// Bytes that no other object has.
fn body(writer: u64, number: u64) -> Vec<u8> {
    let length = (writer * 7919 + number * 104_729) % BYTES_MAX;
    let mut body = format!("{writer}/{number}:").into_bytes();
    body.extend((0..length).map(|at| (at.wrapping_mul(31) ^ number ^ (writer << 4)) as u8));
    body
}

/// Connections of before may lead to a machine that is gone: each request opens one.
fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(1))
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

async fn put(client: &reqwest::Client, url: &str, body: Vec<u8>) -> bool {
    let (id, secret) = KEY.split_once(':').unwrap();
    client.put(url).basic_auth(id, Some(secret)).body(body).send().await.is_ok_and(|answer| answer.status().is_success())
}

async fn get(client: &reqwest::Client, url: &str) -> Option<Vec<u8>> {
    let (id, secret) = KEY.split_once(':').unwrap();
    let answer = client.get(url).basic_auth(id, Some(secret)).send().await.ok()?.error_for_status().ok()?;
    Some(answer.bytes().await.ok()?.to_vec())
}

fn system(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster.kubectl(&[&["-n", "eddy-system"], arguments].concat())
}

fn kill(cluster: &Cluster, pod: &str) {
    let uid = |cluster: &Cluster| cluster.get("pod", "eddy-system", pod).map(|pod| pod["metadata"]["uid"].clone());
    let before = uid(cluster);
    // Without grace, the kubelet kills at once.
    system(cluster, &["delete", "pod", pod, "--grace-period=0", "--force"]);
    wait(&format!("another {pod}"), || uid(cluster).is_some_and(|after| Some(after) != before));
}

fn all_ready(cluster: &Cluster) {
    cluster.kubectl(&["wait", "nodes", "--all", "--for=condition=Ready", "--timeout=120s"]);
    for set in [
        "statefulset/eddy-kv",
        "statefulset/eddy-chunkserver",
        "deployment/eddy-storage-door",
        "deployment/eddy-storage-master",
        "deployment/eddy-gateway",
        "deployment/eddy-operator",
    ] {
        system(cluster, &["rollout", "status", set, "--timeout=120s"]);
    }
}

/// The replica of metadata that leads, and the machine that it is on.
fn leader(cluster: &Cluster) -> (String, String) {
    let servers = "eddy-kv-0.eddy-kv:7400,eddy-kv-1.eddy-kv:7400,eddy-kv-2.eddy-kv:7400";
    let mut leader = String::new();
    wait("a leader of metadata", || {
        let status =
            ["-n", "eddy-system", "exec", "eddy-chunkserver-0", "--", "/eddy-dataplane", "kv", "status", "--servers", servers];
        let (_, status) = cluster.try_kubectl(&status, None);
        let found = status.lines().find(|line| line.contains("\tleads\t")).and_then(|line| line.split('.').next());
        leader = found.unwrap_or_default().to_owned();
        !leader.is_empty()
    });
    let node = system(cluster, &["get", "pod", &leader, "-o", "jsonpath={.spec.nodeName}"]);
    (leader, node)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn what_was_acknowledged_outlives_killed_processes_and_a_machine_that_is_cut_off() {
    let cluster = Cluster::connect().await;
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: eddy-storage-keys, namespace: eddy-system}}\nstringData: {{ada: \"{KEY}\"}}\n"
    );
    cluster.apply(&secret);
    let port = system(&cluster, &["get", "service", "eddy-storage", "-o", "jsonpath={.spec.ports[0].nodePort}"]);
    let address = |node: &str| {
        cluster.kubectl(&["get", "node", node, "-o", "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}"])
    };
    let (_, cut) = leader(&cluster);
    let near = ["node1", "node2"].into_iter().find(|node| *node != cut).unwrap();
    let door = format!("http://{}:{port}", address(near));

    // The Secret reaches the doors when their kubelets look: then a client of S3 may make its bucket.
    wait("a bucket", || {
        let curl = Command::new("curl")
            .args([
                "-s",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-X",
                "PUT",
                "--aws-sigv4",
                "aws:amz:us-east-1:s3",
                "--user",
                KEY,
            ])
            .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", &format!("{door}/e2e-load")])
            .output()
            .unwrap();
        ["200", "409"].contains(&String::from_utf8_lossy(&curl.stdout).as_ref())
    });
    let writers = Writers::start(&door);
    tokio::task::block_in_place(|| {
        writers.wait_more("at first", 20);
        kill(&cluster, "eddy-chunkserver-1");
        writers.wait_more("after a chunkserver was killed", 50);
        kill(&cluster, &leader(&cluster).0);
        writers.wait_more("after the leader of metadata was killed", 50);
        all_ready(&cluster);
        let number = cut.trim_start_matches("node");
        cluster_tool(&["cut", "--name", "eddy-test", "--node", number]);
        writers.wait_more("while a machine is cut off", 50);
        cluster_tool(&["mend", "--name", "eddy-test", "--node", number]);
        writers.wait_more("after it is back", 50);
        all_ready(&cluster);
    });
    let (acknowledged, failed) = writers.stop().await;

    let client = client();
    for (key, expected) in &acknowledged {
        let read = get(&client, &format!("{door}/v1/files/e2e-load/{key}")).await;
        assert!(
            read.as_ref() == Some(expected),
            "{key} of {} acknowledged ({failed} failed) is lost or not what it was",
            acknowledged.len()
        );
    }
}
