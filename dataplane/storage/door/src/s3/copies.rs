//! Copies of objects, and parts that are copies.

use eddy_object::schema::{Attributes, ObjectRow};
use http::HeaderMap;
use s3s::S3ErrorCode;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, MetadataDirective, TaggingDirective,
    UploadPartCopyInput, UploadPartCopyOutput,
};

use super::acl::wanted;
use super::asking::{Asking, Bucket};
use super::attributes::{given, time};
use super::conditions;
use super::error::Failure;
use super::lock::wanted_lock;
use super::parts::open_part;
use super::reading::tag;
use super::sums::{self, Sums, summed};
use super::writing::{check_length, precondition, refuse_encryption};
use crate::access::Right;
use crate::http::{Asked, ByteRange, Conditions, Outcome, State, etag};
use crate::transfer;
use crate::upload_id::upload_number;

/// What is copied.
struct Source {
    bucket: Bucket,
    key: String,
    row: ObjectRow,
    named_version: bool,
}

async fn source(asking: &Asking, source: &CopySource) -> Result<Source, Failure> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(Failure::not_built("a copy of what is not in a bucket"));
    };
    let right = if version_id.is_some() { Right::GetObjectVersion } else { Right::GetObject };
    let (bucket, row) = asking.object(bucket, key, version_id.as_deref(), right).await.map_err(|failure| {
        // A version that says that the object was deleted is a bad thing to copy, not a bad method.
        let is_marker = *failure.code() == S3ErrorCode::MethodNotAllowed;
        if is_marker {
            Failure::new(S3ErrorCode::InvalidRequest, "what says that an object was deleted cannot be copied")
        } else {
            failure
        }
    })?;
    let tag = etag(&row);
    let conditions = conditions::of_source(&asking.headers);
    if Conditions(&conditions).of_reading(&State { etag: &tag, modified_ms: row.modified_ms }) != Outcome::Holds {
        return Err(Failure::precondition());
    }
    Ok(Source { bucket, key: key.to_string(), row, named_version: version_id.is_some() })
}

impl Source {
    fn version(&self) -> Option<String> {
        self.bucket.version_of(&self.row)
    }
}

pub(super) async fn copy(mut asking: Asking, mut input: CopyObjectInput) -> Result<CopyObjectOutput, Failure> {
    refuse_encryption(&input.server_side_encryption, &input.sse_customer_algorithm)?;
    let replaces = |directive: Option<&str>| directive == Some(MetadataDirective::REPLACE);
    let anew = replaces(input.metadata_directive.as_ref().map(MetadataDirective::as_str));
    let tags_anew = replaces(input.tagging_directive.as_ref().map(TaggingDirective::as_str));
    let given = given!(input).attributes()?;
    if tags_anew {
        asking.tags.clone_from(&given.tags);
    }
    let (bucket, before) = asking.present(&input.bucket, &input.key, Right::PutObject).await?;
    let source = source(&asking, &input.copy_source).await?;
    let to_itself = source.bucket.name == bucket.name && source.key == input.key && !source.named_version;
    if to_itself && !anew && !tags_anew {
        let message = "a copy of an object to itself changes something: say what, with a directive to REPLACE it";
        return Err(Failure::new(S3ErrorCode::InvalidRequest, message));
    }
    let precondition = precondition(&asking, &input.key, before.as_ref())?;
    let wanted = input.checksum_algorithm.as_ref().map(|algorithm| sums::algorithm_of(algorithm.as_str())).transpose()?;
    let sharing = wanted!(input).of_new(&asking, &bucket, &input.key)?;
    let own = Attributes {
        writer: sharing.writer,
        grants: sharing.grants,
        lock: wanted_lock!(input).of_new(&asking, &bucket, &input.key).await?,
        ..Attributes::default()
    };
    let row = &source.row;
    let mut attributes = if anew { given.clone() } else { row.attributes.clone() };
    attributes.tags = if tags_anew { given.tags } else { row.attributes.tags.clone() };
    let length = check_length(i64::try_from(row.bytes).ok())?;
    let mut upload = asking.door.objects().upload_to(&bucket.name, &bucket.space, length).await?;
    let algorithm = wanted.or_else(|| row.attributes.checksum.as_ref().map(|checksum| checksum.algorithm));
    // It comes from storage, as one: what it was known by as parts, it is no more.
    let mut sums = Sums::announced(&HeaderMap::new(), algorithm)?;
    let whole = ByteRange { start: 0, end: row.bytes };
    transfer::copy(asking.door.objects(), row, whole, &mut upload, |piece| sums.update(piece)).await?;
    let (etag, checksum) = sums.finish(None)?;
    // With whom it is shared, and how long it must stay, is not copied.
    let attributes = Attributes { etag, checksum, writer: own.writer, grants: own.grants, lock: own.lock, ..attributes };
    let copied = upload.finish(&input.key, attributes, &precondition).await?;
    let checksum = sums::answered(copied.attributes.checksum.as_ref(), 0);
    Ok(CopyObjectOutput {
        copy_object_result: Some(summed!(
            checksum,
            CopyObjectResult {
                checksum_type: checksum.checksum_type,
                e_tag: Some(tag(&copied)),
                last_modified: Some(time(copied.modified_ms)),
            }
        )),
        copy_source_version_id: source.version(),
        version_id: bucket.new_version(&copied),
        ..CopyObjectOutput::default()
    })
}

