//! Moving a needle to another chunk.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use eddy_chunks::format::BLOCK_BYTES;

use crate::download::Download;
use crate::error::{ObjectError, Result};
use crate::objects::Objects;
use crate::replicas::{FanOut, Placed, Taking, Written, needed};
use crate::schema::{Contents, ReferenceRow, Tier};
use crate::upload::{PIECE_BYTES, stored};

impl Objects {
    /// Copies a needle to another chunk, of a number of copies and a tier if those are said, and makes the object that needs it refer
    /// to that; whether it still needed it.
    ///
    /// # Errors
    /// That it cannot be read or written now, or the store's.
    pub async fn relocate(&self, reference: &ReferenceRow, to: Option<(u8, Tier)>) -> Result<bool> {
        let extent = reference.extent;
        let Some(chunk) = self.metadata().chunk(extent.chunk).await? else { return Ok(false) };
        // Read before there is a place for it: what cannot be read takes none.
        let mut download =
            Download::new(self.clone(), reference.upload, &Contents::Needles(vec![extent]), 0, u64::from(extent.bytes));
        let first = download.next().await?;
        // Its own chunk is no other one.
        self.shared().pack.retire(extent.chunk).await;
        let (copies, tier) = to.unwrap_or((chunk.copies, chunk.tier));
        let placed = self.shared().pack.place(copies, tier, extent.bytes).await?;
        let written = match self.copy_needle(download, first, &placed, needed(copies)).await {
            Ok(written) => written,
            Err(error) => {
                // Its chunk may be gone, or its servers: the next needle goes elsewhere.
                self.shared().pack.retire(placed.extent.chunk).await;
                return Err(error);
            }
        };
        let taking = Taking::default();
        self.took(&placed, written, &taking).await;
        let _noted = taking.noted_after(self);
        let moved = self.metadata().move_needle(reference, placed.extent, &taking).await;
        self.retire_refused(moved, &taking).await
    }

    /// Where a chunk went to others than those that took its needles, it takes no more of them.
    pub(crate) async fn retire_refused<T>(&self, put: Result<T>, taking: &Taking) -> Result<T> {
        if matches!(put, Err(ObjectError::NoRoom(_))) {
            for chunk in taking.chunks() {
                self.shared().pack.retire(chunk).await;
            }
        }
        put
    }

    /// Writes what was read of a needle, and the rest, to another place on so many servers at least.
    async fn copy_needle(
        &self,
        mut download: Download,
        mut block: Option<Bytes>,
        placed: &Placed,
        needed: usize,
    ) -> Result<Written> {
        let mut fan_out = FanOut::begin(&self.shared().client, placed, needed, &Bytes::new());
        let (mut gathered, mut first) = (BytesMut::with_capacity(PIECE_BYTES), 0);
        loop {
            let ended = block.is_none();
            gathered.extend_from_slice(&block.unwrap_or_default());
            if gathered.len() >= PIECE_BYTES || ended && !gathered.is_empty() {
                let held = Arc::new(self.shared().incoming.take(PIECE_BYTES as u32 / BLOCK_BYTES).await);
                fan_out.send(stored(placed, first, &gathered, &held)).await?;
                first += gathered.len().div_ceil(BLOCK_BYTES as usize) as u32;
                gathered.clear();
            }
            if ended {
                return fan_out.finish().await;
            }
            block = download.next().await?;
        }
    }
}
