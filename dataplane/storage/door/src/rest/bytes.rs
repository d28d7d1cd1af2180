//! Bytes of files, in and out.

use std::time::Duration;

use axum::body::{Body, Bytes};
use eddy_object::schema::ObjectRow;
use eddy_object::{Download, Objects, Upload};
use futures::{Stream, StreamExt, TryStreamExt};
use http::StatusCode;

use crate::error::Problem;
use crate::http::{ByteRange, ContentDigest};

/// Whoever sends a file and says nothing for so long has gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Shorter ones are sent in one piece.
const WHOLE_BYTES_MAX: u64 = 256 * 1024;

/// Takes all that comes. Nothing of it is there until the upload is finished.
pub(super) async fn receive<E: std::fmt::Display>(
    upload: &mut Upload,
    stream: impl Stream<Item = Result<Bytes, E>>,
    mut digest: Option<ContentDigest>,
) -> Result<(), Problem> {
    let mut stream = std::pin::pin!(stream);
    loop {
        let Ok(piece) = tokio::time::timeout(SILENCE_MAX, stream.next()).await else {
            let detail = format!("nothing came for {} s", SILENCE_MAX.as_secs());
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "Silence", detail));
        };
        match piece {
            Some(Ok(piece)) => {
                if let Some(digest) = &mut digest {
                    digest.update(&piece);
                }
                upload.write(piece).await?;
            }
            Some(Err(error)) => {
                return Err(Problem::new(StatusCode::BAD_REQUEST, "CutOff", format!("the body ended too soon: {error}")));
            }
            None => break,
        }
    }
    if digest.is_some_and(|digest| !digest.holds()) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "WrongDigest", "the body does not have the digest that was announced"));
    }
    Ok(())
}

/// Some bytes of a file. The first of them are there: what fails after that cuts the answer off.
pub(super) async fn send(objects: &Objects, row: &ObjectRow, range: ByteRange) -> Result<Body, Problem> {
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
    let rest = rest.inspect_err(|error: &eddy_object::ObjectError| {
        tracing::warn!(error = eddy_telemetry::error_chain(error), "a download was cut off");
    });
    Ok(Body::from_stream(futures::stream::once(async { Ok(first) }).chain(rest)))
}
