//! Bytes of objects, in and out.

use std::time::Duration;

use axum::body::{Body, Bytes};
use eddy_object::schema::ObjectRow;
use eddy_object::{Download, ObjectError, Objects, Upload};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::http::ByteRange;

/// Whoever sends an object and says nothing for so long has gone.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Shorter ones are sent in one piece.
const WHOLE_BYTES_MAX: u64 = 256 * 1024;

/// Why an object did not come.
#[derive(Debug)]
pub(crate) enum ReceiveError<E> {
    /// Whoever sent it said nothing for too long.
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
    let mut stream = std::pin::pin!(stream);
    loop {
        let next = tokio::time::timeout(SILENCE_MAX, stream.next()).await.map_err(|_| ReceiveError::Silence)?;
        let Some(piece) = next else { return Ok(()) };
        let piece = piece.map_err(ReceiveError::Broken)?;
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
