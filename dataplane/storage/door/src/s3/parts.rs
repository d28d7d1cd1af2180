//! Objects that come in parts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eddy_authz::Principal;
use eddy_object::schema::{Attributes, Checksum, ChecksumAlgorithm, MultipartRow, PieceRow};
use eddy_object::{Completion, ListedMultipart, ObjectError, PARTS_MAX, WantedPart, common_prefix};
use s3s::S3ErrorCode;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumType, CommonPrefix, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput, CreateMultipartUploadOutput, Initiator,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Owner, Part,
    StorageClass, UploadPartInput, UploadPartOutput,
};

use super::acl::wanted;
use super::asking::{Asking, Bucket};
use super::attributes::{given, time};
use super::error::Failure;
use super::listing::{Encoding, owner};
use super::lock::wanted_lock;
use super::reading::tag;
use super::sums::{self, Sums, summed};
use super::writing::{check_length, precondition, receive, refuse_encryption};
use crate::access::Right;
use crate::upload_id::{upload_id, upload_number};

/// The shortest part but the last, as in S3.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// Entries of a page.
const PAGE: usize = 1000;

/// The number of a part, of an upload that takes parts, and the checksum that it must have.
pub(super) async fn open_part(
    asking: &Asking,
    bucket: &Bucket,
    key: &str,
    upload: u64,
    part: i32,
) -> Result<(u16, Option<ChecksumAlgorithm>), Failure> {
    let number = u16::try_from(part).ok().filter(|number| (1..=PARTS_MAX).contains(number));
    let number = number.ok_or_else(|| Failure::bad(format!("parts have numbers from 1 to {PARTS_MAX}")))?;
    let row = asking.door.metadata().multipart(bucket.space.id, key, upload).await?;
    Ok((number, row.attributes.checksum.map(|checksum| checksum.algorithm)))
}

pub(super) async fn create(
    mut asking: Asking,
    mut input: CreateMultipartUploadInput,
) -> Result<CreateMultipartUploadOutput, Failure> {
    refuse_encryption(&input.server_side_encryption, &input.sse_customer_algorithm)?;
    let given = given!(input).attributes()?;
    asking.tags.clone_from(&given.tags);
    let bucket = asking.bucket_for(&input.bucket, &input.key, Right::PutObject).await?;
    let algorithm = input.checksum_algorithm.as_ref().map(|algorithm| sums::algorithm_of(algorithm.as_str())).transpose()?;
    let kind = input.checksum_type.as_ref().map(ChecksumType::as_str);
    let checksum = algorithm.map(|algorithm| empty_checksum(algorithm, kind)).transpose()?;
    if checksum.is_none() && kind.is_some() {
        return Err(Failure::new(S3ErrorCode::InvalidRequest, "a checksum's type needs its algorithm"));
    }
    let sharing = wanted!(input).of_new(&asking, &bucket, &input.key)?;
    let attributes = Attributes {
        checksum,
        writer: sharing.writer,
        grants: sharing.grants,
        lock: wanted_lock!(input).of_new(&asking, &bucket, &input.key).await?,
        ..given
    };
    let owner = asking.principal.as_ref().map(Principal::user).unwrap_or_default();
    let answered = attributes.checksum.clone();
    let upload = asking.door.metadata().create_multipart(&bucket.name, &input.key, owner, attributes).await?;
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: answered.as_ref().map(|checksum| sums::algorithm_name(checksum.algorithm)),
        checksum_type: answered.as_ref().map(sums::type_of),
        key: Some(input.key),
        upload_id: Some(upload_id(upload)),
        ..CreateMultipartUploadOutput::default()
    })
}

