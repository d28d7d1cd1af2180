//! Replicas of one store, each with a folder and a port, that come and go.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eddy_kv::{GroupOptions, LogOptions, Remote, Replicated, ReplicatedOptions, serve};
use eddy_rpc::{TcpTransport, Transport};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

use crate::reserved::reserved;

pub(crate) struct Group {
    pub(crate) folder: TempDir,
    pub(crate) addresses: Vec<String>,
    /// Addresses beyond this are standbys.
    pub(crate) voters: usize,
    running: Vec<Option<Running>>,
    // Taken for as long as the group is.
    _sockets: Vec<TcpSocket>,
}

struct Running {
    replica: Arc<Replicated>,
    tasks: [JoinHandle<()>; 2],
}

impl Group {
    /// None of them runs yet.
    pub(crate) fn new(voters: usize, standbys: usize) -> Self {
        let sockets: Vec<TcpSocket> = (0..voters + standbys).map(|_| reserved()).collect();
        let mut addresses: Vec<String> = sockets.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect();
        addresses.sort_unstable();
        let running = addresses.iter().map(|_| None).collect();
        Self { folder: tempfile::tempdir().unwrap(), addresses, voters, running, _sockets: sockets }
    }

    pub(crate) async fn started(voters: usize, standbys: usize) -> Self {
        let mut group = Self::new(voters, standbys);
        for number in 0..voters + standbys {
            group.start(number).await;
        }
        group.wait_until_whole().await;
        group
    }

    pub(crate) fn folder_of(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    pub(crate) async fn start(&mut self, number: usize) {
        let group = GroupOptions {
            advertise: self.addresses[number].clone(),
            peers: self.addresses.clone(),
            standby: number >= self.voters,
        };
        let options = ReplicatedOptions {
            folder: self.folder_of(number),
            cache_bytes: 1024 * 1024,
            reserved_bytes: 0,
            log: LogOptions { commands_between_snapshots: 100, commands_kept: 10, ..LogOptions::default() },
            group: Some(group),
        };
        let replica = Arc::new(Replicated::open(options, Some(Arc::new(TcpTransport::default()))).await.unwrap());
        let listener = TcpTransport::default().bind(self.addresses[number].parse().unwrap()).await.unwrap();
        let joining = replica.clone();
        let tasks = [tokio::spawn(serve(listener, replica.clone())), tokio::spawn(async move { joining.join().await })];
        self.running[number] = Some(Running { replica, tasks });
    }

    /// Ends a replica without a word to the others.
    pub(crate) async fn stop(&mut self, number: usize) {
        let Running { replica, tasks } = self.running[number].take().unwrap();
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        replica.close().await;
        // Its file is free when the last task that held it has ended.
        let mut replica = replica;
        while let Err(held) = Arc::try_unwrap(replica) {
            replica = held;
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn replica(&self, number: usize) -> &Arc<Replicated> {
        &self.running[number].as_ref().unwrap().replica
    }

    pub(crate) fn client(&self) -> Remote {
        Remote::new(Arc::new(TcpTransport::default()), &self.addresses)
    }

    /// One who knows of one replica.
    pub(crate) fn client_of(&self, number: usize) -> Remote {
        Remote::new(Arc::new(TcpTransport::default()), &self.addresses[number..=number])
    }

    /// The number of the one that leads, once all that run agree.
    pub(crate) async fn leader(&self) -> usize {
        until("all agree on who leads", async || {
            let leaders = self.running.iter().flatten().map(|running| running.replica.status().leader);
            let mut leaders: Vec<Option<String>> = leaders.collect();
            leaders.dedup();
            let [Some(leader)] = &leaders[..] else { return None };
            let number = self.addresses.iter().position(|address| address == leader)?;
            self.running[number].is_some().then_some(number)
        })
        .await
    }

    /// Every replica that runs knows of all, and who votes.
    pub(crate) async fn wait_until_whole(&self) {
        until("the group is whole", async || {
            let whole = self.running.iter().flatten().all(|running| {
                let status = running.replica.status();
                let voters = status.members.iter().filter(|member| member.voter).count();
                status.leader.is_some() && status.members.len() == self.addresses.len() && voters == self.voters
            });
            whole.then_some(())
        })
        .await;
    }
}

pub(crate) async fn until<T>(what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            if let Some(found) = holds().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited for 60 s until {what}"))
}
