//! Objects: read, written, deleted.

use std::collections::BTreeSet;

use eddy_object::schema::{Attributes, NamespaceRow, ObjectRow};
use eddy_object::{ObjectError, Precondition, Upload};
use futures::StreamExt;
use http::header::RANGE;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{
    ChecksumMode, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, Error,
    GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, GetObjectInput, GetObjectOutput,
    HeadObjectInput, HeadObjectOutput, ObjectAttributes, ObjectIdentifier, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectPart,
    PutObjectInput, PutObjectOutput, StreamingBlob,
};
use s3s::{S3ErrorCode, dto};

use super::acl::wanted;
use super::asking::{Asking, Bucket, parse_version};
use super::attributes::{self, given, seconds, time};
use super::conditions;
use super::error::Failure;
use super::lock::{bypasses, hold_name, mode_name, wanted_lock};
use super::sums::{self, Sums};
use crate::access::Right;
use crate::http::{Asked, ByteRange, Conditions, Outcome, State, etag};
use crate::transfer::{self, ReceiveError};

/// Longest object that comes at once, and longest part, as in S3.
const BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// Objects that one request deletes, and how many of them at once.
const DELETES_MAX: usize = 1000;
const DELETES_AT_ONCE: usize = 8;

/// What is read of an object, and what is said of it.
struct Reading {
    /// The checksum of what is read, where it has one and that is asked for.
    checksum: dto::Checksum,
    bucket: Bucket,
    row: ObjectRow,
    /// What is sent; all of it unless part of it was asked for.
    range: ByteRange,
    content_range: Option<String>,
    parts: Option<u16>,
}

/// The tag of an object, without quotes.
pub(super) fn tag(row: &ObjectRow) -> ETag {
    ETag::Strong(etag(row).trim_matches('"').to_owned())
}

async fn reading(
    asking: &Asking,
    (bucket, key, version): (&str, &str, Option<&str>),
    part: Option<i32>,
    checksum_mode: Option<&ChecksumMode>,
) -> Result<Reading, Failure> {
    let right = if version.is_some() { Right::GetObjectVersion } else { Right::GetObject };
    let (bucket, row) = asking.object(bucket, key, version, right).await?;
    let tag = etag(&row);
    let state = State { etag: &tag, modified_ms: row.modified_ms };
    let given = conditions::of_request(&asking.headers);
    let conditions = Conditions(&given);
    match conditions.of_reading(&state) {
        Outcome::Holds => {}
        Outcome::Failed => return Err(Failure::precondition()),
        Outcome::NotModified => {
            let failure = Failure::new(S3ErrorCode::NotModified, "the object is as it was");
            return Err(failure.with_headers([("etag", tag), ("last-modified", http_date(row.modified_ms))]));
        }
    }
    let all = ByteRange { start: 0, end: row.bytes };
    let parts = Some(row.attributes.etag.parts).filter(|parts| *parts > 0);
    let (range, is_partial) = match part {
        Some(part) => (range_of_part(&row, part)?, parts.is_some()),
        None => {
            let range = asking.headers.get(RANGE).and_then(|range| range.to_str().ok());
            match Asked::of(range.filter(|_| conditions.heeds_range(&state)), row.bytes) {
                Asked::Whole => (all, false),
                Asked::Part(range) => (range, true),
                Asked::Nothing => {
                    let failure = Failure::new(S3ErrorCode::InvalidRange, format!("the object has {} bytes", row.bytes));
                    return Err(failure.with_headers([("content-range", format!("bytes */{}", row.bytes))]));
                }
            }
        }
    };
    let content_range = is_partial.then(|| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), row.bytes));
    let wanted = checksum_mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    let checksum = match part.and_then(|part| usize::try_from(part).ok()).filter(|_| wanted && parts.is_some()) {
        Some(part) => checksum_of_part(asking, &row, part).await?,
        None if wanted && !is_partial => sums::answered(row.attributes.checksum.as_ref(), row.attributes.etag.parts),
        None => dto::Checksum::default(),
    };
    Ok(Reading { checksum, bucket, row, range, content_range, parts: parts.filter(|_| part.is_some()) })
}