/// What all parts will have.
fn empty_checksum(algorithm: ChecksumAlgorithm, kind: Option<&str>) -> Result<Checksum, Failure> {
    let whole_only = algorithm == ChecksumAlgorithm::Crc64Nvme;
    let parts_only = matches!(algorithm, ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256);
    let composite = match kind {
        None => !whole_only,
        Some(ChecksumType::COMPOSITE) if !whole_only => true,
        Some(ChecksumType::FULL_OBJECT) if !parts_only => false,
        Some(other) => {
            let message = format!("there is no {} of the type {other}", sums::name_of(algorithm));
            return Err(Failure::new(S3ErrorCode::InvalidRequest, message));
        }
    };
    Ok(Checksum { algorithm, value: Vec::new(), composite })
}

pub(super) async fn upload(asking: Asking, mut input: UploadPartInput) -> Result<UploadPartOutput, Failure> {
    let bucket = asking.bucket_for(&input.bucket, &input.key, Right::PutObject).await?;
    let number = upload_number(&input.upload_id)?;
    let (part, algorithm) = open_part(&asking, &bucket, &input.key, number, input.part_number).await?;
    let length = check_length(input.content_length)?;
    let sums = Sums::announced(&asking.headers, algorithm)?;
    if let (Some(wanted), Some(came)) = (algorithm, sums.algorithm())
        && wanted != came
    {
        let message = format!("the upload's parts have a {}, not a {}", sums::name_of(wanted), sums::name_of(came));
        return Err(Failure::new(S3ErrorCode::InvalidRequest, message));
    }
    let mut writing = asking.door.objects().upload_to(&bucket.name, &bucket.space, length).await?;
    let attributes = receive(&asking, &mut writing, input.body.take(), sums).await?;
    let piece = writing.finish_part(&input.key, number, part, attributes).await?;
    let part = piece.part.unwrap_or_default();
    let checksum = sums::answered(part.checksum.as_ref(), 0);
    Ok(summed!(checksum, UploadPartOutput { e_tag: Some(sums::part_tag(&part.digest)), ..UploadPartOutput::default() }))
}

/// A part as whoever sent it knows it.
fn wanted(part: CompletedPart) -> Result<WantedPart, Failure> {
    let number = part.part_number.and_then(|number| u16::try_from(number).ok());
    let number = number.ok_or_else(|| Failure::new(S3ErrorCode::MalformedXML, "a part has no number"))?;
    let invalid = || Failure::new(S3ErrorCode::InvalidPart, format!("part {number} has another tag or checksum"));
    let digest = part.e_tag.as_ref().and_then(|tag| sums::digest_of(tag.value())).ok_or_else(invalid)?;
    let sums = [part.checksum_crc32, part.checksum_crc32c, part.checksum_crc64nvme, part.checksum_sha1, part.checksum_sha256];
    let checksum = sums.into_iter().flatten().next();
    let checksum = checksum.map(|text| STANDARD.decode(text).map_err(|_| invalid())).transpose()?;
    Ok(WantedPart { number, digest, checksum })
}

