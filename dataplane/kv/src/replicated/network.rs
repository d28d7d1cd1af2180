//! What consensus says to other replicas.

use std::time::Duration;

use openraft::error::{Fatal, NetworkError, RPCError, RaftError, RemoteError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{BasicNode, OptionalSend, Snapshot, Vote};
use serde::de::DeserializeOwned;

use super::peers::Peers;
use super::types::Types;
use crate::protocol::{PeerMessage, Refusal, SnapshotPart};

/// A replica that cannot be reached is tried again after this time.
const PAUSE: Duration = Duration::from_millis(100);
/// One part of a snapshot takes no longer, and its installation.
const PART_TIMEOUT: Duration = Duration::from_secs(10);
const INSTALL_TIMEOUT: Duration = Duration::from_secs(1800);

/// Makes the way to each of the others.
pub(super) struct Network(pub(super) Peers);

/// The way to one of them.
pub(super) struct Way {
    peers: Peers,
    to: u64,
    address: String,
}

type RpcResult<T> = Result<T, RPCError<u64, BasicNode, RaftError<u64>>>;

impl RaftNetworkFactory<Types> for Network {
    type Network = Way;

    async fn new_client(&mut self, to: u64, node: &BasicNode) -> Way {
        Way { peers: self.0.clone(), to, address: node.addr.clone() }
    }
}

impl Way {
    async fn tell<T: DeserializeOwned>(&self, message: PeerMessage, timeout: Duration) -> Result<T, Refusal> {
        self.peers.tell(self.to, &self.address, message, timeout).await
    }

    async fn consult<T: DeserializeOwned>(&self, message: PeerMessage, option: &RPCOption) -> RpcResult<T> {
        let answered: Result<Result<T, RaftError<u64>>, Refusal> = self.tell(message, option.hard_ttl()).await;
        let answered = answered.map_err(|refusal| Unreachable::new(&refusal))?;
        answered.map_err(|error| RemoteError::new(self.to, error).into())
    }

    async fn send_snapshot(
        &self,
        vote: Vote<u64>,
        snapshot: Snapshot<Types>,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        let way = Self { peers: self.peers.apart(), to: self.to, address: self.address.clone() };
        let transfer = fastrand::u64(..);
        let part = |part| PeerMessage::Snapshot(transfer, part);
        let unreachable = |refusal: Refusal| Unreachable::new(&refusal);
        let failed = |error: crate::KvError| NetworkError::new(&error);
        let () = way.tell(part(SnapshotPart::Begin), PART_TIMEOUT).await.map_err(unreachable)?;
        let state = snapshot.snapshot.state().map_err(failed)?;
        let mut batches = snapshot.snapshot.into_rows();
        while let Some(batch) = futures::StreamExt::next(&mut batches).await {
            let rows = batch.map_err(failed)?;
            let () = way.tell(part(SnapshotPart::Rows(rows)), PART_TIMEOUT).await.map_err(unreachable)?;
        }
        let end = SnapshotPart::End { vote, meta: snapshot.meta, state };
        let installed: Result<SnapshotResponse<u64>, Fatal<u64>> =
            way.tell(part(end), INSTALL_TIMEOUT).await.map_err(unreachable)?;
        installed.map_err(|error| StreamingError::RemoteError(RemoteError::new(self.to, error)))
    }
}

impl RaftNetwork<Types> for Way {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<u64>> {
        self.consult(PeerMessage::Append(request), &option).await
    }

    async fn vote(&mut self, request: VoteRequest<u64>, option: RPCOption) -> RpcResult<VoteResponse<u64>> {
        self.consult(PeerMessage::Vote(request), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot) => sent,
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(PAUSE))
    }
}
