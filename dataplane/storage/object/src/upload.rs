//! Writing an object.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use eddy_chunks::Extent;
use eddy_chunks::format::{BLOCK_BYTES, NEEDLE_BYTES_MAX, encode_blocks};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{ObjectError, Result};
use crate::memory::{Held, holding};
use crate::metadata::{Keeping, NewObject, Precondition};
use crate::objects::Objects;
use crate::replicas::{FanOut, Placed, Taking, Written, needed};
use crate::schema::{Attributes, NamespaceRow, ObjectRow, PieceRow};

/// Data that is gathered in memory: of a small object all, of a long one that is not streamed each needle.
const GATHERED_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// Of an object whose length is known, more is streamed, unless many others are.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;
/// Data that is sent at once.
pub(crate) const PIECE_BYTES: usize = 4 * BLOCK_BYTES as usize;
/// What came is kept for no longer where memory is short.
const KEPT_MAX: Duration = Duration::from_secs(1);
/// An upload says this often that it still needs its chunks: nobody else knows.
const TOUCH_EVERY: Duration = Duration::from_secs(20 * 60);
/// What is in memory is tried again so often, elsewhere.
const TRIES: usize = 3;

/// An object that is being written. Dropped, it leaves nothing that anyone sees.
pub struct Upload {
    objects: Objects,
    namespace: String,
    keeping: Keeping,
    /// What the namespace may hold.
    quota: Option<i64>,
    /// More would not fit, as far as is known.
    bytes_max: Option<i64>,
    number: u64,
    announced: Option<u64>,
    /// Of an object whose length is known, and so long that it is not gathered, where not too many others are.
    stream: Option<OwnedSemaphorePermit>,
    came: u64,
    /// Bytes that came and were not sent.
    buffer: BytesMut,
    /// The memory that they take.
    held: Held,
    /// When the first of them came.
    kept_since: Instant,
    streaming: Option<Streaming>,
    /// The needle before that one, while servers make it durable.
    finishing: Option<(Placed, AbortOnDropHandle<Result<Written>>)>,
    extents: Vec<Extent>,
    /// Who took them, or is about to.
    taking: Taking,
    touched: Instant,
}

/// A needle that is sent while its data come.
struct Streaming {
    placed: Placed,
    fan_out: FanOut,
    sent: u32,
}

impl Upload {
    pub(crate) fn new(objects: Objects, namespace: &str, space: &NamespaceRow, announced: Option<u64>) -> Self {
        let is_long = announced.is_some_and(|announced| announced > SMALL_BYTES_MAX);
        let stream = if is_long { objects.shared().streams.clone().try_acquire_owned().ok() } else { None };
        Self {
            objects,
            namespace: namespace.to_owned(),
            keeping: Keeping::of(space),
            quota: space.settings.quota.bytes,
            bytes_max: space.settings.quota.bytes,
            number: fastrand::u64(1..),
            announced,
            stream,
            came: 0,
            buffer: BytesMut::new(),
            held: Held::default(),
            kept_since: Instant::now(),
            streaming: None,
            finishing: None,
            extents: Vec::new(),
            taking: Taking::default(),
            touched: Instant::now(),
        }
    }

