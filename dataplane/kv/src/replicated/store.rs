//! The store that a group of replicas is.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use eddy_disk::{Disk, RealDisk, Space};
use eddy_rpc::Transport;
use futures::StreamExt;
use openraft::{BasicNode, Config, Raft, RaftMetrics, ServerState, SnapshotPolicy};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::batcher::{Batcher, write};
use super::identity::{Identity, IdentityFile};
use super::incoming::Incoming;
use super::log_store::LogStore;
use super::network::Network;
use super::options::{LogOptions, ReplicaError, ReplicatedOptions};
use super::peers::{Peers, unavailable};
use super::read_index::{ReadIndex, of_leader};
use super::room::Room;
use super::short_log::keep_short;
use super::state_machine::StateMachine;
use super::types::{Command, ImportedRow, Types};
use crate::error::{KvError, Result};
use crate::model::{Read, ReadResult, Transaction, Version, validate_reads};
use crate::protocol::PeerMessage;
use crate::store::{RowStream, Store};

/// A follower waits for `ELECTION_TIMEOUT_MAX` after it last heard of the leader, then for a time between these two, and
/// asks to lead.
const ELECTION_TIMEOUT_MIN: Duration = Duration::from_millis(300);
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(600);
const HEARTBEAT: Duration = Duration::from_millis(100);
/// A read that must wait longer for this replica to catch up is refused.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// Between tries to find out how far it must.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(50);
/// Closing waits no longer for tasks to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// A replica without others leads within this time.
const LEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// One replica of a store, which answers for all of them.
pub struct Replicated {
    raft: Raft<Types>,
    batcher: Batcher,
    read_index: ReadIndex,
    rows: StateMachine,
    incoming: Incoming,
    peers: Peers,
    room: Room,
    identity_file: IdentityFile,
    identity: RwLock<Identity>,
    changing_members: Mutex<()>,
    options: ReplicatedOptions,
    _short_log: AbortOnDropHandle<()>,
}

impl Replicated {
    /// Opens a replica without others.
    ///
    /// # Errors
    /// See [`ReplicaError`].
    pub async fn alone(options: ReplicatedOptions) -> Result<Self, ReplicaError> {
        let replica = Self::open(options, None).await?;
        let identity = replica.identity();
        let raft = |error: &dyn std::fmt::Display| ReplicaError::Raft(error.to_string());
        if identity.group.is_none() || identity.founding {
            let group = identity.group.unwrap_or_else(|| fastrand::u64(1..));
            let founded = replica.found(Identity { group: Some(group), founding: true, ..identity }).await;
            founded.map_err(|refusal| raft(&refusal))?;
        }
        // Nobody else could lead: there is nothing to wait for.
        replica.raft.trigger().elect().await.map_err(|error| raft(&error))?;
        let led = replica.raft.wait(Some(LEAD_TIMEOUT)).current_leader(identity.id, "the only replica leads").await;
        led.map_err(|error| raft(&error))?;
        Ok(replica)
    }

    /// Opens a replica of a group. It takes part once it is [served](crate::serve) and has [joined](Self::join).
    ///
    /// # Errors
    /// See [`ReplicaError`].
    pub async fn open(options: ReplicatedOptions, transport: Option<Arc<dyn Transport>>) -> Result<Self, ReplicaError> {
        Self::open_on(Arc::new(RealDisk), options, transport).await
    }

