//! Storage in the cluster, through its doors, while processes are killed and a machine is cut off: what was acknowledged is there.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eddy_e2e::{
    Cluster, Door, LOADER, chunkservers, cluster_tool, kill, repository, storage_ready, storage_server, system, wait, wait_within,
};

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
                        // Where it cannot be read now, nobody says that it is not there; whoever can be read is what it was.
                        if let Ok((status, read)) = door.get(Some(LOADER), &path).await {
                            assert!(status != 404, "{key} was acknowledged, and is not there");
                            assert!(status != 200 || read == before, "{key} is not what it was");
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
        storage_ready(&cluster);
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
        // Whatever comes next finds the machine, and names.
        cluster.kubectl(&["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s"]);
        cluster.kubectl(&["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s"]);
        storage_ready(&cluster);
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn chunkservers_come_are_emptied_and_are_lost_with_their_disks_while_clients_write() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::connect().await;
    let (door, writers) = under_load(&cluster);
    tokio::task::block_in_place(|| {
        writers.wait_more("at first", 20);
        system(&cluster, &["scale", "statefulset/eddy-chunkserver", "--replicas=4"]);
        storage_ready(&cluster);
        wait("the fourth chunkserver", || chunkservers(&cluster, "eddy-chunkserver-3").iter().any(|one| one.state == "serving"));

        for pod in ["eddy-chunkserver-0", "eddy-chunkserver-3"] {
            let node = system(&cluster, &["get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"]);
            assert_eq!(chunkservers(&cluster, pod)[0].domain, node, "what fails as one with {pod}");
        }

        // What the first has goes to the fourth.
        assert!(chunkservers(&cluster, "eddy-chunkserver-0")[0].chunks > 0);
        assert!(storage_server(&cluster, &["drain", "eddy-chunkserver-0"]).0);
        wait_within(MOVED_WITHIN, "the first chunkserver empty", || {
            chunkservers(&cluster, "eddy-chunkserver-0").iter().all(|one| one.state == "empty" && one.chunks == 0)
        });
        // A chunk that a door began meanwhile may be where there was room just then, and moves once more.
        wait_within(MOVED_WITHIN, "nothing left to move", || {
            let (planned, plan) = storage_server(&cluster, &["plan"]);
            // Of what was written while a server was away, two copies may be on one machine until nobody writes to its chunk.
            planned && plan.lines().all(|line| line.contains(" more once "))
        });
        writers.wait_more("after one was emptied", 20);
        assert!(storage_server(&cluster, &["use", "eddy-chunkserver-0"]).0);

        // The fourth loses its disk, and is another server from then on.
        let lost = chunkservers(&cluster, "eddy-chunkserver-3").remove(0);
        assert!(lost.chunks > 0);
        system(&cluster, &["scale", "statefulset/eddy-chunkserver", "--replicas=3"]);
        system(&cluster, &["wait", "--for=delete", "pod/eddy-chunkserver-3", "--timeout=60s"]);
        system(&cluster, &["delete", "pvc/data-eddy-chunkserver-3"]);
        assert!(!storage_server(&cluster, &["remove", &lost.number]).0, "what it has is nowhere else yet");
        system(&cluster, &["scale", "statefulset/eddy-chunkserver", "--replicas=4"]);
        storage_ready(&cluster);
        wait_within(MOVED_WITHIN, "copies of what it had", || {
            let now = chunkservers(&cluster, "eddy-chunkserver-3");
            now.iter().any(|one| one.number == lost.number && one.chunks == 0)
                && now.iter().any(|one| one.number != lost.number && one.state == "serving")
        });
        writers.wait_more("after one lost its disk", 20);
        assert!(!storage_server(&cluster, &["remove", &lost.number]).0, "it was not emptied");
        for what in ["drain", "remove"] {
            assert!(storage_server(&cluster, &[what, &lost.number]).0, "{what}");
        }
        assert!(chunkservers(&cluster, "eddy-chunkserver-3").iter().all(|one| one.number != lost.number));
    });
    check(&door, writers).await;
}

/// As an upgrade does. A door that ends is given no request any more, so none fails for that; who asked a replica of the store, or a chunkserver, that
/// ended asks another.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn all_parts_are_replaced_while_clients_write_and_doors_fail_no_request() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::connect().await;
    let (door, writers) = under_load(&cluster);
    let replace = |part: &str| {
        system(&cluster, &["rollout", "restart", part]);
        system(&cluster, &["rollout", "status", part, "--timeout=180s"]);
        writers.wait_more(&format!("after {part} was replaced"), 20);
    };
    tokio::task::block_in_place(|| {
        writers.wait_more("at first", 20);
        replace("deployment/eddy-storage-door");
        assert_eq!(writers.failed.load(Ordering::Relaxed), 0, "requests failed while doors were replaced");
        for part in ["deployment/eddy-storage-master", "statefulset/eddy-chunkserver", "statefulset/eddy-kv"] {
            replace(part);
        }
        storage_ready(&cluster);
    });
    check(&door, writers).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn a_backup_comes_out_of_a_pod_that_has_no_shell_and_is_whole() {
    let cluster = Cluster::connect().await;
    let door = Door::on(&cluster, "node1");
    tokio::task::block_in_place(|| door.wait_bucket(LOADER, "e2e-load"));
    let backup =
        cluster.kubectl_bytes(&["-n", "eddy-system", "exec", "eddy-kv-0", "--", "/eddy-dataplane", "kv", "backup", "--file=-"]);
    let file = repository().join(".eddy/e2e-backup");
    std::fs::write(&file, &backup).unwrap();
    let program = std::env::var("CARGO_TARGET_DIR").unwrap() + "/release/eddy-dataplane";
    let verified = Command::new(program).args(["kv", "verify", &format!("--file={}", file.display())]).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
