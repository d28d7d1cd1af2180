//! Shards that are made of others: those of which a server lacks, or is lost.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use eddy_chunks::format::{BLOCK_BYTES, encode_blocks};
use eddy_chunkserver::{ChunkClient, ClientError, Source, WriteCall};
use eddy_kv::{Transaction, Value};
use eddy_object::ObjectError;
use eddy_object::coded::restore;
use eddy_object::placement::choose;
use eddy_object::schema::{ChunkForm, ChunkRow, Replica, Shards, chunk_key, encode};
use futures::future::try_join_all;

use crate::Master;
use crate::announced::Announced;
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

/// Sends the next bytes of a shard, whole blocks but for its last.
pub(crate) async fn send(call: &mut WriteCall, needle: u64, from: u32, data: &[u8]) -> Result<(), ClientError> {
    let mut stored = Vec::new();
    encode_blocks(needle, from / BLOCK_BYTES, data, &mut stored);
    call.send(&stored).await
}

/// Bytes of a shard, from its server.
pub(crate) async fn read(
    client: &ChunkClient,
    source: &Source,
    shards: &Shards,
    (chunk, index): (u64, usize),
    range: Range<u32>,
) -> Result<Bytes, ClientError> {
    let mut call = client.read(&source.server, source.file, shards.extent(chunk, index), range.clone()).await?;
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
        holdings: &[(Replica, Holding)],
        plan: &Plan,
    ) -> Result<Repaired, ObjectError> {
        let ChunkForm::Shards(shards) = row.form else { return Ok(Repaired::default()) };
        let places = |of: &[Replica]| -> Vec<usize> {
            (0..row.replicas.len()).filter(|place| of.contains(&row.replicas[*place])).collect()
        };
        let whole = places(&plan.whole);
        let missing = [places(&plan.lacking), places(&plan.lost)].concat();
        let taken = holdings.iter().map(|(replica, _)| replica.server).collect();
        let candidates = self.servers.candidates();
        let mut others = choose(&candidates, missing.len(), row.tier.class(), &taken, &mut fastrand::Rng::new()).into_iter();
        let (mut made, mut replicas) = (Made::default(), row.replicas.clone());
        for place in &missing {
            let same = row.replicas[*place];
            let Some(server) = others.next().or(plan.lacking.contains(&same).then_some(same.server)) else { continue };
            let Some(file) = self.announce(chunk, server).await? else { continue };
            let source = |place: &usize| Some((*place, self.servers.source(row.replicas[*place])?));
            match self.make_shard(&shards, *place, whole.iter().filter_map(source).collect(), &file).await {
                Ok(bytes) => {
                    replicas[*place] = file.replica;
                    made.files.push(file);
                    made.bytes += bytes;
                }
                Err(error) => {
                    let error = eddy_telemetry::error_chain(&error);
                    tracing::warn!(chunk, server, error, "failed to make a shard; it is tried again");
                    self.withdraw(file).await?;
                }
            }
        }
        let repaired = Repaired {
            copies: made.files.len(),
            bytes: made.bytes,
            waiting: usize::from(made.files.len() < missing.len()),
            ..Repaired::default()
        };
        if made.files.is_empty() {
            return Ok(repaired);
        }
        let next = encode(&ChunkRow { replicas, ..row.clone() })?;
        let put = Transaction::new().check(chunk_key(chunk), Some(value)).put(chunk_key(chunk), next);
        // If it changed meanwhile, the next round sees.
        let done = self.name(made.files, put).await?;
        Ok(if done { repaired } else { Repaired { waiting: 1, ..Repaired::default() } })
    }

    /// Makes one shard of others. Returns its length.
    async fn make_shard(
        &self,
        shards: &Shards,
        index: usize,
        mut sources: Vec<(usize, Source)>,
        file: &Announced,
    ) -> Result<u64, ShardError> {
        fastrand::shuffle(&mut sources);
        sources.truncate(usize::from(shards.data));
        let (chunk, target, id) = (file.chunk, &file.target.server, file.target.id(file.chunk));
        self.client.create(target, id).await?;
        let extent = shards.extent(chunk, index);
        let mut call = self.client.write(target, id.file, extent, &[]).await?;
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
        self.client.close(target, id).await?;
        Ok(u64::from(extent.bytes))
    }
}
