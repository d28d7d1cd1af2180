//! Storage in the cluster, through its doors, while processes are killed and a machine is cut off: what was acknowledged is there.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eddy_e2e::{Cluster, Door, LOADER, cluster_tool, wait};

const WRITERS: u64 = 4;
/// Long enough for two needles of different lengths to be told apart, short enough for many of them.
const BYTES_MAX: u64 = 200_000;
/// A replica that was replaced has another address, which the others look up every 5 s, from servers that remember the one before for as
/// long. Whoever must be found while no server of names answers is looked for where it was then.
const NAMES_KNOWN_WITHIN: Duration = Duration::from_secs(15);

/// Clients that write objects of their own, again and again, until told to stop.
struct Writers {
    acknowledged: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    failed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    /// They go from door to door: one of them will be on a machine that is cut off.
    fn start(doors: &[Door]) -> Self {
        let mut writers = Self { acknowledged: Arc::default(), failed: Arc::default(), stop: Arc::default(), tasks: Vec::new() };
        for writer in 0..WRITERS {
            let (acknowledged, failed, stop) = (writers.acknowledged.clone(), writers.failed.clone(), writers.stop.clone());
            let doors = doors.to_vec();
            writers.tasks.push(tokio::spawn(async move {
                for (number, door) in (0u64..).zip(doors.iter().cycle()) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("{writer}/{number}");
                    let body = body(writer, number);
                    let written = door.put(LOADER, &format!("e2e-load/{key}"), body.clone()).await;
                    match matches!(written, Ok(200..=299)) {
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
    let doors = ["node1", "node2", "node3"].map(|node| Door::on(&cluster, node));
    let door = &doors[0];
    tokio::task::block_in_place(|| door.wait_bucket(LOADER, "e2e-load"));
    let writers = Writers::start(&doors);
    tokio::task::block_in_place(|| {
        writers.wait_more("at first", 20);
        kill(&cluster, "eddy-chunkserver-1");
        writers.wait_more("after a chunkserver was killed", 50);
        kill(&cluster, &leader(&cluster).0);
        writers.wait_more("after the leader of metadata was killed", 50);
        all_ready(&cluster);
        let ready = Instant::now();
        wait("all to know where it is now", || ready.elapsed() > NAMES_KNOWN_WITHIN);
        let cut = leader(&cluster).1;
        // A machine may take the servers of names with it.
        let names = ["-n", "kube-system", "scale", "deployment/coredns"];
        cluster.kubectl(&[&names[..], &["--replicas=0"]].concat());
        cluster.kubectl(&["-n", "kube-system", "wait", "--for=delete", "pods", "-l", "k8s-app=kube-dns", "--timeout=60s"]);
        let number = cut.trim_start_matches("node");
        cluster_tool(&["cut", "--name", "eddy-test", "--node", number]);
        // Half of the requests still go to the door there, until Kubernetes sees that its machine is gone.
        writers.wait_more("when a machine is cut off", 15);
        writers.wait_more("while a machine is cut off", 35);
        cluster_tool(&["mend", "--name", "eddy-test", "--node", number]);
        cluster.kubectl(&[&names[..], &["--replicas=2"]].concat());
        writers.wait_more("after it is back", 50);
        all_ready(&cluster);
    });
    let (acknowledged, failed) = writers.stop().await;

    for (key, expected) in &acknowledged {
        let read = door.get(Some(LOADER), &format!("e2e-load/{key}")).await.ok().map(|(_, body)| body);
        assert!(
            read.as_ref() == Some(expected),
            "{key} of {} acknowledged ({failed} failed) is lost or not what it was",
            acknowledged.len()
        );
    }
}
