//! Needles that a server copies from another by itself.

use std::sync::Arc;

use eddy_chunks::format::Stretch;
use eddy_chunks::{ChunkStore, Extent, StoreError, SyncPoint, Writing};
use futures::{StreamExt, stream};

use crate::address::Source;
use crate::client::ClientError;
use crate::protocol::Refusal;
use crate::server::Server;

/// Needles that one request names at most.
pub const PULL_NEEDLES_MAX: usize = 4096;
/// Stretches that are read ahead of the one that is written.
const AHEAD: usize = 3;

/// Needles of one chunk that are on their way here.
struct Filling {
    store: Arc<ChunkStore>,
    file: u64,
    /// The one of which a part was written.
    open: Option<Writing>,
    /// Those that were written, in their order.
    whole: Vec<Extent>,
    point: Option<SyncPoint>,
}

impl Server {
    /// Copies needles from another server into a file that takes needles here. They are durable when this returns, but for those that it
    /// returns: the other does not give them whole.
    pub(crate) async fn pull(&self, file: u64, from: &Source, needles: Vec<Extent>) -> Result<Vec<Extent>, Refusal> {
        check(&needles)?;
        let reads = Stretch::all(&needles).into_iter().map(|stretch| async move {
            let chunk = stretch.runs.first().map(|(extent, _)| extent.chunk).unwrap_or_default();
            let read = self.client.read_unchecked(&from.server, from.id(chunk), stretch.start, stretch.bytes).await;
            (stretch, read)
        });
        let mut reads = stream::iter(reads).buffered(AHEAD);
        let mut filling = Filling { store: self.store.clone(), file, open: None, whole: Vec::new(), point: None };
        while let Some((stretch, read)) = reads.next().await {
            let read = match read {
                Ok(read) => read,
                Err(ClientError::Refused { source: refusal, .. }) => {
                    tracing::debug!(source = from.server.address, %refusal, "it gives nothing of some needles");
                    Vec::new()
                }
                Err(error) => {
                    let error = eddy_telemetry::error_chain(&error);
                    tracing::warn!(source = from.server.address, error, "failed to copy needles from another server");
                    break;
                }
            };
            filling = self.on_disk(move || filling.add(&stretch, &read)).await?;
        }
        let (whole, point) = filling.finish();
        if let Some(point) = point {
            self.committer.sync(point.clone()).await?;
            // What is read often must not make room for copies that are not.
            point.forget_cached();
        }
        Ok(needles
            .into_iter()
            .filter(|extent| whole.binary_search_by_key(&extent.offset, |whole| whole.offset).is_err())
            .collect())
    }
}

/// Of one chunk, in the order of its file, and not too many.
fn check(needles: &[Extent]) -> Result<(), Refusal> {
    let follow = |pair: &[Extent]| pair[0].chunk == pair[1].chunk && pair[0].end() <= u64::from(pair[1].offset);
    if needles.len() > PULL_NEEDLES_MAX || !needles.iter().all(Extent::is_valid) || !needles.windows(2).all(follow) {
        return Err(Refusal::Malformed("these are no needles of one chunk, in their order, or too many".into()));
    }
    Ok(())
}

impl Filling {
    /// Writes what came, block by block once its checksum was found right.
    fn add(mut self, stretch: &Stretch, read: &[u8]) -> Result<Self, StoreError> {
        for (extent, blocks) in &stretch.runs {
            let mut writing = match self.open.take() {
                Some(writing) => writing,
                None if blocks.first == 0 => self.store.begin(self.file, *extent)?,
                // What came of it before was damaged.
                None => continue,
            };
            let written = stretch.part(read, blocks).map(|stored| writing.write(stored));
            match written {
                Some(Ok(())) if writing.missing() > 0 => self.open = Some(writing),
                Some(Ok(())) => {
                    self.point = Some(writing.finish()?);
                    self.whole.push(*extent);
                }
                None | Some(Err(StoreError::Damaged { .. })) => self.store.give_up(writing),
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(self)
    }

    fn finish(self) -> (Vec<Extent>, Option<SyncPoint>) {
        if let Some(writing) = self.open {
            self.store.give_up(writing);
        }
        (self.whole, self.point)
    }
}
