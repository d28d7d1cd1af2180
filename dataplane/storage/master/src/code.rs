//! Chunks that are erasure coded: those whose tier says so, and that nobody writes to any more.
//!
//! Shards are a chunk of their own, which is written, then read back and decoded, and only then does one transaction say that the chunk
//! is coded. It checks that nobody came to need, or ceased to need, a needle since the needles were read. What servers have of whole
//! copies is collected as whatever no row names.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eddy_chunks::Extent;
use eddy_chunks::format::encode_needle;
use eddy_chunkserver::{Source, WriteCall};
use eddy_kv::{KvError, Transaction};
use eddy_object::coded::{parity_of, restore};
use eddy_object::placement::choose_for_shards;
use eddy_object::schema::{ChunkForm, ChunkRow, DegradedRow, Replica, Shards, chunk_key, degraded_key, encode, live_key};
use eddy_object::{ObjectError, now_ms};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};

use crate::Master;
use crate::chunks::{all, degraded, needed};
use crate::shards::{ShardError, pieces, read, send};

/// Needles of a chunk that are read at once.
const NEEDLES_AT_ONCE: usize = 4;

/// What a round of coding did, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coded {
    /// Chunks that were coded.
    pub chunks: usize,
    /// Bytes of their shards.
    pub bytes: u64,
    /// Chunks that were to be coded and were not come to, or failed.
    pub left: usize,
    /// There are too few servers, or too few that do not fail as one: what is left stays as whole copies.
    pub too_few_servers: bool,
    /// Chunks that are coded, before the round.
    pub coded: usize,
}

impl Master {
    /// Codes chunks for so long.
    ///
    /// # Errors
    /// The store's.
    pub async fn code(&self, time: Duration) -> Result<Coded, ObjectError> {
        let start = Instant::now();
        self.refresh().await?;
        let (chunks, degraded) = (all(&self.metadata).await?, degraded(&self.metadata).await?);
        let coded = chunks.values().filter(|(row, _)| matches!(row.form, ChunkForm::Coded(_))).count();
        let due: Vec<(u64, ChunkRow)> = chunks
            .into_iter()
            .filter(|(chunk, (row, _))| {
                row.form == ChunkForm::Whole && row.tier.is_coded() && self.is_old(row.touched_ms) && !degraded.contains(chunk)
            })
            .map(|(chunk, (row, _))| (chunk, row))
            .collect();
        let mut round = Coded { left: due.len(), coded, ..Coded::default() };
        // One after the other: each is in memory as a whole.
        for (chunk, row) in due {
            if start.elapsed() >= time {
                break;
            }
            let Some(servers) = choose_for_shards(&self.servers.candidates(), row.tier.class(), &mut fastrand::Rng::new()) else {
                round.too_few_servers = true;
                break;
            };
            match self.code_one(chunk, servers).await {
                Ok(bytes) => {
                    round.left -= 1;
                    round.chunks += usize::from(bytes > 0);
                    round.bytes += bytes;
                }
                Err(ShardError::Code(ObjectError::Metadata(error))) => return Err(error.into()),
                Err(error) => {
                    let error = eddy_telemetry::error_chain(&error);
                    tracing::warn!(chunk, error, "failed to code a chunk; it is tried again");
                }
            }
        }
        Ok(round)
    }

    /// Codes a chunk, on these servers; the bytes of its shards, none where there is nothing to code, or it changed meanwhile.
    async fn code_one(&self, chunk: u64, servers: Vec<u64>) -> Result<u64, ShardError> {
        let store = self.metadata.store();
        let keys = [chunk_key(chunk), live_key(chunk)];
        let values = self.metadata.get_all(keys).await?;
        let [Some(value), live] = &values[..] else { return Ok(0) };
        let row: ChunkRow = eddy_object::schema::decode(&value.bytes)?;
        // Read after the counter: whatever comes or goes from now on changes that.
        let needed = needed(&self.metadata, chunk).await?;
        if needed.is_empty() || row.form != ChunkForm::Whole {
            return Ok(0);
        }
        let (shards, image) = self.image(chunk, &needed).await?;
        let number = fastrand::u64(1..);
        let shards_row = ChunkRow {
            replicas: servers.iter().map(|server| Replica::draw(*server, number)).collect(),
            copies: shards.count() as u8,
            tier: row.tier,
            form: ChunkForm::Shards(shards),
            touched_ms: now_ms(),
            verified_ms: 0,
        };
        // A row names the shards before they are there, so that they are not taken for what nobody needs.
        let put = Transaction::new().check(chunk_key(number), None).put(chunk_key(number), encode(&shards_row)?);
        store.commit(put).await.map_err(ObjectError::from)?;
        let places = shards_row.replicas.iter().map(|replica| {
            let unknown = || ObjectError::NoRoom(format!("the address of chunkserver {} is not known", replica.server));
            self.servers.source(*replica).ok_or_else(unknown)
        });
        let places: Vec<Source> = places.collect::<Result<_, _>>()?;
        self.write_shards(number, &shards, &image, &places).await?;
        self.verify_shards(number, &shards, &image, &places).await?;
        // They may have been collected: by another master, whose clock is ahead.
        let Some(written) = store.get(chunk_key(number)).await.map_err(ObjectError::from)? else { return Ok(0) };
        let coded = ChunkRow { replicas: Vec::new(), form: ChunkForm::Coded(number), ..row };
        let noted = DegradedRow { servers: Vec::new(), read_all: true, since_ms: now_ms() };
        let flip = Transaction::new()
            .check(chunk_key(chunk), Some(value))
            .check(live_key(chunk), live.as_ref())
            .check(degraded_key(chunk), None)
            .check(chunk_key(number), Some(&written))
            .put(chunk_key(chunk), encode(&coded)?)
            // Only when all have been read are they known to be whole.
            .put(degraded_key(number), encode(&noted)?);
        match store.commit(flip).await {
            // It changed meanwhile; what was written is collected.
            Err(KvError::Conflict { .. }) => Ok(0),
            done => {
                done.map_err(ObjectError::from)?;
                Ok(u64::from(shards.shard_bytes()) * shards.count() as u64)
            }
        }
    }