pub(super) async fn copy_part(asking: Asking, input: UploadPartCopyInput) -> Result<UploadPartCopyOutput, Failure> {
    let bucket = asking.bucket_for(&input.bucket, &input.key, Right::PutObject).await?;
    let number = upload_number(&input.upload_id)?;
    let (part, algorithm) = open_part(&asking, &bucket, &input.key, number, input.part_number).await?;
    let source = source(&asking, &input.copy_source).await?;
    let range = match input.copy_source_range.as_deref() {
        None => ByteRange { start: 0, end: source.row.bytes },
        Some(range) => range_of_source(range, source.row.bytes)?,
    };
    let length = check_length(i64::try_from(range.end - range.start).ok())?;
    let mut upload = asking.door.objects().upload_to(&bucket.name, &bucket.space, length).await?;
    let mut sums = Sums::announced(&HeaderMap::new(), algorithm)?;
    transfer::copy(asking.door.objects(), &source.row, range, &mut upload, |piece| sums.update(piece)).await?;
    let (etag, checksum) = sums.finish(None)?;
    let attributes = Attributes { etag, checksum, ..Attributes::default() };
    let piece = upload.finish_part(&input.key, number, part, attributes).await?;
    let part = piece.part.unwrap_or_default();
    let checksum = sums::answered(part.checksum.as_ref(), 0);
    Ok(UploadPartCopyOutput {
        copy_part_result: Some(summed!(
            checksum,
            CopyPartResult { e_tag: Some(sums::part_tag(&part.digest)), last_modified: Some(time(part.modified_ms)) }
        )),
        copy_source_version_id: source.version(),
        ..UploadPartCopyOutput::default()
    })
}

/// Unlike what is read, what is copied must be all there.
fn range_of_source(header: &str, length: u64) -> Result<ByteRange, Failure> {
    let ends = header.strip_prefix("bytes=").and_then(|spec| spec.split_once('-'));
    let is_exact = ends.is_some_and(|(first, last)| !first.is_empty() && !last.is_empty());
    match Asked::of(Some(header), length) {
        Asked::Part(range) if is_exact && ends.and_then(|(_, last)| last.parse().ok()) == Some(range.end - 1) => Ok(range),
        Asked::Whole => Err(Failure::bad("x-amz-copy-source-range is bytes=first-last")),
        _ if !is_exact => Err(Failure::bad("x-amz-copy-source-range is bytes=first-last")),
        _ => Err(Failure::new(S3ErrorCode::InvalidRange, format!("what is copied has {length} bytes"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_all_there() {
        assert_eq!(range_of_source("bytes=0-9", 10).unwrap(), ByteRange { start: 0, end: 10 });
        assert_eq!(range_of_source("bytes=3-3", 10).unwrap(), ByteRange { start: 3, end: 4 });
        for bad in ["bytes=0-10", "bytes=10-11", "bytes=-3", "bytes=3-", "0-3", "bytes=3-2", "bytes=0-3,5-6", "bytes=a-b"] {
            assert!(range_of_source(bad, 10).is_err(), "{bad}");
        }
    }
}