    /// What the namespace cannot hold, whatever goes for it, is refused before it is taken.
    pub(crate) async fn check_fits(&mut self, bytes: u64) -> Result<()> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let Some(at_most) = self.quota.filter(|_| self.bytes_max.is_some_and(|most| bytes > most)) else { return Ok(()) };
        // Where it holds more than it may, what is there may still be replaced by what is no longer.
        let holds = self.objects.metadata().usage(&self.namespace).await?.bytes;
        if bytes > at_most.max(holds) {
            return Err(ObjectError::QuotaExceeded { what: "bytes", holds, at_most });
        }
        self.bytes_max = Some(at_most.max(holds));
        Ok(())
    }

    /// Takes the next bytes. It waits while servers do not take them.
    ///
    /// # Errors
    /// [`ObjectError::WrongLength`], [`ObjectError::QuotaExceeded`], [`ObjectError::NoRoom`], [`ObjectError::TooLong`], or the store's.
    pub async fn write(&mut self, mut data: Bytes) -> Result<()> {
        self.came += data.len() as u64;
        if let Some(announced) = self.announced.filter(|announced| self.came > *announced) {
            return Err(ObjectError::WrongLength { announced, came: self.came });
        }
        self.check_fits(self.came).await?;
        let (at_once, block) = (if self.is_streamed() { PIECE_BYTES } else { GATHERED_BYTES_MAX as usize }, BLOCK_BYTES as usize);
        if self.touched.elapsed() > TOUCH_EVERY {
            self.touch().await?;
        }
        self.relieve().await?;
        // More than that is never held, however long the pieces are that come.
        while !data.is_empty() {
            let begun = self.buffer.len() % block;
            if begun == 0 {
                self.make_room().await?;
            } else if self.held.is_nothing() {
                self.held = self.objects.shared().incoming.take(1).await;
            }
            if self.buffer.is_empty() {
                self.kept_since = Instant::now();
            }
            let some = data.split_to(data.len().min(block - begun));
            self.buffer.extend_from_slice(&some);
            if self.buffer.len() == at_once {
                self.send_on().await?;
            }
        }
        Ok(())
    }

    /// Whether it goes on to servers as it comes.
    fn is_streamed(&self) -> bool {
        self.stream.is_some()
    }

    /// Takes memory for another block. Where there is none, what came is sent on first: nobody waits who holds any.
    async fn make_room(&mut self) -> Result<()> {
        // What is gathered is there twice while it is sent.
        let blocks = if self.is_streamed() { 1 } else { 2 };
        let buffers = self.objects.shared().incoming.clone();
        let held = match buffers.take_at_once(blocks) {
            Some(held) => held,
            None => {
                self.send_on().await?;
                buffers.take(blocks).await
            }
        };
        self.held.add(held);
        Ok(())
    }

    /// Sends on what has been kept for long where memory is short: whoever is slow holds none that others wait for.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn relieve(&mut self) -> Result<()> {
        if self.kept_since.elapsed() < KEPT_MAX || !self.objects.shared().incoming.is_short() {
            return Ok(());
        }
        // A needle that is streamed goes on where a block ended; nobody counts the memory of less than one, which is no more than it takes.
        let whole =
            if self.is_streamed() { self.buffer.len() - self.buffer.len() % BLOCK_BYTES as usize } else { self.buffer.len() };
        let begun = BytesMut::from(&self.buffer[whole..]);
        self.buffer.truncate(whole);
        self.send_on().await?;
        (self.buffer, self.held, self.kept_since) = (begun, Held::default(), Instant::now());
        Ok(())
    }

    /// Sends what came, if anything.
    async fn send_on(&mut self) -> Result<()> {
        let sent = match (self.buffer.is_empty(), self.is_streamed()) {
            (true, _) => return Ok(()),
            (false, true) => self.stream().await,
            (false, false) => self.write_gathered().await,
        };
        self.with_reason(sent).await
    }

    /// Finds out why something could not be written.
    async fn with_reason(&self, written: Result<()>) -> Result<()> {
        match written {
            Err(seemed @ ObjectError::NoRoom(_)) => {
                let bytes = self.announced.unwrap_or(self.came).min(u64::from(NEEDLE_BYTES_MAX));
                Err(self.objects.shared().pack.reason(self.keeping.copies, bytes, seemed).await)
            }
            other => other,
        }
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
        let _noted = self.taking.noted_after(&self.objects);
        let put = self.objects.metadata().put(&self.namespace, key, new, precondition).await;
        self.objects.retire_refused(put, &self.taking).await
    }

    /// Makes what came a part of an object that comes in parts; of the attributes it takes the digest and the checksum.
    ///
    /// # Errors
    /// As [`write`](Self::write), and those of `Metadata::put_part`.
    pub async fn finish_part(mut self, key: &str, multipart: u64, number: u16, attributes: Attributes) -> Result<PieceRow> {
        let new = self.end(attributes).await?;
        let _noted = self.taking.noted_after(&self.objects);
        let put = self.objects.metadata().put_part(&self.namespace, key, multipart, number, new).await;
        self.objects.retire_refused(put, &self.taking).await
    }

    /// All bytes came, and are durable.
    async fn end(&mut self, attributes: Attributes) -> Result<NewObject> {
        if let Some(announced) = self.announced.filter(|announced| self.came != *announced) {
            return Err(ObjectError::WrongLength { announced, came: self.came });
        }
        self.send_on().await?;
        let finished = self.await_finishing().await;
        self.with_reason(finished).await?;
        Ok(NewObject {
            upload: self.number,
            bytes: self.came,
            attributes,
            keeping: self.keeping,
            needles: std::mem::take(&mut self.extents),
            taking: self.taking.clone(),
        })
    }

    async fn touch(&mut self) -> Result<()> {
        let streaming = self.streaming.iter().map(|streaming| streaming.placed.extent.chunk);
        let finishing = self.finishing.iter().map(|(placed, _)| placed.extent.chunk);
        for chunk in self.taking.chunks().into_iter().chain(streaming).chain(finishing) {
            self.objects.metadata().touch_chunk(chunk).await?;
        }
        self.touched = Instant::now();
        Ok(())
    }

    /// Sends a needle that is in memory, and elsewhere again where it failed.
    async fn write_gathered(&mut self) -> Result<()> {
        let (data, held) = (self.buffer.split().freeze(), Arc::new(std::mem::take(&mut self.held)));
        let mut tries = 1;
        loop {
            let placed = self.objects.shared().pack.place(self.keeping.copies, self.keeping.tier, data.len() as u32).await?;
            let stored = stored(&placed, 0, &data, &held);
            let fan_out = FanOut::begin(&self.objects.shared().client, &placed, needed(self.keeping.copies), &stored);
            drop(stored);
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
        let held = Arc::new(std::mem::take(&mut self.held));
        while !self.buffer.is_empty() {
            let mut streaming = match self.streaming.take() {
                Some(streaming) => streaming,
                None => self.begin_needle().await?,
            };
            let room = (streaming.placed.extent.bytes - streaming.sent) as usize;
            let data = self.buffer.split_to(self.buffer.len().min(room)).freeze();
            let piece = stored(&streaming.placed, streaming.sent / BLOCK_BYTES, &data, &held);
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
        let placed = self.objects.shared().pack.place(self.keeping.copies, self.keeping.tier, bytes).await?;
        let fan_out = FanOut::begin(&self.objects.shared().client, &placed, needed(self.keeping.copies), &Bytes::new());
        Ok(Streaming { placed, fan_out, sent: 0 })
    }

    /// A needle is durable on enough servers; the others may still take it.
    async fn took(&mut self, placed: &Placed, written: Written) {
        self.objects.took(placed, written, &self.taking).await;
        self.extents.push(placed.extent);
    }
}

/// Data as it is stored, the first of it at this block of the needle, in memory that is held for it.
pub(crate) fn stored(placed: &Placed, first: u32, data: &[u8], held: &Arc<Held>) -> Bytes {
    let blocks = data.len().div_ceil(BLOCK_BYTES as usize);
    let mut stored = Vec::with_capacity(data.len() + 4 * blocks);
    encode_blocks(placed.extent.needle, first, data, &mut stored);
    holding(stored, held)
}