/// The checksum of a part, of the type that the object's is.
async fn checksum_of_part(asking: &Asking, row: &ObjectRow, part: usize) -> Result<dto::Checksum, Failure> {
    let Some((number, _)) = row.contents.pieces().nth(part.saturating_sub(1)) else { return Ok(dto::Checksum::default()) };
    let piece = asking.door.metadata().piece(row.upload, number).await?;
    let checksum = piece.and_then(|piece| piece.part).and_then(|part| part.checksum);
    let kind = row.attributes.checksum.as_ref().map(sums::type_of);
    Ok(dto::Checksum { checksum_type: kind, ..sums::answered(checksum.as_ref(), 0) })
}

fn http_date(ms: u64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms))
}

/// Where a part of an object is. An object that came at once is its own first part.
fn range_of_part(row: &ObjectRow, part: i32) -> Result<ByteRange, Failure> {
    let no_part = || Failure::new(S3ErrorCode::InvalidPart, format!("the object has no part {part}"));
    let wanted = usize::try_from(part).ok().and_then(|part| part.checked_sub(1)).ok_or_else(no_part)?;
    if row.attributes.etag.parts == 0 {
        return if wanted == 0 { Ok(ByteRange { start: 0, end: row.bytes }) } else { Err(no_part()) };
    }
    let lengths = row.contents.pieces().map(|(_, bytes)| bytes);
    let start = lengths.clone().take(wanted).sum();
    let bytes = lengths.clone().nth(wanted).ok_or_else(no_part)?;
    Ok(ByteRange { start, end: start + bytes })
}

/// What is said of an object, whether its bytes are sent or not.
macro_rules! described {
    ($output:ident, $reading:ident) => {{
        let Reading { checksum, bucket, row, range, content_range, parts } = &$reading;
        let checksum = checksum.clone();
        $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: attributes::header(row, "cache-control"),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
            content_disposition: attributes::header(row, "content-disposition"),
            content_encoding: attributes::header(row, "content-encoding"),
            content_language: attributes::header(row, "content-language"),
            content_length: i64::try_from(range.end - range.start).ok(),
            content_range: content_range.clone(),
            content_type: Some(attributes::content_type(row)),
            e_tag: Some(tag(row)),
            expires: attributes::expires(row),
            last_modified: Some(time(row.modified_ms)),
            metadata: attributes::metadata(row),
            parts_count: parts.map(i32::from),
            version_id: bucket.version_of(row),
            object_lock_mode: row
                .attributes
                .lock
                .retention
                .map(|retention| ObjectLockMode::from_static(mode_name(retention.mode))),
            object_lock_retain_until_date: row.attributes.lock.retention.map(|retention| time(retention.until_ms)),
            object_lock_legal_hold_status: row
                .attributes
                .lock
                .hold
                .then(|| ObjectLockLegalHoldStatus::from_static(hold_name(true))),
            ..$output::default()
        }
    }};
}

pub(super) async fn get(asking: Asking, input: GetObjectInput) -> Result<GetObjectOutput, Failure> {
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let reading = reading(&asking, target, input.part_number, input.checksum_mode.as_ref()).await?;
    let body = transfer::send(asking.door.objects(), &reading.row, reading.range).await?;
    let body = StreamingBlob::from(s3s::Body::http_body_unsync(body));
    let tags = i32::try_from(reading.row.attributes.tags.len()).ok().filter(|tags| *tags > 0);
    let output = described!(GetObjectOutput, reading);
    Ok(GetObjectOutput { body: Some(body), tag_count: tags, ..output })
}

pub(super) async fn head(asking: Asking, input: HeadObjectInput) -> Result<(HeadObjectOutput, HeaderMap), Failure> {
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let reading = reading(&asking, target, input.part_number, input.checksum_mode.as_ref()).await?;
    let tags = reading.row.attributes.tags.len();
    let tags = (tags > 0).then(|| (HeaderName::from_static("x-amz-tagging-count"), HeaderValue::from(tags)));
    let output = described!(HeadObjectOutput, reading);
    Ok((output, tags.into_iter().collect()))
}

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