    /// The same, on any disk.
    ///
    /// # Errors
    /// See [`ReplicaError`].
    pub async fn open_on(
        disk: Arc<dyn Disk>,
        options: ReplicatedOptions,
        transport: Option<Arc<dyn Transport>>,
    ) -> Result<Self, ReplicaError> {
        let at = |source| ReplicaError::Folder { path: options.folder.clone(), source };
        disk.create_folder(&options.folder).map_err(at)?;
        let parent = options.folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        disk.sync_folder(parent).map_err(at)?;
        // The rows first: their file's lock is the others', too.
        let rows = StateMachine::open(&disk, &options.folder.join("rows"), options.cache_bytes);
        let rows = rows.map_err(|error| ReplicaError::Rows(Box::new(error)))?;
        let identity_file = IdentityFile::of(&options.folder);
        let identity = identity_file.load(&*disk);
        let wrong = |source| ReplicaError::Identity { path: identity_file.path().to_owned(), source };
        let identity = identity.map_err(wrong)?;
        let peers = Peers::new(transport);
        peers.set_group(identity.group.unwrap_or_default());
        let log = LogStore::open(disk.clone(), &options.folder.join("log"))?.purge_after(rows.durable());
        let applied = rows.applied_index().map_err(|error| ReplicaError::Rows(Box::new(error)))?;
        if applied < log.purged_index() {
            return Err(ReplicaError::RowsLost(options.folder));
        }
        // It may have voted, and others count on what its log had.
        if applied.is_some() && !log.has_voted() {
            return Err(ReplicaError::LogLost(options.folder));
        }
        log.end_leadership(identity.id)?;
        let config = Arc::new(config(options.log).validate().map_err(|error| ReplicaError::Raft(error.to_string()))?);
        let raft = Raft::new(identity.id, config, Network(peers.clone()), log.clone(), rows.clone()).await;
        let raft = raft.map_err(|error| ReplicaError::Raft(error.to_string()))?;
        let begun = raft.is_initialized().await.map_err(|error| ReplicaError::Raft(error.to_string()))?;
        if options.group.is_none() && identity.group.is_some() && !identity.founding && !begun {
            return Err(ReplicaError::LogLost(options.folder));
        }
        let (folder, reserved_bytes) = (options.folder.clone(), options.reserved_bytes);
        let room = Room { disk: disk.clone(), folder, reserved_bytes };
        Ok(Self {
            batcher: Batcher::start(raft.clone()),
            read_index: ReadIndex::start(ask_leader(raft.clone(), peers.clone())),
            _short_log: AbortOnDropHandle::new(tokio::spawn(keep_short(raft.clone(), log, options.log, room.clone()))),
            incoming: Incoming::new(disk, options.folder.join("incoming"), options.cache_bytes),
            raft,
            rows,
            peers,
            room,
            identity_file,
            identity: RwLock::new(identity),
            changing_members: Mutex::new(()),
            options,
        })
    }

    /// Ends what runs in the background; once this is dropped, the folder can be opened again. What was acknowledged is
    /// durable without it.
    pub async fn close(&self) {
        // It has ended where this fails.
        let _ = self.raft.shutdown().await;
        // openraft's tasks that have the rows end a moment after it.
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while self.rows.is_shared() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until this replica can go on no more: its disk failed. It logs who leads meanwhile.
    pub async fn broken(&self) -> KvError {
        tokio::select! {
            error = self.consensus_ended() => error,
            error = self.damaged() => error,
        }
    }

    /// Waits until rows are not what was written, and others have them. A replica that is alone is still good for all other rows.
    async fn damaged(&self) -> KvError {
        let mut damage = self.rows.damage();
        loop {
            let reason = damage.borrow_and_update().clone();
            if let Some(reason) = reason.filter(|_| self.metrics().membership_config.nodes().count() > 1) {
                return KvError::Broken { reason };
            }
            if damage.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn consensus_ended(&self) -> KvError {
        let mut metrics = self.raft.metrics();
        let mut leader_before = None;
        loop {
            let (state, leader) = {
                let metrics = metrics.borrow_and_update();
                (metrics.running_state.clone(), leader(&metrics).map(|(_, address)| address))
            };
            if let Err(error) = state {
                return KvError::Broken { reason: error.to_string() };
            }
            if leader != leader_before {
                tracing::info!(leader, "the leader changed");
                leader_before = leader;
            }
            if metrics.changed().await.is_err() {
                return KvError::Broken { reason: "consensus ended".into() };
            }
        }
    }

    /// The address of the replica that leads, as far as this one knows.
    pub(crate) fn leader(&self) -> Option<String> {
        leader(&self.metrics()).map(|(_, address)| address)
    }

    /// Whether this replica leads, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.raft.metrics().borrow().state == ServerState::Leader
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.room.disk
    }

    pub(super) fn raft(&self) -> &Raft<Types> {
        &self.raft
    }

    pub(super) fn peers(&self) -> &Peers {
        &self.peers
    }

    pub(super) fn incoming(&self) -> &Incoming {
        &self.incoming
    }

    pub(super) fn options(&self) -> &ReplicatedOptions {
        &self.options
    }

    pub(super) fn address(&self) -> &str {
        self.options.address()
    }

    pub(super) fn metrics(&self) -> RaftMetrics<u64, BasicNode> {
        self.raft.metrics().borrow().clone()
    }

    pub(super) fn identity(&self) -> Identity {
        *self.identity.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_identity(&self, identity: Identity) -> Result<()> {
        let mut current = self.identity.write().unwrap_or_else(PoisonError::into_inner);
        let broken = |error| KvError::Broken { reason: format!("failed to write who this replica is: {error}") };
        self.identity_file.save(&*self.room.disk, identity).map_err(broken)?;
        self.peers.set_group(identity.group.unwrap_or_default());
        *current = identity;
        Ok(())
    }

    /// Holds off other changes of the members.
    pub(super) async fn changing_members(&self) -> MutexGuard<'_, ()> {
        self.changing_members.lock().await
    }

    /// The room of the disk, where that is known.
    pub(crate) fn space(&self) -> Option<Space> {
        self.room.space()
    }

    /// Whether something was not done for a damaged row.
    pub(super) fn lacks_something(&self) -> Result<bool> {
        self.rows.lacks_something()
    }

    /// Makes every replica do something.
    pub(crate) async fn run(&self, command: Command) -> Result<Version> {
        if matches!(command, Command::Import { .. }) {
            self.room.check()?;
        }
        write(&self.raft, command).await?.into_result()
    }

    /// Waits until this replica has all that was acknowledged anywhere; through a change of leaders, too.
    ///
    /// # Errors
    /// [`KvError::Unavailable`] where that takes more than seconds.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        let deadline = Instant::now() + CATCH_UP_TIMEOUT;
        while let Err(error) = self.try_catch_up(deadline).await {
            if Instant::now() + CATCH_UP_PAUSE >= deadline {
                return Err(error);
            }
            tokio::time::sleep(CATCH_UP_PAUSE).await;
        }
        Ok(())
    }

    async fn try_catch_up(&self, deadline: Instant) -> Result<()> {
        let (alone, applied) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow();
            let one_voter =
                matches!(&metrics.membership_config.membership().get_joint_config()[..], [voters] if voters.len() == 1);
            let alone = one_voter && metrics.state == ServerState::Leader;
            (alone, metrics.last_applied.map(|applied| applied.index))
        };
        // The only voter knows without asking: it need not wait for who asks on behalf of all.
        let index = if alone { of_leader(&self.raft).await? } else { self.read_index.get().await? };
        if index <= applied {
            return Ok(());
        }
        let waited = self
            .raft
            .wait(Some(deadline.saturating_duration_since(Instant::now())))
            .applied_index_at_least(index, "a read")
            .await;
        waited.map(drop).map_err(|error| unavailable(&error))
    }

