//! Files that come.

use axum::body::Bytes;
use eddy_object::Upload;
use futures::Stream;
use http::StatusCode;

use crate::error::Problem;
use crate::http::ContentDigest;
use crate::transfer::{self, ReceiveError};

/// Takes all that comes, and checks that it has the digest that was announced.
pub(super) async fn receive<E: std::fmt::Display>(
    upload: &mut Upload,
    stream: impl Stream<Item = Result<Bytes, E>>,
    mut digest: Option<ContentDigest>,
) -> Result<(), Problem> {
    let look = |piece: &[u8]| {
        if let Some(digest) = &mut digest {
            digest.update(piece);
        }
    };
    transfer::receive(upload, stream, look).await.map_err(|error| match error {
        ReceiveError::Broken(error) => {
            Problem::new(StatusCode::BAD_REQUEST, "CutOff", format!("the body ended too soon: {error}"))
        }
        ReceiveError::Object(error) => error.into(),
    })?;
    if digest.is_some_and(|digest| !digest.holds()) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "WrongDigest", "the body does not have the digest that was announced"));
    }
    Ok(())
}
