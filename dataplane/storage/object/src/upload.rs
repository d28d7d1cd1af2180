//! Writing an object.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use eddy_chunks::Extent;
use eddy_chunks::format::{BLOCK_BYTES, NEEDLE_BYTES_MAX, encode_blocks};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{ObjectError, Result};
use crate::metadata::{NewObject, Precondition};
use crate::objects::Objects;
use crate::replicas::{FanOut, Placed, Written, needed};
use crate::schema::{Attributes, ObjectRow, PieceRow, Tier};

/// Data that is gathered in memory: of a small object all, of a long one whose length is not known each needle.
const GATHERED_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// Of an object whose length is known, more is streamed.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;
/// Data that is sent at once.
pub(crate) const PIECE_BYTES: usize = 4 * BLOCK_BYTES as usize;
/// An upload says this often that it still needs its chunks: nobody else knows.
const TOUCH_EVERY: Duration = Duration::from_secs(20 * 60);
/// What is in memory is tried again so often, elsewhere.
const TRIES: usize = 3;

/// An object that is being written. Dropped, it leaves nothing that anyone sees.
pub struct Upload {
    objects: Objects,
    namespace: String,
    number: u64,
    copies: u8,
    tier: Tier,
    announced: Option<u64>,
    came: u64,
    /// Bytes that came and were not sent.
    buffer: BytesMut,
    streaming: Option<Streaming>,
    /// The needle before that one, while servers make it durable.
    finishing: Option<(Placed, AbortOnDropHandle<Result<Written>>)>,
    extents: Vec<Extent>,
    /// For each chunk, the servers that took its needles or are about to.
    taken: BTreeMap<u64, Vec<u64>>,
    touched: Instant,
}

/// A needle that is sent while its data come.
struct Streaming {
    placed: Placed,
    fan_out: FanOut,
    sent: u32,
}

impl Upload {
    pub(crate) fn new(objects: Objects, namespace: &str, copies: u8, tier: Tier, announced: Option<u64>) -> Self {
        Self {
            objects,
            namespace: namespace.to_owned(),
            number: fastrand::u64(1..),
            copies,
            tier,
            announced,
            came: 0,
            buffer: BytesMut::new(),
            streaming: None,
            finishing: None,
            extents: Vec::new(),
            taken: BTreeMap::new(),
            touched: Instant::now(),
        }
    }

    /// Takes the next bytes. It waits while servers do not take them.
    ///
    /// # Errors
    /// [`ObjectError::WrongLength`], [`ObjectError::NoRoom`], [`ObjectError::TooLong`], or the store's.
    pub async fn write(&mut self, mut data: Bytes) -> Result<()> {
        self.came += data.len() as u64;
        if let Some(announced) = self.announced.filter(|announced| self.came > *announced) {
            return Err(ObjectError::WrongLength { announced, came: self.came });
        }
        let streamed = self.announced.is_some_and(|announced| announced > SMALL_BYTES_MAX);
        let at_once = if streamed { PIECE_BYTES } else { GATHERED_BYTES_MAX as usize };
        if self.touched.elapsed() > TOUCH_EVERY {
            self.touch().await?;
        }
        // More than that is never held, however long the pieces are that come.
        while !data.is_empty() {
            let some = data.split_to(data.len().min(at_once - self.buffer.len()));
            self.buffer.extend_from_slice(&some);
            if self.buffer.len() == at_once {
                if streamed { self.stream().await? } else { self.write_gathered().await? }
            }
        }
        Ok(())
    }

    /// How many bytes came.
    pub fn bytes(&self) -> u64 {
        self.came
    }

    /// Makes what came the object under a key.
    ///
    /// # Errors
    /// As [`write`](Self::write), and those of [`Metadata::put`](crate::Metadata::put).
    pub async fn finish(mut self, key: &str, attributes: Attributes, precondition: &Precondition) -> Result<ObjectRow> {
        let new = self.end(attributes).await?;
        self.objects.metadata().put(&self.namespace, key, new, precondition).await
    }

    /// Makes what came a part of an object that comes in parts; of the attributes it takes the digest and the checksum.
    ///
    /// # Errors
    /// As [`write`](Self::write), and those of `Metadata::put_part`.
    pub async fn finish_part(mut self, key: &str, multipart: u64, number: u16, attributes: Attributes) -> Result<PieceRow> {
        let new = self.end(attributes).await?;
        self.objects.metadata().put_part(&self.namespace, key, multipart, number, new).await
    }

    /// All bytes came, and are durable.
    async fn end(&mut self, attributes: Attributes) -> Result<NewObject> {
        if let Some(announced) = self.announced.filter(|announced| self.came != *announced) {
            return Err(ObjectError::WrongLength { announced, came: self.came });
        }
        while !self.buffer.is_empty() {
            if self.announced.is_some_and(|announced| announced > SMALL_BYTES_MAX) {
                self.stream().await?;
            } else {
                self.write_gathered().await?;
            }
        }
        self.await_finishing().await?;
        Ok(NewObject {
            upload: self.number,
            bytes: self.came,
            attributes,
            needles: std::mem::take(&mut self.extents),
            taken: std::mem::take(&mut self.taken),
        })
    }