    /// What is needed of a chunk, where it is in its file, and zeroes between; as long as all data shards together.
    async fn image(&self, chunk: u64, needed: &BTreeSet<Extent>) -> Result<(Shards, Vec<u8>), ObjectError> {
        let end = needed.iter().map(Extent::end).max().unwrap_or_default();
        let shards = Shards::new(chunk, u32::try_from(end).unwrap_or(u32::MAX));
        let mut image = vec![0; shards.shard_bytes() as usize * usize::from(shards.data)];
        let reads = needed.iter().map(|extent| async move {
            self.tier_pace.spend(u64::from(extent.bytes)).await;
            Ok::<_, ObjectError>((*extent, self.objects.needle(*extent).await?))
        });
        let mut reads = stream::iter(reads).buffer_unordered(NEEDLES_AT_ONCE);
        while let Some((extent, data)) = reads.try_next().await? {
            image[extent.offset as usize..extent.end() as usize].copy_from_slice(&encode_needle(&extent, &data));
        }
        Ok((shards, image))
    }

    async fn write_shards(&self, number: u64, shards: &Shards, image: &[u8], places: &[Source]) -> Result<(), ShardError> {
        let begin = places.iter().enumerate().map(|(index, place)| async move {
            self.client.create(&place.server, place.id(number)).await?;
            self.client.write(&place.server, place.file, shards.extent(number, index), &[]).await
        });
        let mut calls: Vec<WriteCall> = try_join_all(begin).await?;
        let data: Vec<&[u8]> = image.chunks(shards.shard_bytes() as usize).collect();
        for piece in pieces(shards) {
            let of = |shard: &&[u8]| Bytes::copy_from_slice(&shard[piece.start as usize..piece.end as usize]);
            let mut parts: Vec<Bytes> = data.iter().map(of).collect();
            let parity = parity_of(shards, &parts.iter().map(|part| &part[..]).collect::<Vec<_>>())?;
            parts.extend(parity.into_iter().map(Bytes::from));
            let sends = calls.iter_mut().zip(parts).enumerate().map(|(index, (call, part))| async move {
                send(call, shards.extent(number, index).needle, piece.start, &part).await
            });
            try_join_all(sends).await?;
        }
        try_join_all(calls.into_iter().map(WriteCall::finish)).await?;
        try_join_all(places.iter().map(|place| self.client.close(&place.server, place.id(number)))).await?;
        Ok(())
    }

    /// Reads back as many shards as it takes, without two of those that have the data themselves, and makes all data of them.
    async fn verify_shards(&self, number: u64, shards: &Shards, image: &[u8], places: &[Source]) -> Result<(), ShardError> {
        let (data, length) = (usize::from(shards.data), shards.shard_bytes() as usize);
        let mut chosen: Vec<usize> = (0..data).collect();
        fastrand::shuffle(&mut chosen);
        chosen.truncate(data - usize::from(shards.parity));
        chosen.extend(data..shards.count());
        for piece in pieces(shards) {
            let reads = chosen.iter().map(|index| {
                let range = piece.clone();
                async move {
                    let bytes = read(&self.client, &places[*index], shards, (number, *index), range).await?;
                    Ok::<_, ShardError>((*index, bytes))
                }
            });
            let have = try_join_all(reads).await?;
            for index in 0..data {
                let bytes = match have.iter().find(|(other, _)| *other == index) {
                    Some((_, bytes)) => bytes.clone(),
                    None => restore(shards, index, &have)?.into(),
                };
                let from = index * length + piece.start as usize;
                if bytes[..] != image[from..from + piece.len()] {
                    return Err(ObjectError::Broken(format!("shards of chunk {:016x} do not make it again", shards.of)).into());
                }
            }
        }
        Ok(())
    }
}