/// What cannot fit is refused before it is sent.
pub(super) fn check_length(length: Option<i64>, space: &NamespaceRow) -> Result<Option<u64>, Failure> {
    let length = length.map(|length| u64::try_from(length).map_err(|_| Failure::bad("Content-Length is below 0"))).transpose()?;
    if length.is_some_and(|length| length > BYTES_MAX) {
        return Err(too_large());
    }
    if let (Some(at_most), Some(length)) = (space.settings.quota.bytes, length.and_then(|length| i64::try_from(length).ok()))
        && length > at_most
    {
        return Err(ObjectError::QuotaExceeded { what: "bytes", holds: length, at_most }.into());
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
            ReceiveError::Silence => Failure::new(S3ErrorCode::RequestTimeout, "nothing came for a minute"),
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
        let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
        let mut failure = s3s::S3Error::with_message(code, "the body does not have the SHA-256 that was signed");
        failure.set_status_code(http::StatusCode::BAD_REQUEST);
        return failure.into();
    }
    if text.contains("SignatureMismatch") {
        return Failure::new(S3ErrorCode::SignatureDoesNotMatch, "a chunk of the body has another signature");
    }
    if text.contains("5 GiB") {
        return too_large();
    }
    Failure::new(S3ErrorCode::IncompleteBody, format!("the body ended too soon, or is not as it was announced: {text}"))
}

pub(super) async fn put(mut asking: Asking, mut input: PutObjectInput) -> Result<PutObjectOutput, Failure> {
    refuse_encryption(&input.server_side_encryption, &input.sse_customer_algorithm)?;
    let attributes = given!(input).attributes()?;
    asking.tags.clone_from(&attributes.tags);
    let (bucket, before) = asking.present(&input.bucket, &input.key, Right::PutObject).await?;
    let precondition = precondition(&asking, &input.key, before.as_ref())?;
    let sharing = wanted!(input).of_new(&asking, &bucket.space)?;
    let attributes =
        Attributes { writer: sharing.writer, grants: sharing.grants, lock: wanted_lock!(input).lock(&bucket)?, ..attributes };
    let length = check_length(input.content_length, &bucket.space)?;
    let algorithm = input.checksum_algorithm.map(|algorithm| sums::algorithm_of(algorithm.as_str())).transpose()?;
    let sums = Sums::announced(&asking.headers, algorithm)?;
    let mut upload = asking.door.objects().upload_to(&bucket.name, &bucket.space, length);
    let known = receive(&asking, &mut upload, input.body.take(), sums).await?;
    let attributes = Attributes { etag: known.etag, checksum: known.checksum, ..attributes };
    let row = upload.finish(&input.key, attributes, &precondition).await?;
    let checksum = sums::answered(row.attributes.checksum.as_ref(), 0);
    Ok(PutObjectOutput {
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
        checksum_type: checksum.checksum_type,
        e_tag: Some(tag(&row)),
        version_id: bucket.new_version(&row),
        ..PutObjectOutput::default()
    })
}

/// Who asks that objects are encrypted must not believe that they are.
pub(super) fn refuse_encryption<A, B>(by_server: &Option<A>, by_customer: &Option<B>) -> Result<(), Failure> {
    if by_server.is_some() || by_customer.is_some() {
        return Err(Failure::not_built("encryption by the server"));
    }
    Ok(())
}

/// What became of an object that was to be deleted.
struct Deletion {
    version: Option<String>,
    marker: bool,
}