    async fn touch(&mut self) -> Result<()> {
        let streaming = self.streaming.iter().map(|streaming| streaming.placed.extent.chunk);
        let finishing = self.finishing.iter().map(|(placed, _)| placed.extent.chunk);
        for chunk in self.taken.keys().copied().chain(streaming).chain(finishing) {
            self.objects.metadata().touch_chunk(chunk).await?;
        }
        self.touched = Instant::now();
        Ok(())
    }

    /// Sends a needle that is in memory, and elsewhere again where it failed.
    async fn write_gathered(&mut self) -> Result<()> {
        let data = self.buffer.split().freeze();
        let mut tries = 1;
        loop {
            let placed = self.objects.shared().pack.place(self.copies, self.tier, data.len() as u32).await?;
            let fan_out = FanOut::begin(&self.objects.shared().client, &placed, needed(self.copies), &stored(&placed, 0, &data));
            match fan_out.finish().await {
                Ok(written) => {
                    self.took(&placed, written).await;
                    return Ok(());
                }
                Err(error) => {
                    self.objects.shared().pack.retire(placed.extent.chunk).await;
                    if tries == TRIES {
                        return Err(error);
                    }
                    tracing::info!(%error, "writing to other chunkservers");
                    tries += 1;
                }
            }
        }
    }

    /// Sends what is gathered of a needle whose length is known.
    async fn stream(&mut self) -> Result<()> {
        while !self.buffer.is_empty() {
            let mut streaming = match self.streaming.take() {
                Some(streaming) => streaming,
                None => self.begin_needle().await?,
            };
            let room = (streaming.placed.extent.bytes - streaming.sent) as usize;
            let data = self.buffer.split_to(self.buffer.len().min(room)).freeze();
            let piece = stored(&streaming.placed, streaming.sent / BLOCK_BYTES, &data);
            let sent = streaming.fan_out.send(piece).await;
            if sent.is_err() {
                self.objects.shared().pack.retire(streaming.placed.extent.chunk).await;
            }
            sent?;
            streaming.sent += data.len() as u32;
            if streaming.sent == streaming.placed.extent.bytes {
                // The next needle is on its way meanwhile; no more than that waits for disks.
                self.await_finishing().await?;
                let finishing = AbortOnDropHandle::new(tokio::spawn(streaming.fan_out.finish()));
                self.finishing = Some((streaming.placed, finishing));
            } else {
                self.streaming = Some(streaming);
            }
        }
        Ok(())
    }

    async fn await_finishing(&mut self) -> Result<()> {
        let Some((placed, finishing)) = self.finishing.take() else { return Ok(()) };
        let ended = |error: tokio::task::JoinError| ObjectError::NoRoom(error.to_string());
        let written = finishing.await.map_err(ended)??;
        self.took(&placed, written).await;
        Ok(())
    }

    async fn begin_needle(&self) -> Result<Streaming> {
        let finishing = self.finishing.iter().map(|(placed, _)| &placed.extent);
        let before: u64 = self.extents.iter().chain(finishing).map(|extent| u64::from(extent.bytes)).sum();
        let left = self.announced.unwrap_or_default().saturating_sub(before);
        let bytes = u32::try_from(left).unwrap_or(u32::MAX).min(NEEDLE_BYTES_MAX);
        let placed = self.objects.shared().pack.place(self.copies, self.tier, bytes).await?;
        let fan_out = FanOut::begin(&self.objects.shared().client, &placed, needed(self.copies), &Bytes::new());
        Ok(Streaming { placed, fan_out, sent: 0 })
    }

    /// A needle is durable on enough servers; the others may still take it.
    async fn took(&mut self, placed: &Placed, written: Written) {
        let took = self.objects.took(placed, written).await;
        match self.taken.entry(placed.extent.chunk) {
            // Who failed to take one needle lacks something of the chunk, whatever else it took.
            Entry::Occupied(mut before) => before.get_mut().retain(|server| took.contains(server)),
            Entry::Vacant(first) => drop(first.insert(took)),
        }
        self.extents.push(placed.extent);
    }
}

/// Data as it is stored, the first of it at this block of the needle.
pub(crate) fn stored(placed: &Placed, first: u32, data: &[u8]) -> Bytes {
    let blocks = data.len().div_ceil(BLOCK_BYTES as usize);
    let mut stored = Vec::with_capacity(data.len() + 4 * blocks);
    encode_blocks(placed.extent.needle, first, data.chunk(), &mut stored);
    stored.into()
}
