//! Shards that are made of others: those of which a server lacks, or is lost.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use eddy_chunks::format::{BLOCK_BYTES, encode_blocks};
use eddy_chunkserver::{ChunkClient, ClientError, Refusal, ServerAddress, WriteCall};
use eddy_kv::{KvError, Transaction, Value};
use eddy_object::ObjectError;
use eddy_object::coded::restore;
use eddy_object::placement::choose;
use eddy_object::schema::{ChunkForm, ChunkRow, Shards, chunk_key, encode, stray_key};
use futures::future::try_join_all;

use crate::Master;
use crate::plan::{Holding, Plan};
use crate::repair::{Made, Repaired};

/// Bytes of a shard that are made at once: whole units of the code.
pub(crate) const PIECE_BYTES: u32 = 16 * BLOCK_BYTES;

/// Why a shard is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShardError {
    /// A server did not give or take it.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// Others do not make it.
    #[error(transparent)]
    Code(#[from] ObjectError),
}

/// The pieces of a shard, in their order.
pub(crate) fn pieces(shards: &Shards) -> impl Iterator<Item = Range<u32>> + use<> {
    let length = shards.shard_bytes();
    (0..length).step_by(PIECE_BYTES as usize).map(move |from| from..length.min(from + PIECE_BYTES))
}

/// Makes a chunk on a server, in the place of what it has of it. Returns the epoch that writes to it must name.
pub(crate) async fn create_anew(client: &ChunkClient, target: &ServerAddress, chunk: u64) -> Result<u64, ClientError> {
    match client.create(target, chunk).await {
        Err(ClientError::Refused { source: Refusal::Exists, .. }) => {
            client.remove(target, chunk).await?;
            client.create(target, chunk).await
        }
        made => made,
    }
}

/// Sends the next bytes of a shard, whole blocks but for its last.
pub(crate) async fn send(call: &mut WriteCall, needle: u64, from: u32, data: &[u8]) -> Result<(), ClientError> {
    let mut stored = Vec::new();
    encode_blocks(needle, from / BLOCK_BYTES, data, &mut stored);
    call.send(&stored).await
}

/// Bytes of a shard, from its server.
pub(crate) async fn read(
    client: &ChunkClient,
    source: &ServerAddress,
    shards: &Shards,
    (chunk, index): (u64, usize),
    range: Range<u32>,
) -> Result<Bytes, ClientError> {
    let mut call = client.read(source, shards.extent(chunk, index), range.clone()).await?;
    let mut bytes = BytesMut::with_capacity(range.len());
    while let Some(block) = call.next().await? {
        bytes.extend_from_slice(&block);
    }
    Ok(bytes.freeze())
}

impl Master {
    /// Whether somebody needs a chunk of which something is lacking: shards are needed once the chunk that they are of says so, and what
    /// is coded is needed as shards.
    pub(crate) async fn is_in_use(&self, chunk: u64, row: &ChunkRow) -> Result<bool, ObjectError> {
        Ok(match &row.form {
            ChunkForm::Whole => true,
            ChunkForm::Coded(_) => false,
            ChunkForm::Shards(shards) => {
                let of = self.metadata.chunk(shards.of).await?;
                of.is_some_and(|of| of.form == ChunkForm::Coded(chunk))
            }
        })
    }

    /// Makes the shards that are missing, each on a server that has none, or where there is no such, on the one that lacks it.
    pub(crate) async fn repair_shards(
        &self,
        chunk: u64,
        row: &ChunkRow,
        value: &Value,
        holdings: &[(u64, Holding)],
        plan: &Plan,
    ) -> Result<Repaired, ObjectError> {
        let ChunkForm::Shards(shards) = row.form else { return Ok(Repaired::default()) };
        let places =
            |of: &[u64]| -> Vec<usize> { (0..row.servers.len()).filter(|place| of.contains(&row.servers[*place])).collect() };
        let whole = places(&plan.whole);
        let missing = [places(&plan.lacking), places(&plan.lost)].concat();
        let taken = holdings.iter().map(|(server, _)| *server).collect();
        let candidates = self.servers.candidates();
        let mut others = choose(&candidates, missing.len(), row.tier.class(), &taken, &mut fastrand::Rng::new()).into_iter();
        let (mut made, mut servers) = (Made::default(), row.servers.clone());
        for place in &missing {
            let same = row.servers[*place];
            let Some(target) = others.next().or(plan.lacking.contains(&same).then_some(same)) else { continue };
            let Some(address) = self.servers.address(target) else { continue };
            let Some(stray) = self.may_have(target, chunk).await? else { continue };
            let sources: Vec<(usize, ServerAddress)> =
                whole.iter().filter_map(|place| Some((*place, self.servers.address(row.servers[*place])?))).collect();
            match self.make_shard(chunk, &shards, *place, sources, &address).await {
                Ok(bytes) => {
                    servers[*place] = target;
                    made.servers.push(target);
                    made.strays.push((stray_key(target, chunk), stray));
                    made.bytes += bytes;
                }
                Err(error) => {
                    let error = eddy_telemetry::error_chain(&error);
                    tracing::warn!(chunk, server = target, error, "failed to make a shard; it is tried again");
                }
            }
        }
        let repaired = Repaired {
            copies: made.servers.len(),
            bytes: made.bytes,
            waiting: usize::from(made.servers.len() < missing.len()),
            ..Repaired::default()
        };
        if servers == row.servers {
            return Ok(repaired);
        }
        let next = encode(&ChunkRow { servers, ..row.clone() })?;
        let put = Transaction::new().check(chunk_key(chunk), Some(value)).put(chunk_key(chunk), next);
        match self.metadata.store().commit(made.say_they_have(put)).await {
            // It changed meanwhile: the next round sees.
            Err(KvError::Conflict { .. }) => Ok(Repaired { waiting: 1, ..Repaired::default() }),
            done => done.map(|_| repaired).map_err(Into::into),
        }
    }

    /// Makes one shard of others. Returns its length.
    async fn make_shard(
        &self,
        chunk: u64,
        shards: &Shards,
        index: usize,
        mut sources: Vec<(usize, ServerAddress)>,
        target: &ServerAddress,
    ) -> Result<u64, ShardError> {
        fastrand::shuffle(&mut sources);
        sources.truncate(usize::from(shards.data));
        let epoch = create_anew(&self.client, target, chunk).await?;
        let extent = shards.extent(chunk, index);
        let mut call = self.client.write(target, epoch, extent, &[]).await?;
        for piece in pieces(shards) {
            self.repair_pace.spend(piece.len() as u64).await;
            let reads = sources.iter().map(|(other, source)| {
                let range = piece.clone();
                async move { Ok::<_, ClientError>((*other, read(&self.client, source, shards, (chunk, *other), range).await?)) }
            });
            let others = try_join_all(reads).await?;
            send(&mut call, extent.needle, piece.start, &restore(shards, index, &others)?).await?;
        }
        call.finish().await?;
        self.client.close(target, chunk).await?;
        Ok(u64::from(extent.bytes))
    }
}