pub(super) async fn complete(
    asking: Asking,
    input: CompleteMultipartUploadInput,
) -> Result<CompleteMultipartUploadOutput, Failure> {
    let (bucket, before) = asking.present(&input.bucket, &input.key, Right::PutObject).await?;
    let upload = upload_number(&input.upload_id)?;
    let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    if parts.is_empty() || parts.len() > usize::from(PARTS_MAX) {
        return Err(Failure::new(S3ErrorCode::MalformedXML, format!("an object has 1 to {PARTS_MAX} parts")));
    }
    let parts: Vec<WantedPart> = parts.into_iter().map(wanted).collect::<Result<_, _>>()?;
    let precondition = precondition(&asking, &input.key, before.as_ref())?;
    let announced = sums::of_whole(&asking.headers)?;
    let announced_bytes = input.mpu_object_size.and_then(|bytes| u64::try_from(bytes).ok());
    let completion = Completion { upload, wanted: &parts, part_bytes_min: PART_BYTES_MIN, precondition: &precondition };
    let seal = |attributes: &Attributes, pieces: &[PieceRow]| {
        let bytes: u64 = pieces.iter().map(|piece| piece.bytes).sum();
        if let Some(announced) = announced_bytes.filter(|announced| *announced != bytes) {
            return Err(ObjectError::WrongLength { announced, came: bytes });
        }
        let bad = |failure: Failure| ObjectError::BadPart(failure.message().unwrap_or_default().to_owned());
        let checksum = attributes.checksum.as_ref().map(|wanted| sums::checksum_of(wanted, pieces)).transpose().map_err(bad)?;
        if let Some((algorithm, value)) = &announced
            && checksum.as_ref().is_some_and(|checksum| checksum.algorithm == *algorithm && checksum.value != *value)
        {
            return Err(ObjectError::BadPart("the parts do not have the checksum that was announced".into()));
        }
        Ok(Attributes { etag: sums::etag_of(pieces), checksum, ..attributes.clone() })
    };
    let row = asking.door.metadata().complete_multipart(&bucket.name, &input.key, completion, seal).await?;
    let checksum = sums::answered(row.attributes.checksum.as_ref(), row.attributes.etag.parts);
    Ok(summed!(
        checksum,
        CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            checksum_type: checksum.checksum_type,
            e_tag: Some(tag(&row)),
            version_id: bucket.new_version(&row),
            key: Some(input.key),
            ..CompleteMultipartUploadOutput::default()
        }
    ))
}

pub(super) async fn abort(asking: Asking, input: AbortMultipartUploadInput) -> Result<AbortMultipartUploadOutput, Failure> {
    let bucket = asking.bucket_for(&input.bucket, &input.key, Right::AbortMultipartUpload).await?;
    asking.door.metadata().abort_multipart(&bucket.name, &input.key, upload_number(&input.upload_id)?).await?;
    Ok(AbortMultipartUploadOutput::default())
}

pub(super) async fn list_parts(asking: Asking, input: ListPartsInput) -> Result<ListPartsOutput, Failure> {
    let bucket = asking.bucket_for(&input.bucket, &input.key, Right::ListMultipartUploadParts).await?;
    let upload = upload_number(&input.upload_id)?;
    let row = asking.door.metadata().multipart(bucket.space.id, &input.key, upload).await?;
    let after = input.part_number_marker.unwrap_or(0);
    let limit = page_limit(input.max_parts, "max-parts")?;
    let mut parts = asking.door.metadata().parts(bucket.space.id, &input.key, upload).await?;
    parts.retain(|(number, _)| i32::from(*number) > after);
    let is_truncated = parts.len() > limit;
    parts.truncate(limit);
    let last = parts.last().map(|(number, _)| i32::from(*number));
    let described = parts.into_iter().map(|(number, piece)| {
        let part = piece.part.unwrap_or_default();
        let checksum = sums::answered(part.checksum.as_ref(), 0);
        summed!(
            checksum,
            Part {
                e_tag: Some(sums::part_tag(&part.digest)),
                last_modified: Some(time(part.modified_ms)),
                part_number: Some(i32::from(number)),
                size: i64::try_from(piece.bytes).ok(),
            }
        )
    });
    Ok(ListPartsOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: row.attributes.checksum.as_ref().map(|checksum| sums::algorithm_name(checksum.algorithm)),
        checksum_type: row.attributes.checksum.as_ref().map(sums::type_of),
        initiator: Some(Initiator { display_name: Some(row.owner.clone()), id: Some(row.owner.clone()) }),
        is_truncated: Some(is_truncated),
        key: Some(input.key),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: last,
        owner: Some(owner_of(&bucket, &row)),
        part_number_marker: Some(after),
        parts: Some(described.collect()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    })
}

/// How many entries a page has.
pub(super) fn page_limit(asked: Option<i32>, name: &str) -> Result<usize, Failure> {
    let limit = usize::try_from(asked.unwrap_or(PAGE as i32));
    limit.map(|limit| limit.min(PAGE)).map_err(|_| Failure::bad(format!("{name} is not below 0")))
}

