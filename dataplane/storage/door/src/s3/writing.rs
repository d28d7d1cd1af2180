//! Objects that are written.

use eddy_object::schema::{Attributes, ObjectRow};
use eddy_object::{Precondition, Upload};
use futures::StreamExt;
use http::{HeaderName, HeaderValue};
use s3s::S3ErrorCode;
use s3s::dto::{PutObjectInput, PutObjectOutput, StreamingBlob};

use super::acl::wanted;
use super::asking::Asking;
use super::attributes::given;
use super::conditions;
use super::error::Failure;
use super::lock::wanted_lock;
use super::reading::tag;
use super::sums::{self, Sums, summed};
use crate::access::Right;
use crate::http::{Conditions, State, etag};
use crate::transfer::{self, ReceiveError};

/// Longest object that comes at once, and longest part, as in S3.
const BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// What must still be so when an object changes, where the request has conditions that hold now.
pub(super) fn precondition(asking: &Asking, key: &str, before: Option<&ObjectRow>) -> Result<Precondition, Failure> {
    let given = conditions::of_request(&asking.headers);
    let conditions = Conditions(&given);
    if !conditions.any_of_writing() {
        return Ok(Precondition::None);
    }
    let tag = before.map(etag);
    let state = before.zip(tag.as_ref()).map(|(row, tag)| State { etag: tag, modified_ms: row.modified_ms });
    if !conditions.of_writing(state.as_ref()) {
        return Err(if before.is_none() { Failure::no_key(key) } else { Failure::precondition() });
    }
    Ok(before.map_or(Precondition::Absent, |row| Precondition::Upload(row.upload)))
}

/// What is too long is refused before it is sent.
pub(super) fn check_length(length: Option<i64>) -> Result<Option<u64>, Failure> {
    let length = length.map(|length| u64::try_from(length).map_err(|_| Failure::bad("Content-Length is below 0"))).transpose()?;
    if length.is_some_and(|length| length > BYTES_MAX) {
        return Err(too_large());
    }
    Ok(length)
}

fn too_large() -> Failure {
    Failure::new(S3ErrorCode::EntityTooLarge, "at once come at most 5 GiB: send it in parts")
}

/// Takes a body, and what it is known by.
pub(super) async fn receive(
    asking: &Asking,
    upload: &mut Upload,
    body: Option<StreamingBlob>,
    mut sums: Sums,
) -> Result<Attributes, Failure> {
    if let Some(body) = body {
        let mut came = 0;
        let body = body.map(|piece| {
            came += piece.as_ref().map_or(0, |piece| piece.len() as u64);
            if came > BYTES_MAX { Err("more than 5 GiB".into()) } else { piece }
        });
        transfer::receive(upload, body, |piece| sums.update(piece)).await.map_err(|error| match error {
            ReceiveError::Object(error) => error.into(),
            ReceiveError::Broken(error) => broken(&*error),
        })?;
    }
    if upload.bytes() > BYTES_MAX {
        return Err(too_large());
    }
    let trailers = asking.trailing.as_ref().and_then(s3s::TrailingHeaders::take);
    let (etag, checksum) = sums.finish(trailers.as_ref())?;
    Ok(Attributes { etag, checksum, ..Attributes::default() })
}

/// Why a body ended. What checks signatures keeps its errors to itself, but for their words.
fn broken(error: &(dyn std::error::Error + Send + Sync)) -> Failure {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let message = "the body does not have the SHA-256 that was signed";
        return Failure::with_status("XAmzContentSHA256Mismatch", http::StatusCode::BAD_REQUEST, message);
    }
    if text.contains("SignatureMismatch") {
        return Failure::new(S3ErrorCode::SignatureDoesNotMatch, "a chunk of the body has another signature");
    }
    if text.contains("5 GiB") {
        return too_large();
    }
    if text.contains("ChunkTooLong") {
        return Failure::new(S3ErrorCode::InvalidRequest, text);
    }
    Failure::new(S3ErrorCode::IncompleteBody, format!("the body ended too soon, or is not as it was announced: {text}"))
}

pub(super) async fn put(mut asking: Asking, mut input: PutObjectInput) -> Result<PutObjectOutput, Failure> {
    refuse_encryption(&input.server_side_encryption, &input.sse_customer_algorithm)?;
    let attributes = given!(input).attributes()?;
    asking.tags.clone_from(&attributes.tags);
    if asking.is_form {
        // Policies ask for what it would be as a header.
        let acl = input.acl.as_ref().and_then(|acl| HeaderValue::from_str(acl.as_str()).ok());
        asking.headers.extend(acl.map(|acl| (HeaderName::from_static("x-amz-acl"), acl)));
    }
    let (bucket, before) = asking.present(&input.bucket, &input.key, Right::PutObject).await?;
    let precondition = precondition(&asking, &input.key, before.as_ref())?;
    let sharing = wanted!(input).of_new(&asking, &bucket, &input.key)?;
    let lock = wanted_lock!(input).of_new(&asking, &bucket, &input.key).await?;
    let attributes = Attributes { writer: sharing.writer, grants: sharing.grants, lock, ..attributes };
    let length = check_length(input.content_length)?;
    let algorithm = input.checksum_algorithm.map(|algorithm| sums::algorithm_of(algorithm.as_str())).transpose()?;
    let sums = Sums::announced(&asking.headers, algorithm)?;
    let mut upload = asking.door.objects().upload_to(&bucket.name, &bucket.space, length).await?;
    let known = receive(&asking, &mut upload, input.body.take(), sums).await?;
    let attributes = Attributes { etag: known.etag, checksum: known.checksum, ..attributes };
    let row = upload.finish(&input.key, attributes, &precondition).await?;
    let checksum = sums::answered(row.attributes.checksum.as_ref(), 0);
    Ok(summed!(
        checksum,
        PutObjectOutput {
            checksum_type: checksum.checksum_type,
            e_tag: Some(tag(&row)),
            version_id: bucket.new_version(&row),
            ..PutObjectOutput::default()
        }
    ))
}

/// Who asks that objects are encrypted must not believe that they are.
pub(super) fn refuse_encryption<A, B>(by_server: &Option<A>, by_customer: &Option<B>) -> Result<(), Failure> {
    if by_server.is_some() || by_customer.is_some() {
        return Err(Failure::not_built("encryption by the server"));
    }
    Ok(())
}
