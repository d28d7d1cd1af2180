//! Bytes of objects, in and out.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use eddy_object::schema::ObjectRow;
use eddy_object::{Download, ObjectError, Objects, Upload};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::http::ByteRange;

/// Whoever sends an object and says nothing for so long has gone.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Shorter ones are sent in one piece.
const WHOLE_BYTES_MAX: u64 = 256 * 1024;

/// Whoever sends an object slower than that, in bytes a second over all the time that was waited for it, has gone.
const SLOWEST: u64 = 1024;

/// How long somebody was waited for, and what came.
#[derive(Default)]
struct Patience {
    waited: Duration,
    came: u64,
}

impl Patience {
    /// For how much longer it is worth waiting.
    fn left(&self) -> Duration {
        let earned = Duration::from_secs(self.came / SLOWEST);
        SILENCE_MAX.min((SILENCE_MAX + earned).saturating_sub(self.waited))
    }
}

/// Why an object did not come.
#[derive(Debug)]
pub(crate) enum ReceiveError<E> {
    /// Whoever sent it said nothing for too long, or hardly anything.
    Silence,
    /// It ended too soon, or is not what was announced.
    Broken(E),
    /// Storage failed.
    Object(ObjectError),
}

/// Takes all that comes, each piece after it was looked at. Nothing of it is there until the upload is finished.
pub(crate) async fn receive<E>(
    upload: &mut Upload,
    stream: impl Stream<Item = Result<Bytes, E>>,
    mut look: impl FnMut(&[u8]),
) -> Result<(), ReceiveError<E>> {
    let (mut stream, mut patience) = (std::pin::pin!(stream), Patience::default());
    loop {
        let start = Instant::now();
        let next = tokio::time::timeout(patience.left(), stream.next()).await.map_err(|_| ReceiveError::Silence)?;
        let Some(piece) = next else { return Ok(()) };
        let piece = piece.map_err(ReceiveError::Broken)?;
        patience.waited += start.elapsed();
        patience.came += piece.len() as u64;
        look(&piece);
        upload.write(piece).await.map_err(ReceiveError::Object)?;
    }
}

/// Some bytes of an object. The first of them are there: what fails after that cuts the answer off.
pub(crate) async fn send(objects: &Objects, row: &ObjectRow, range: ByteRange) -> Result<Body, ObjectError> {
    let mut download = objects.download(row, range.start, range.end)?;
    let length = range.end - range.start;
    let Some(first) = download.next().await? else { return Ok(Body::empty()) };
    if first.len() as u64 == length {
        return Ok(Body::from(first));
    }
    if length <= WHOLE_BYTES_MAX {
        let mut whole = Vec::with_capacity(length as usize);
        whole.extend_from_slice(&first);
        while let Some(block) = download.next().await? {
            whole.extend_from_slice(&block);
        }
        return Ok(Body::from(whole));
    }
    let rest = futures::stream::try_unfold(download, |mut download: Download| async move {
        Ok(download.next().await?.map(|block| (block, download)))
    });
    let rest = rest.inspect_err(|error: &ObjectError| {
        tracing::warn!(error = eddy_telemetry::error_chain(error), "a download was cut off");
    });
    Ok(Body::from_stream(futures::stream::once(async { Ok(first) }).chain(rest)))
}

/// Copies some bytes of an object to another that is being written, after each piece was looked at.
pub(crate) async fn copy(
    objects: &Objects,
    from: &ObjectRow,
    range: ByteRange,
    to: &mut Upload,
    mut look: impl FnMut(&[u8]),
) -> Result<(), ObjectError> {
    let mut download = objects.download(from, range.start, range.end)?;
    while let Some(block) = download.next().await? {
        look(&block);
        to.write(block).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_a_byte_now_and_then_is_not_waited_for_for_ever() {
        let (mut patience, step) = (Patience::default(), Duration::from_secs(59));
        assert_eq!(patience.left(), SILENCE_MAX);
        patience.waited += step;
        patience.came += 1;
        assert_eq!(patience.left(), Duration::from_secs(1));
        // Whoever is slow and goes on is waited for as long as that takes, and a pause is no longer than any.
        for _ in 0..100 {
            patience.waited += step;
            patience.came += 59 * SLOWEST;
            assert!(patience.left() >= Duration::from_secs(1));
        }
        patience.came += 1_000_000_000;
        assert_eq!(patience.left(), SILENCE_MAX);
    }
}