async fn remove(
    asking: &Asking,
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
    precondition: &Precondition,
    bypasses: bool,
) -> Result<Deletion, Failure> {
    let metadata = asking.door.metadata();
    let deleted = match version {
        Some(version) => metadata.delete_version(&bucket.name, key, parse_version(version)?, precondition, bypasses).await,
        None => metadata.delete(&bucket.name, key, precondition).await,
    };
    match deleted {
        Ok(deleted) => {
            let version = deleted.version.map(|version| version.to_string()).or(version.map(str::to_owned));
            Ok(Deletion { version, marker: deleted.marker })
        }
        // Whoever wants it gone has what they want.
        Err(ObjectError::NoObject(_)) => Ok(Deletion { version: version.map(str::to_owned), marker: false }),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn delete(asking: Asking, input: DeleteObjectInput) -> Result<DeleteObjectOutput, Failure> {
    let right = if input.version_id.is_some() { Right::DeleteObjectVersion } else { Right::DeleteObject };
    let (bucket, before) = asking.present(&input.bucket, &input.key, right).await?;
    let before = match input.version_id.as_deref() {
        None => before,
        Some(version) => asking.version(&bucket, &input.key, parse_version(version)?).await?,
    };
    let mut must_be = precondition(&asking, &input.key, before.as_ref())?;
    let time_differs = |before: &ObjectRow| {
        let wanted = input.if_match_last_modified_time.as_ref();
        wanted.is_some_and(|wanted| seconds(wanted) != Some(before.modified_ms / 1000))
    };
    let length_differs = |before: &ObjectRow| input.if_match_size.is_some_and(|wanted| u64::try_from(wanted) != Ok(before.bytes));
    if let Some(before) = &before {
        if time_differs(before) || length_differs(before) {
            return Err(Failure::precondition());
        }
        if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
            must_be = Precondition::Upload(before.upload);
        }
    }
    let bypasses = bypasses(&asking, &bucket, &input.key, input.bypass_governance_retention).await?;
    let version = input.version_id.as_deref();
    let Deletion { version, marker } = remove(&asking, &bucket, &input.key, version, &must_be, bypasses).await?;
    Ok(DeleteObjectOutput { delete_marker: marker.then_some(true), version_id: version, ..DeleteObjectOutput::default() })
}

pub(super) async fn delete_many(asking: Asking, input: DeleteObjectsInput) -> Result<DeleteObjectsOutput, Failure> {
    let objects = input.delete.objects;
    if objects.is_empty() || objects.len() > DELETES_MAX {
        return Err(Failure::new(S3ErrorCode::MalformedXML, format!("one request deletes 1 to {DELETES_MAX} objects")));
    }
    let space = asking.door.metadata().namespace(&input.bucket).await?;
    let (asking, bucket) = (&asking, &Bucket { name: input.bucket.clone(), space });
    let says_bypass = input.bypass_governance_retention;
    let each = objects.into_iter().map(|object| async move {
        let ended = remove_one(asking, bucket, &object, says_bypass).await;
        (object, ended)
    });
    let ended: Vec<_> = futures::stream::iter(each).buffered(DELETES_AT_ONCE).collect().await;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (object, ended) in ended {
        match ended {
            Ok(deletion) => deleted.push(DeletedObject {
                delete_marker: deletion.marker.then_some(true),
                delete_marker_version_id: deletion.version.clone().filter(|_| deletion.marker),
                key: Some(object.key),
                version_id: object.version_id,
            }),
            Err(failure) => errors.push(Error {
                code: Some(failure.code().as_str().to_owned()),
                key: Some(object.key),
                message: failure.message().map(str::to_owned),
                version_id: object.version_id,
            }),
        }
    }
    let deleted = if input.delete.quiet == Some(true) { None } else { Some(deleted) };
    Ok(DeleteObjectsOutput { deleted, errors: Some(errors), ..DeleteObjectsOutput::default() })
}

async fn remove_one(
    asking: &Asking,
    bucket: &Bucket,
    object: &ObjectIdentifier,
    says_bypass: Option<bool>,
) -> Result<Deletion, Failure> {
    let right = if object.version_id.is_some() { Right::DeleteObjectVersion } else { Right::DeleteObject };
    asking.check(bucket, Some(&object.key), None, right).await?;
    let bypasses = bypasses(asking, bucket, &object.key, says_bypass).await?;
    let conditional = object.e_tag.is_some() || object.size.is_some() || object.last_modified_time.is_some();
    if !conditional {
        return remove(asking, bucket, &object.key, object.version_id.as_deref(), &Precondition::None, bypasses).await;
    }
    let metadata = asking.door.metadata();
    let found = match object.version_id.as_deref() {
        Some(version) => metadata.version(&bucket.space, &object.key, parse_version(version)?).await,
        None => metadata.object(bucket.space.id, &object.key).await,
    };
    let row = match found {
        Ok(row) => row,
        Err(ObjectError::NoObject(key)) => return Err(Failure::no_key(&key)),
        Err(error) => return Err(error.into()),
    };
    let differs = object.e_tag.as_ref().is_some_and(|wanted| wanted.value() != "*" && *wanted != tag(&row))
        || object.size.is_some_and(|wanted| u64::try_from(wanted) != Ok(row.bytes))
        || object.last_modified_time.as_ref().is_some_and(|wanted| seconds(wanted) != Some(row.modified_ms / 1000));
    if differs {
        return Err(Failure::precondition());
    }
    remove(asking, bucket, &object.key, object.version_id.as_deref(), &Precondition::Upload(row.upload), bypasses).await
}

pub(super) async fn attributes(asking: Asking, input: GetObjectAttributesInput) -> Result<GetObjectAttributesOutput, Failure> {
    let right = if input.version_id.is_some() { Right::GetObjectVersion } else { Right::GetObject };
    let (bucket, row) = asking.object(&input.bucket, &input.key, input.version_id.as_deref(), right).await?;
    // They come in one header, or in several.
    let mut names = input.object_attributes.iter().flat_map(|wanted| wanted.as_str().split(',')).map(str::trim);
    let wanted: BTreeSet<&str> = names.by_ref().collect();
    let wants = |name: &str| wanted.contains(name);
    let parts = row.attributes.etag.parts;
    let checksum = row.attributes.checksum.as_ref().filter(|_| wants(ObjectAttributes::CHECKSUM));
    let object_parts = if wants(ObjectAttributes::OBJECT_PARTS) && parts > 0 {
        let after = usize::try_from(input.part_number_marker.unwrap_or(0)).unwrap_or(0);
        let at_most = usize::try_from(input.max_parts.unwrap_or(1000)).unwrap_or(0).min(1000);
        // What they were numbered when they came is forgotten: they are what they became.
        let pieces = asking.door.metadata().pieces(row.upload).await?;
        let wanted: BTreeSet<u16> = row.contents.pieces().map(|(number, _)| number).collect();
        let all = pieces.into_iter().filter(|(number, _)| wanted.contains(number));
        let all: Vec<_> = all.enumerate().collect();
        let page: Vec<_> = all.iter().skip(after).take(at_most).collect();
        let is_truncated = after + page.len() < all.len();
        let described = page.iter().map(|(at, (_, piece))| {
            let checksum = sums::answered(piece.part.as_ref().and_then(|part| part.checksum.as_ref()), 0);
            ObjectPart {
                checksum_crc32: checksum.checksum_crc32,
                checksum_crc32c: checksum.checksum_crc32c,
                checksum_crc64nvme: checksum.checksum_crc64nvme,
                checksum_sha1: checksum.checksum_sha1,
                checksum_sha256: checksum.checksum_sha256,
                part_number: i32::try_from(at + 1).ok(),
                size: i64::try_from(piece.bytes).ok(),
            }
        });
        Some(GetObjectAttributesParts {
            is_truncated: Some(is_truncated),
            max_parts: i32::try_from(at_most).ok(),
            next_part_number_marker: i32::try_from(after + page.len()).ok(),
            part_number_marker: i32::try_from(after).ok(),
            parts: Some(described.collect()),
            total_parts_count: Some(i32::from(parts)),
        })
    } else {
        None
    };
    Ok(GetObjectAttributesOutput {
        checksum: checksum.map(|checksum| sums::answered(Some(checksum), parts)),
        e_tag: wants(ObjectAttributes::ETAG).then(|| tag(&row)),
        last_modified: Some(time(row.modified_ms)),
        object_parts,
        object_size: if wants(ObjectAttributes::OBJECT_SIZE) { i64::try_from(row.bytes).ok() } else { None },
        version_id: bucket.version_of(&row),
        storage_class: wants(ObjectAttributes::STORAGE_CLASS).then(|| s3s::dto::StorageClass::from_static("STANDARD")),
        ..GetObjectAttributesOutput::default()
    })
}