pub(super) async fn list_uploads(
    asking: Asking,
    input: ListMultipartUploadsInput,
) -> Result<ListMultipartUploadsOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::ListBucketMultipartUploads).await?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let limit = page_limit(input.max_uploads, "max-uploads")?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().unwrap_or_default();
    // Without an upload, all of the key come before.
    let mut after = input.key_marker.clone().filter(|key| !key.is_empty()).map(|key| {
        let upload = input.upload_id_marker.as_deref().and_then(|upload| upload_number(upload).ok());
        (key, upload.unwrap_or(u64::MAX))
    });
    // A common prefix comes before all that it stands for, and so does not come after any of it.
    let mut listed_as_one = after.as_ref().and_then(|(key, _)| common_prefix(key, &prefix, &delimiter)).map(str::to_owned);
    let (mut uploads, mut prefixes) = (Vec::new(), Vec::<String>::new());
    let (mut is_truncated, mut last_listed) = (false, None);
    'pages: loop {
        if let Some(common) = &listed_as_one {
            after = after.max(Some((format!("{common}{}", char::MAX), u64::MAX)));
        }
        let from = after.as_ref().map(|(key, upload)| (key.as_str(), *upload));
        let (page, more) = asking.door.metadata().list_multiparts(bucket.space.id, &prefix, from, PAGE).await?;
        let last = page.last().map(|last| (last.key.clone(), last.upload));
        for listed in page {
            let common = common_prefix(&listed.key, &prefix, &delimiter);
            if common.is_some() && common == listed_as_one.as_deref() {
                continue;
            }
            if uploads.len() + prefixes.len() == limit {
                is_truncated = limit > 0;
                break 'pages;
            }
            last_listed = Some((common.unwrap_or(&listed.key).to_owned(), listed.upload));
            listed_as_one = common.map(str::to_owned);
            match common {
                Some(common) => prefixes.push(common.to_owned()),
                None => uploads.push(described(&bucket, listed, encoding)),
            }
        }
        match last {
            Some(last) if more => after = Some(last),
            _ => break,
        }
    }
    let next = last_listed.filter(|_| is_truncated);
    Ok(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: Some(prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encoding.of_key(prefix)) }).collect()),
        delimiter: input.delimiter.map(|delimiter| encoding.of_key(&delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(is_truncated),
        key_marker: input.key_marker.map(|key| encoding.of_key(&key)),
        max_uploads: i32::try_from(limit).ok(),
        next_key_marker: next.as_ref().map(|(key, _)| encoding.of_key(key)),
        next_upload_id_marker: next.as_ref().map(|(_, upload)| upload_id(*upload)),
        prefix: input.prefix.map(|prefix| encoding.of_key(&prefix)),
        upload_id_marker: input.upload_id_marker,
        uploads: Some(uploads),
        ..ListMultipartUploadsOutput::default()
    })
}

/// Whose the object will be.
fn owner_of(bucket: &Bucket, row: &MultipartRow) -> Owner {
    let user = row.attributes.writer.clone();
    user.map_or_else(|| owner(&bucket.space), |user| Owner { display_name: Some(user.clone()), id: Some(user) })
}

fn described(bucket: &Bucket, listed: ListedMultipart, encoding: Encoding) -> MultipartUpload {
    let ListedMultipart { key, upload, row } = listed;
    MultipartUpload {
        checksum_algorithm: row.attributes.checksum.as_ref().map(|checksum| sums::algorithm_name(checksum.algorithm)),
        checksum_type: row.attributes.checksum.as_ref().map(sums::type_of),
        initiated: Some(time(row.since_ms)),
        owner: Some(owner_of(bucket, &row)),
        initiator: Some(Initiator { display_name: Some(row.owner.clone()), id: Some(row.owner) }),
        key: Some(encoding.of_key(&key)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(upload_id(upload)),
    }
}