    async fn fill(&self, restore: Version, mut rows: RowStream<'_>) -> Result<()> {
        while let Some(batch) = rows.next().await {
            for rows in ImportedRow::in_commands(batch?) {
                self.run(Command::Import { restore, rows }).await?;
            }
        }
        Ok(())
    }
}

fn leader(metrics: &RaftMetrics<u64, BasicNode>) -> Option<(u64, String)> {
    let leader = metrics.current_leader?;
    let node = metrics.membership_config.membership().get_node(&leader)?;
    Some((leader, node.addr.clone()))
}

/// Asks whoever leads from which command on reads see all that was acknowledged.
fn ask_leader(raft: Raft<Types>, peers: Peers) -> impl Fn() -> futures::future::BoxFuture<'static, Result<Option<u64>>> {
    move || {
        let (raft, peers) = (raft.clone(), peers.clone());
        Box::pin(async move {
            let metrics = raft.metrics().borrow().clone();
            if metrics.state == ServerState::Leader {
                return of_leader(&raft).await;
            }
            let (id, address) = leader(&metrics).ok_or_else(|| unavailable(&"no replica leads"))?;
            Ok(peers.tell(id, &address, PeerMessage::ReadIndex, CATCH_UP_TIMEOUT).await?)
        })
    }
}

fn config(log: LogOptions) -> Config {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: "eddy-kv".into(),
        heartbeat_interval: milliseconds(HEARTBEAT),
        election_timeout_min: milliseconds(ELECTION_TIMEOUT_MIN),
        election_timeout_max: milliseconds(ELECTION_TIMEOUT_MAX),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(log.commands_between_snapshots),
        max_in_snapshot_log_to_keep: log.commands_kept,
        ..Config::default()
    }
}

#[async_trait]
impl Store for Replicated {
    async fn read(&self, reads: Vec<Read>) -> Result<Vec<ReadResult>> {
        validate_reads(&reads)?;
        self.catch_up().await?;
        self.rows.read(&reads)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version> {
        transaction.validate()?;
        if transaction.adds_rows() {
            self.room.check()?;
        }
        self.batcher.commit(transaction).await
    }

    async fn export(&self) -> Result<RowStream<'_>> {
        self.catch_up().await?;
        self.rows.export()
    }

    async fn import(&self, rows: RowStream<'_>) -> Result<()> {
        let restore = self.run(Command::BeginImport).await?;
        let filled = self.fill(restore, rows).await;
        let ended = self.run(Command::EndImport { restore, complete: filled.is_ok() }).await;
        filled.and(ended.map(drop))
    }
}
