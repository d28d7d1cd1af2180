//! Storage in the cluster, through its doors, while processes are killed and a machine is cut off: what was acknowledged is there.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eddy_e2e::{Cluster, Door, LOADER, cluster_tool, kill, wait, wait_within};

const WRITERS: u64 = 4;
/// Long enough for two needles of different lengths to be told apart, short enough for many of them.
const BYTES_MAX: u64 = 200_000;
/// A replica that was replaced has another address, which the others look up every 5 s, from servers that remember the one before for as
/// long. Whoever must be found while no server of names answers is looked for where it was then.
const NAMES_KNOWN_WITHIN: Duration = Duration::from_secs(15);

/// All doors know of what is to be emptied after a minute, a server that is away is lost after another, and rounds of moves begin every minute.
const MOVED_WITHIN: Duration = Duration::from_secs(400);
/// The tests are of one cluster, which each of them breaks.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What each key must hold; nothing where its deletion was acknowledged.
type Acknowledged = BTreeMap<String, Option<Vec<u8>>>;

/// Clients that write, read, write over and delete objects of their own, again and again, until told to stop.
struct Writers {
    acknowledged: Arc<Mutex<Acknowledged>>,
    done: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    /// They go from door to door: one of them will be on a machine that is cut off.
    fn start(doors: &[Door]) -> Self {
        let mut writers = Self {
            acknowledged: Arc::default(),
            done: Arc::default(),
            failed: Arc::default(),
            stop: Arc::default(),
            tasks: Vec::new(),
        };
        for writer in 0..WRITERS {
            let (acknowledged, done) = (writers.acknowledged.clone(), writers.done.clone());
            let (failed, stop) = (writers.failed.clone(), writers.stop.clone());
            let doors = doors.to_vec();
            writers.tasks.push(tokio::spawn(async move {
                // What failed may be done or not, or much later: such a key is never asked for.
                let mut unsure = BTreeSet::new();
                for (number, door) in (0u64..).zip(doors.iter().cycle()) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // Of five requests three write new keys; then the third of them is written over, and the second goes.
                    let of_key = match number % 5 {
                        3 => number - 1,
                        4 => number - 3,
                        _ => number,
                    };
                    let key = format!("{writer}/{of_key}");
                    let path = format!("e2e-load/{key}");
                    let next = (number % 5 != 4).then(|| body(writer, number));
                    // What it holds is not known before that is answered.
                    let before = acknowledged.lock().unwrap().remove(&key).flatten();
                    if let Some(before) = before {
                        // Whoever can be read at all is what it was.
                        if let Ok((200, read)) = door.get(Some(LOADER), &path).await {
                            assert!(read == before, "{key} is not what it was");
                        }
                    }
                    let answered = match next.clone() {
                        Some(body) => door.put(LOADER, &path, body).await,
                        None => door.delete(LOADER, &path).await,
                    };
                    match matches!(answered, Ok(200..=299)) {
                        true => drop(done.fetch_add(1, Ordering::Relaxed)),
                        false => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            unsure.insert(key.clone());
                        }
                    }
                    if !unsure.contains(&key) {
                        acknowledged.lock().unwrap().insert(key, next);
                    }
                }
            }));
        }
        writers
    }

    /// Waits until so many more are acknowledged: the store goes on.
    fn wait_more(&self, what: &str, more: u64) {
        let at_least = self.done.load(Ordering::Relaxed) + more;
        wait(&format!("{more} more requests acknowledged {what}"), || self.done.load(Ordering::Relaxed) >= at_least);
    }

    async fn stop(self) -> (Acknowledged, u64) {
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
    let _turn = TURN.lock().await;
    let cluster = Cluster::connect().await;
    let (door, writers) = under_load(&cluster);
    tokio::task::block_in_place(|| {
        writers.wait_more("at first", 20);
        kill(&cluster, "eddy-system", "eddy-chunkserver-1");
        writers.wait_more("after a chunkserver was killed", 50);
        kill(&cluster, "eddy-system", &leader(&cluster).0);
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
    check(&door, writers).await;
}

/// Clients that write through the doors of all machines, and one of these doors.
fn under_load(cluster: &Cluster) -> (Door, Writers) {
    let doors = ["node1", "node2", "node3"].map(|node| Door::on(cluster, node));
    tokio::task::block_in_place(|| doors[0].wait_bucket(LOADER, "e2e-load"));
    let writers = Writers::start(&doors);
    let [door, ..] = doors;
    (door, writers)
}

/// All that was acknowledged is so.
async fn check(door: &Door, writers: Writers) {
    let (acknowledged, failed) = writers.stop().await;
    for (key, expected) in &acknowledged {
        let read = door.get(Some(LOADER), &format!("e2e-load/{key}")).await.unwrap();
        let is_so = match expected {
            Some(expected) => read.0 == 200 && read.1 == *expected,
            None => read.0 == 404,
        };
        assert!(is_so, "{key} of {} acknowledged ({failed} failed) is not what it was: {}", acknowledged.len(), read.0);
    }
}

/// What the tool of whoever runs storage says, where the master runs.
fn servers(cluster: &Cluster, arguments: &[&str]) -> (bool, String) {
    let exec = ["-n", "eddy-system", "exec", "deployment/eddy-storage-master", "--", "/eddy-dataplane", "storage-server"];
    cluster.try_kubectl(&[&exec, arguments].concat(), None)
}

/// The lines of the servers at an address, each its number, state and chunks.
fn listed(cluster: &Cluster, name: &str) -> Vec<(String, String, u64)> {
    let (_, list) = servers(cluster, &["list"]);
    let lines = list.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let at = lines.filter(|fields| fields.len() > 5 && fields[1].starts_with(&format!("{name}.")));
    at.map(|fields| (fields[0].to_owned(), fields[4].to_owned(), fields[5].parse().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn chunkservers_come_are_emptied_and_are_lost_with_their_disks_while_clients_write() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::connect().await;
    let (door, writers) = under_load(&cluster);
    tokio::task::block_in_place(|| {
        writers.wait_more("at first", 20);
        system(&cluster, &["scale", "statefulset/eddy-chunkserver", "--replicas=4"]);
        all_ready(&cluster);
        wait("the fourth chunkserver", || listed(&cluster, "eddy-chunkserver-3").iter().any(|one| one.1 == "serving"));

        // What the first has goes to the fourth.
        assert!(listed(&cluster, "eddy-chunkserver-0")[0].2 > 0);
        assert!(servers(&cluster, &["drain", "eddy-chunkserver-0"]).0);
        wait_within(MOVED_WITHIN, "the first chunkserver empty", || {
            listed(&cluster, "eddy-chunkserver-0").iter().all(|one| one.1 == "empty" && one.2 == 0)
        });
        let (planned, plan) = servers(&cluster, &["plan"]);
        assert!(planned && plan.trim().is_empty(), "{plan}");
        writers.wait_more("after one was emptied", 20);
        assert!(servers(&cluster, &["use", "eddy-chunkserver-0"]).0);

        // The fourth loses its disk, and is another server from then on.
        let lost = listed(&cluster, "eddy-chunkserver-3").remove(0);
        assert!(lost.2 > 0);
        system(&cluster, &["scale", "statefulset/eddy-chunkserver", "--replicas=3"]);
        system(&cluster, &["wait", "--for=delete", "pod/eddy-chunkserver-3", "--timeout=60s"]);
        system(&cluster, &["delete", "pvc/data-eddy-chunkserver-3"]);
        system(&cluster, &["scale", "statefulset/eddy-chunkserver", "--replicas=4"]);
        all_ready(&cluster);
        wait_within(MOVED_WITHIN, "copies of what it had", || {
            let now = listed(&cluster, "eddy-chunkserver-3");
            now.iter().any(|one| one.0 == lost.0 && one.2 == 0) && now.iter().any(|one| one.0 != lost.0 && one.1 == "serving")
        });
        writers.wait_more("after one lost its disk", 20);
        assert!(!servers(&cluster, &["remove", &lost.0]).0, "it was not emptied");
        for what in ["drain", "remove"] {
            assert!(servers(&cluster, &[what, &lost.0]).0, "{what}");
        }
        assert!(listed(&cluster, "eddy-chunkserver-3").iter().all(|one| one.0 != lost.0));
    });
    check(&door, writers).await;
}
