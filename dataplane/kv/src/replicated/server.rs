//! A replica as others meet it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eddy_rpc::{Handler, Listener, Parts, ServerLimits};
use futures::StreamExt;
use openraft::Snapshot;
use serde::Serialize;

use super::peers::unavailable;
use super::read_index::of_leader;
use super::store::Replicated;
use super::types::Command;
use crate::error::{KvError, Result};
use crate::protocol::{Envelope, PeerMessage, Refusal, Request, SnapshotPart, decode, encode};
use crate::store::Store;

/// A transaction that takes longer was lost with the leader, or will be found by who looks.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers for a replica, until it is dropped.
pub async fn serve(listener: Box<dyn Listener>, replica: Arc<Replicated>) {
    eddy_rpc::serve(listener, Arc::new(Server(replica)), ServerLimits::default()).await;
}

struct Server(Arc<Replicated>);

#[async_trait]
impl Handler for Server {
    async fn answer(&self, request: Bytes, parts: &Parts) -> Bytes {
        let answered = match decode(&request) {
            Ok(request) => self.handle(request, parts).await,
            Err(refusal) => Err(refusal),
        };
        // An answer that cannot be written is none.
        answered.or_else(|refusal| encode(&Err::<(), _>(refusal))).unwrap_or_default()
    }
}

/// A good answer, as it is sent.
fn good<T: Serialize>(answer: T) -> Result<Bytes, Refusal> {
    Ok(encode(&Ok::<T, Refusal>(answer))?)
}

impl Server {
    async fn handle(&self, request: Request, parts: &Parts) -> Result<Bytes, Refusal> {
        let replica = &self.0;
        match request {
            Request::Read(reads) => good(replica.read(reads).await?),
            Request::Export => self.export(parts).await,
            Request::Status => good(replica.status()),
            Request::Peer(envelope) => self.peer(envelope).await,
            // What follows is for the leader only.
            _ if !replica.leads() => Err(Refusal::NotLeader { leader: replica.leader() }),
            Request::Commit(transaction) => {
                let late = |_| KvError::Unknown { reason: format!("nothing came of it for {COMMIT_TIMEOUT:?}") };
                good(tokio::time::timeout(COMMIT_TIMEOUT, replica.commit(transaction)).await.map_err(late)??)
            }
            Request::BeginImport => good(replica.run(Command::BeginImport).await?),
            Request::Import { restore, rows } => good(replica.run(Command::Import { restore, rows }).await.map(drop)?),
            Request::EndImport { restore, complete } => {
                good(replica.run(Command::EndImport { restore, complete }).await.map(drop)?)
            }
            Request::Join(joining) => good(replica.admit(&joining).await?),
            Request::Remove(address) => good(replica.dismiss(&address).await?),
        }
    }

    async fn export(&self, parts: &Parts) -> Result<Bytes, Refusal> {
        let mut batches = self.0.export().await?;
        while let Some(batch) = batches.next().await {
            let gone = |gone: eddy_rpc::Gone| unavailable(&gone);
            parts.send(good(batch?)?).await.map_err(gone)?;
        }
        good(Vec::<crate::Row>::new())
    }

    async fn peer(&self, Envelope { group, to, message }: Envelope) -> Result<Bytes, Refusal> {
        let identity = self.0.identity();
        if identity.group != Some(group) || identity.id != to {
            return Err(Refusal::NotMe);
        }
        match message {
            PeerMessage::Append(request) => good(self.0.raft().append_entries(request).await),
            PeerMessage::Vote(request) => good(self.0.raft().vote(request).await),
            PeerMessage::ReadIndex => good(of_leader(self.0.raft()).await?),
            PeerMessage::Snapshot(transfer, part) => self.snapshot(transfer, part).await,
        }
    }

    async fn snapshot(&self, transfer: u64, part: SnapshotPart) -> Result<Bytes, Refusal> {
        let replica = self.0.clone();
        let on_disk = eddy_disk::run(self.0.disk(), move || {
            let incoming = replica.incoming();
            match part {
                SnapshotPart::Begin => incoming.begin(transfer).map(|()| None),
                SnapshotPart::Rows(rows) => incoming.add(transfer, &rows).map(|()| None),
                SnapshotPart::End { vote, meta, state } => Ok(Some((vote, meta, incoming.end(transfer, &state)?))),
            }
        });
        let Some((vote, meta, rows)) = on_disk.await.map_err(|error| unavailable(&error))?? else { return good(()) };
        good(self.0.raft().install_full_snapshot(vote, Snapshot { meta, snapshot: Box::new(rows) }).await)
    }
}
