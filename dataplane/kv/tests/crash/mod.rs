//! kill -9 at any moment loses nothing that was acknowledged and leaves nothing half-done.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use eddy_kv::{KeyRange, Scan, Store, Transaction};

use crate::open_at;

/// Set for the process that is killed: where its store is.
const VICTIM: &str = "EDDY_KV_CRASH_STORE";
const ROUNDS: u64 = 12;
const WRITERS: u64 = 16;

#[test]
fn a_process_that_is_killed_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        acknowledged.extend(run_and_kill(&path, 10 + 40 * round as usize));
        let rows = tokio::runtime::Runtime::new().unwrap().block_on(rows(&path));
        for number in &acknowledged {
            assert!(rows.contains(&format!("a/{number}")), "{number} was acknowledged in round {round} or before and is lost");
        }
        // Each transaction writes two rows.
        let (first, second): (Vec<_>, Vec<_>) = rows.iter().partition(|key| key.starts_with("a/"));
        assert!(first.iter().map(|key| &key[2..]).eq(second.iter().map(|key| &key[2..])), "half a transaction is there");
    }
}

/// What the victim acknowledged before it was killed, after this many acknowledgements at the earliest.
fn run_and_kill(path: &Path, after: usize) -> Vec<String> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["crash::the_victim", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(VICTIM, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let acknowledged = |line: std::io::Result<String>| line.unwrap().strip_prefix("acknowledged ").map(str::to_owned);
    let mut numbers: Vec<String> = lines.by_ref().filter_map(acknowledged).take(after).collect();
    assert_eq!(numbers.len(), after, "the victim ended before it was killed");
    victim.kill().unwrap();
    victim.wait().unwrap();
    // What it said before it heard of its end.
    numbers.extend(lines.filter_map(acknowledged));
    numbers
}

async fn rows(path: &Path) -> Vec<String> {
    let store = open_at(path).await;
    let (mut rows, mut range) = (Vec::new(), KeyRange::all());
    loop {
        let page = store.scan(Scan::new(range.clone(), 1000)).await.unwrap();
        rows.extend(page.rows.iter().map(|row| String::from_utf8(row.key.to_vec()).unwrap()));
        let Some(last) = page.rows.last().filter(|_| page.more) else { return rows };
        range.start = [last.key.as_ref(), b"\0"].concat().into();
    }
}

/// Not a test: the process that is killed. It says what is acknowledged.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above"]
async fn the_victim() {
    let Some(path) = std::env::var_os(VICTIM) else { return };
    let store = open_at(Path::new(&path)).await;
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(write(store.clone()))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn write(store: Arc<dyn Store>) {
    loop {
        let number = fastrand::u64(..);
        let transaction = Transaction::new().put(format!("a/{number:020}"), vec![1; 100]).put(format!("b/{number:020}"), "");
        store.commit(transaction).await.unwrap();
        let mut output = std::io::stdout().lock();
        writeln!(output, "acknowledged {number:020}").unwrap();
        output.flush().unwrap();
    }
}
