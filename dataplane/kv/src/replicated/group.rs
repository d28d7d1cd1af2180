//! How replicas become a group: one founds it, the others ask whoever leads to take them in.
//!
//! A group is founded only by the replica whose address is the least, and only when every other can be asked and belongs to no
//! group: one that has lost its disk finds the others' group and asks to be taken in, as a new replica in the place of the one
//! that it was. So nothing is ever counted that a replica promised before it forgot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::error::{InitializeError, RaftError};
use openraft::{BasicNode, ChangeMembers, RaftMetrics};

use super::identity::Identity;
use super::peers::unavailable;
use super::store::Replicated;
use crate::error::{KvError, Result};
use crate::protocol::{Joining, Member, Refusal, Request, Status};

/// How long another replica may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it takes at most to take a replica in; it may have to be sent all rows.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(1800);
/// Between tries to become a member.
const PAUSE: Duration = Duration::from_millis(200);

impl Replicated {
    /// Becomes a member of the group, or founds it; until then it tries again and again.
    pub async fn join(&self) {
        let mut last = String::new();
        while let Err(refusal) = self.try_join().await {
            let reason = refusal.to_string();
            if reason != last {
                tracing::info!(reason, "not a member of the group yet");
                last = reason;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_join(&self) -> Result<(), Refusal> {
        let identity = self.identity();
        let Some(group) = identity.group else { return self.find_group(identity).await };
        if identity.founding {
            return self.found(identity).await;
        }
        let joining = Joining { group, id: identity.id, address: self.address().to_owned(), voter: !self.options().is_standby() };
        if self.leads() {
            return self.admit(&joining).await;
        }
        let mut leader = self.leader();
        for status in self.ask_others().await.into_iter().filter_map(Result::ok) {
            leader = leader.or(status.leader);
        }
        let leader = leader.ok_or_else(|| unavailable(&"no replica leads"))?;
        self.peers().ask(&leader, &Request::Join(joining), ADMISSION_TIMEOUT).await
    }

    /// Finds out which group there is; then it is tried again.
    async fn find_group(&self, identity: Identity) -> Result<(), Refusal> {
        let answers = self.ask_others().await;
        let mut groups: BTreeSet<u64> = answers.iter().flatten().filter_map(|status| status.group).collect();
        if let Some(group) = groups.pop_first() {
            if let Some(other) = groups.pop_first() {
                return Err(unavailable(&format!("the others belong to two groups, {group} and {other}")).into());
            }
            self.set_identity(Identity { group: Some(group), ..identity })?;
            return Err(unavailable(&"it has just found the group").into());
        }
        if let Some(refusal) = answers.into_iter().find_map(Result::err) {
            return Err(refusal);
        }
        let first = self.options().others().all(|other| self.address() < other);
        if !first || self.options().is_standby() {
            return Err(unavailable(&"there is no group, and another replica is to found it").into());
        }
        self.found(Identity { group: Some(fastrand::u64(1..)), founding: true, ..identity }).await
    }

    /// Founds a group of one.
    pub(super) async fn found(&self, identity: Identity) -> Result<(), Refusal> {
        self.set_identity(identity)?;
        let members = BTreeMap::from([(identity.id, BasicNode::new(self.address()))]);
        match self.raft().initialize(members).await {
            // It was before a crash.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(unavailable(&error).into()),
        }
        self.set_identity(Identity { founding: false, ..identity })?;
        Ok(())
    }

    async fn ask_others(&self) -> Vec<Result<Status, Refusal>> {
        let asked = self.options().others().map(|other| self.peers().ask(other, &Request::Status, STATUS_TIMEOUT));
        futures::future::join_all(asked).await
    }

    /// Takes a replica in, as the leader.
    pub(crate) async fn admit(&self, joining: &Joining) -> Result<(), Refusal> {
        if self.identity().group != Some(joining.group) {
            return Err(Refusal::NotMe);
        }
        let _alone = self.changing_members().await;
        if self.lacks_something()? {
            // The newcomer would do what this one could not, and be another store from then on.
            return Err(
                unavailable(&"a row of this store is damaged: salvage it or restore a backup before replicas are added").into()
            );
        }
        let Joining { id, address, voter, .. } = joining;
        let before = Members::of(&self.metrics());
        let node = BTreeMap::from([(*id, BasicNode::new(address))]);
        match before.nodes.get(id) {
            None => {
                let added = self.raft().add_learner(*id, BasicNode::new(address), true).await;
                added.map_err(|error| unavailable(&error))?;
                tracing::info!(id, address, "a replica was taken in");
            }
            Some(known) if known != address => self.change(ChangeMembers::SetNodes(node)).await?,
            Some(_) => {}
        }
        // Whoever had the address before is not there any more.
        let gone: BTreeSet<u64> =
            before.nodes.iter().filter(|(other, known)| *other != id && *known == address).map(|(id, _)| *id).collect();
        let mut voters: BTreeSet<u64> = before.voters.difference(&gone).copied().collect();
        if *voter {
            voters.insert(*id);
        }
        self.set_voters(&before, voters).await?;
        self.forget(gone).await
    }

    /// Ends a replica's membership, as the leader.
    pub(crate) async fn dismiss(&self, address: &str) -> Result<(), Refusal> {
        let _alone = self.changing_members().await;
        let before = Members::of(&self.metrics());
        let gone: BTreeSet<u64> = before.nodes.iter().filter(|(_, known)| *known == address).map(|(id, _)| *id).collect();
        if gone.is_empty() {
            return Err(Refusal::Malformed(format!("no replica has the address {address}")));
        }
        let voters: BTreeSet<u64> = before.voters.difference(&gone).copied().collect();
        if voters.is_empty() {
            return Err(Refusal::Malformed(format!("{address} is the only voter")));
        }
        self.set_voters(&before, voters).await?;
        self.forget(gone).await
    }

    async fn set_voters(&self, before: &Members, voters: BTreeSet<u64>) -> Result<(), Refusal> {
        if voters == before.voters {
            return Ok(());
        }
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    async fn forget(&self, gone: BTreeSet<u64>) -> Result<(), Refusal> {
        let known = Members::of(&self.metrics()).nodes;
        let gone: BTreeSet<u64> = gone.into_iter().filter(|id| known.contains_key(id)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.change(ChangeMembers::RemoveNodes(gone)).await
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>) -> Result<(), Refusal> {
        tracing::info!(?change, "changing the members");
        self.raft().change_membership(change, false).await.map(drop).map_err(|error| unavailable(&error).into())
    }

    /// How this replica is.
    pub fn status(&self) -> Status {
        let metrics = self.metrics();
        let identity = self.identity();
        let Members { nodes, voters } = Members::of(&metrics);
        Status {
            id: identity.id,
            group: identity.group.filter(|_| !identity.founding),
            leader: metrics.current_leader.and_then(|leader| nodes.get(&leader).cloned()),
            term: metrics.current_term,
            applied: metrics.last_applied.map(|applied| applied.index),
            last: metrics.last_log_index,
            members: nodes.into_iter().map(|(id, address)| Member { id, address, voter: voters.contains(&id) }).collect(),
        }
    }
}

/// The members as the log last says.
struct Members {
    nodes: BTreeMap<u64, String>,
    voters: BTreeSet<u64>,
}

impl Members {
    fn of(metrics: &RaftMetrics<u64, BasicNode>) -> Self {
        let membership = metrics.membership_config.membership();
        Self {
            nodes: membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect(),
            voters: membership.voter_ids().collect(),
        }
    }
}

impl From<Refusal> for KvError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Store(error) => error,
            other => unavailable(&other),
        }
    }
}
