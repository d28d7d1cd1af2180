//! Bytes of objects, in and out.

use std::time::Duration;

use axum::body::{Body, Bytes};
use eddy_object::schema::ObjectRow;
use eddy_object::{Download, ObjectError, Objects, Upload};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::http::ByteRange;

/// Shorter ones are sent in one piece.
const WHOLE_BYTES_MAX: u64 = 256 * 1024;

/// Whoever sends nothing for so long makes room, where others wait for memory.
const RELIEVE_EVERY: Duration = Duration::from_secs(1);

/// Why an object did not come.
#[derive(Debug)]
pub(crate) enum ReceiveError<E> {
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
    while let Some(piece) = next_of(&mut stream, upload).await? {
        look(&piece);
        upload.write(piece).await.map_err(ReceiveError::Object)?;
    }
    Ok(())
}

/// What comes next; what came before makes room meanwhile for others that wait for memory.
async fn next_of<T, E>(
    stream: &mut (impl Stream<Item = Result<T, E>> + Unpin),
    upload: &mut Upload,
) -> Result<Option<T>, ReceiveError<E>> {
    loop {
        match tokio::time::timeout(RELIEVE_EVERY, stream.next()).await {
            Ok(next) => return next.transpose().map_err(ReceiveError::Broken),
            Err(_) => upload.relieve().await.map_err(ReceiveError::Object)?,
        }
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
