//! Moving a needle to another chunk.

use bytes::{Bytes, BytesMut};

use crate::download::Download;
use crate::error::Result;
use crate::objects::Objects;
use crate::replicas::{FanOut, needed};
use crate::schema::{Contents, ReferenceRow, Tier};
use crate::upload::{PIECE_BYTES, stored};

impl Objects {
    /// Copies a needle to another chunk, of a tier if that is said, and makes the object that needs it refer to that; whether it
    /// still needed it.
    ///
    /// # Errors
    /// That it cannot be read or written now, or the store's.
    pub async fn relocate(&self, reference: &ReferenceRow, tier: Option<Tier>) -> Result<bool> {
        let extent = reference.extent;
        let Some(chunk) = self.metadata().chunk(extent.chunk).await? else { return Ok(false) };
        // Its own chunk is no other one.
        self.shared().pack.retire(extent.chunk).await;
        let placed = self.shared().pack.place(chunk.copies, tier.unwrap_or(chunk.tier), extent.bytes).await?;
        let mut fan_out = FanOut::begin(&self.shared().client, &placed, needed(chunk.copies), &Bytes::new());
        let mut download =
            Download::new(self.clone(), reference.upload, &Contents::Needles(vec![extent]), 0, u64::from(extent.bytes));
        let (mut gathered, mut first) = (BytesMut::with_capacity(PIECE_BYTES), 0);
        loop {
            let block = download.next().await?;
            let ended = block.is_none();
            gathered.extend_from_slice(&block.unwrap_or_default());
            if gathered.len() >= PIECE_BYTES || ended && !gathered.is_empty() {
                fan_out.send(stored(&placed, first, &gathered)).await?;
                first += gathered.len().div_ceil(eddy_chunks::format::BLOCK_BYTES as usize) as u32;
                gathered.clear();
            }
            if ended {
                break;
            }
        }
        let written = fan_out.finish().await?;
        let took = self.took(&placed, written).await;
        self.metadata().move_needle(reference, placed.extent, took).await
    }
}
