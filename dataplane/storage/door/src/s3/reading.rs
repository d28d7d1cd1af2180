//! Objects that are read, and what is said of them.

use std::collections::BTreeSet;

use eddy_object::schema::ObjectRow;
use http::header::RANGE;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{
    ChecksumMode, ETag, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, GetObjectInput,
    GetObjectOutput, HeadObjectInput, HeadObjectOutput, ObjectAttributes, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectPart,
    StreamingBlob,
};
use s3s::{S3ErrorCode, dto};

use super::asking::{Asking, Bucket};
use super::attributes::{self, time};
use super::conditions;
use super::error::Failure;
use super::lock::{hold_name, mode_name};
use super::sums::{self, summed};
use crate::access::Right;
use crate::http::{Asked, ByteRange, Conditions, Outcome, State, etag};
use crate::transfer;

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
        summed!(
            checksum,
            $output {
                accept_ranges: Some("bytes".to_owned()),
                cache_control: attributes::header(row, "cache-control"),
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
        )
    }};
}

pub(super) async fn get(asking: Asking, input: GetObjectInput) -> Result<GetObjectOutput, Failure> {
    let chosen = [
        input.response_cache_control.is_some(),
        input.response_content_disposition.is_some(),
        input.response_content_encoding.is_some(),
        input.response_content_language.is_some(),
        input.response_content_type.is_some(),
        input.response_expires.is_some(),
    ];
    if asking.principal.is_none() && chosen.contains(&true) {
        return Err(Failure::new(S3ErrorCode::InvalidRequest, "whoever signs a request chooses the headers of its answer"));
    }
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let reading = reading(&asking, target, input.part_number, input.checksum_mode.as_ref()).await?;
    asking.door.objects().note_read(&reading.bucket.space, &input.key);
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

pub(super) async fn attributes(asking: Asking, input: GetObjectAttributesInput) -> Result<GetObjectAttributesOutput, Failure> {
    let right = if input.version_id.is_some() { Right::GetObjectVersion } else { Right::GetObject };
    let (bucket, row) = asking.object(&input.bucket, &input.key, input.version_id.as_deref(), right).await?;
    // They come in one header, or in several.
    let names = input.object_attributes.iter().flat_map(|wanted| wanted.as_str().split(',')).map(str::trim);
    let wanted: BTreeSet<&str> = names.collect();
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
            summed!(checksum, ObjectPart { part_number: i32::try_from(at + 1).ok(), size: i64::try_from(piece.bytes).ok() })
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
