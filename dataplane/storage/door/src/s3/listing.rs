//! Listings of buckets.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eddy_object::schema::{NamespaceRow, ObjectRow};
use eddy_object::{Listed, ListedVersion, Listing, ListingPage, VersionId, VersionsAfter, common_prefix};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, DeleteMarkerEntry, EncodingType, ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object, ObjectStorageClass, ObjectVersion,
    ObjectVersionStorageClass, Owner,
};

use super::asking::{Asking, Bucket, parse_version};
use super::attributes::time;
use super::error::Failure;
use super::parts::page_limit;
use super::reading::tag;
use super::sums;
use crate::access::Right;

/// What stays as it is where keys are encoded.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// How keys are written in answers: XML cannot hold all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    pub(super) fn of(asked: Option<&EncodingType>) -> Result<Self, Failure> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(_) => Err(Failure::bad("encoding-type is url, if anything")),
        }
    }

    pub(super) fn of_key(self, key: &str) -> String {
        match self {
            Self::Plain => key.to_owned(),
            Self::Url => utf8_percent_encode(key, KEPT).to_string(),
        }
    }
}

/// Whose a bucket is, and all in it.
pub(super) fn owner(space: &NamespaceRow) -> Owner {
    let user = space.settings.owner.clone();
    Owner { display_name: Some(user.clone()), id: Some(user) }
}

/// Objects of a page, and common prefixes.
fn divided(page: ListingPage, bucket: &Bucket, encoding: Encoding, with_owner: bool) -> (Vec<Object>, Vec<CommonPrefix>) {
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    for entry in page.entries {
        match entry {
            Listed::Object(key, row) => objects.push(object(&key, &row, bucket, encoding, with_owner)),
            Listed::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(encoding.of_key(&prefix)) }),
        }
    }
    (objects, prefixes)
}

fn object(key: &str, row: &ObjectRow, bucket: &Bucket, encoding: Encoding, with_owner: bool) -> Object {
    let checksum = row.attributes.checksum.as_ref();
    Object {
        checksum_algorithm: checksum.map(|checksum| vec![sums::algorithm_name(checksum.algorithm)]),
        checksum_type: checksum.map(sums::type_of),
        e_tag: Some(tag(row)),
        key: Some(encoding.of_key(key)),
        last_modified: Some(time(row.modified_ms)),
        owner: with_owner.then(|| owner(&bucket.space)),
        restore_status: None,
        size: i64::try_from(row.bytes).ok(),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
    }
}

async fn page(
    asking: &Asking,
    bucket: &Bucket,
    (prefix, delimiter, after): (Option<&str>, Option<&str>, Option<&str>),
    limit: usize,
) -> Result<ListingPage, Failure> {
    if limit == 0 {
        return Ok(ListingPage::default());
    }
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let listing = Listing { prefix: text(prefix), delimiter: text(delimiter), after: text(after), limit };
    Ok(asking.door.metadata().list(bucket.space.id, &listing).await?)
}

pub(super) async fn list(asking: Asking, input: ListObjectsInput) -> Result<ListObjectsOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::ListBucket).await?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let limit = page_limit(input.max_keys, "max-keys")?;
    let what = (input.prefix.as_deref(), input.delimiter.as_deref(), input.marker.as_deref());
    let page = page(&asking, &bucket, what, limit).await?;
    let more = page.more;
    let last = page.entries.last().map(|last| last.name().to_owned());
    let (objects, prefixes) = divided(page, &bucket, encoding, true);
    let has_delimiter = input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty());
    Ok(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.of_key(input.prefix.as_deref().unwrap_or_default())),
        marker: Some(encoding.of_key(input.marker.as_deref().unwrap_or_default())),
        max_keys: i32::try_from(limit).ok(),
        is_truncated: Some(more),
        contents: Some(objects),
        common_prefixes: Some(prefixes),
        delimiter: input.delimiter.filter(|_| has_delimiter).map(|delimiter| encoding.of_key(&delimiter)),
        // Without a delimiter, the last key is the next marker.
        next_marker: last.filter(|_| more && has_delimiter).map(|last| encoding.of_key(&last)),
        encoding_type: input.encoding_type,
        request_charged: None,
    })
}

pub(super) async fn list_v2(asking: Asking, input: ListObjectsV2Input) -> Result<ListObjectsV2Output, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::ListBucket).await?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let limit = page_limit(input.max_keys, "max-keys")?;
    let token = input.continuation_token.as_deref().map(after_of_token).transpose()?;
    let after = token.as_deref().or(input.start_after.as_deref());
    let page = page(&asking, &bucket, (input.prefix.as_deref(), input.delimiter.as_deref(), after), limit).await?;
    let more = page.more;
    let last = page.entries.last().map(|last| URL_SAFE_NO_PAD.encode(last.name()));
    let (objects, prefixes) = divided(page, &bucket, encoding, input.fetch_owner == Some(true));
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.of_key(input.prefix.as_deref().unwrap_or_default())),
        max_keys: i32::try_from(limit).ok(),
        key_count: i32::try_from(objects.len() + prefixes.len()).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(more),
        next_continuation_token: last.filter(|_| more),
        contents: Some(objects),
        common_prefixes: Some(prefixes),
        delimiter: input.delimiter.filter(|delimiter| !delimiter.is_empty()).map(|delimiter| encoding.of_key(&delimiter)),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|after| encoding.of_key(&after)),
        request_charged: None,
    })
}

fn after_of_token(token: &str) -> Result<String, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| Failure::bad("the continuation token is none of these"))
}

/// Where a listing of versions goes on.
async fn versions_after(asking: &Asking, bucket: &Bucket, input: &ListObjectVersionsInput) -> Result<VersionsAfter, Failure> {
    let Some(key) = input.key_marker.clone().filter(|key| !key.is_empty()) else { return Ok(VersionsAfter::Nothing) };
    let Some(version) = input.version_id_marker.as_deref().filter(|version| !version.is_empty()) else {
        let (prefix, delimiter) = (input.prefix.as_deref().unwrap_or_default(), input.delimiter.as_deref().unwrap_or_default());
        let is_common = common_prefix(&key, prefix, delimiter) == Some(key.as_str());
        return Ok(if is_common { VersionsAfter::Prefix(key) } else { VersionsAfter::Key(key) });
    };
    let order = match parse_version(version)? {
        VersionId::Kept { order, .. } => Some(order),
        unversioned @ VersionId::Unversioned => {
            asking.door.metadata().version(&bucket.space, &key, unversioned).await.ok().map(|row| row.order)
        }
    };
    Ok(order.map_or_else(|| VersionsAfter::Key(key.clone()), |order| VersionsAfter::Version(key.clone(), order)))
}

pub(super) async fn list_versions(asking: Asking, input: ListObjectVersionsInput) -> Result<ListObjectVersionsOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::ListBucketVersions).await?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let limit = page_limit(input.max_keys, "max-keys")?;
    let (prefix, delimiter) = (input.prefix.clone().unwrap_or_default(), input.delimiter.clone().unwrap_or_default());
    let mut after = versions_after(&asking, &bucket, &input).await?;
    let (mut versions, mut markers, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    let mut is_truncated = false;
    'pages: loop {
        if limit == 0 {
            break;
        }
        let room = limit - versions.len() - markers.len() - prefixes.len();
        // One more tells whether there is more.
        let (page, more) = asking.door.metadata().list_versions(bucket.space.id, &prefix, &after, room + 1).await?;
        for listed in page {
            if versions.len() + markers.len() + prefixes.len() == limit {
                is_truncated = true;
                break 'pages;
            }
            if let Some(common) = common_prefix(&listed.key, &prefix, &delimiter) {
                let common = common.to_owned();
                prefixes.push(CommonPrefix { prefix: Some(encoding.of_key(&common)) });
                last = Some((common.clone(), None));
                after = VersionsAfter::Prefix(common);
                continue 'pages;
            }
            last = Some((listed.key.clone(), Some(VersionId::of(&listed.row).to_string())));
            after = VersionsAfter::Version(listed.key.clone(), listed.row.order);
            if listed.row.deleted {
                markers.push(marker(&listed, &bucket, encoding));
            } else {
                versions.push(version(&listed, &bucket, encoding));
            }
        }
        if !more {
            break;
        }
    }
    let next = last.filter(|_| is_truncated);
    Ok(ListObjectVersionsOutput {
        common_prefixes: Some(prefixes),
        delete_markers: Some(markers),
        delimiter: input.delimiter.map(|delimiter| encoding.of_key(&delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(is_truncated),
        key_marker: Some(encoding.of_key(input.key_marker.as_deref().unwrap_or_default())),
        max_keys: i32::try_from(limit).ok(),
        name: Some(input.bucket),
        next_key_marker: next.as_ref().map(|(key, _)| encoding.of_key(key)),
        next_version_id_marker: next.and_then(|(_, version)| version),
        prefix: Some(encoding.of_key(&prefix)),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        versions: Some(versions),
        ..ListObjectVersionsOutput::default()
    })
}

fn version(listed: &ListedVersion, bucket: &Bucket, encoding: Encoding) -> ObjectVersion {
    let checksum = listed.row.attributes.checksum.as_ref();
    ObjectVersion {
        checksum_algorithm: checksum.map(|checksum| vec![sums::algorithm_name(checksum.algorithm)]),
        checksum_type: checksum.map(sums::type_of),
        e_tag: Some(tag(&listed.row)),
        is_latest: Some(listed.latest),
        key: Some(encoding.of_key(&listed.key)),
        last_modified: Some(time(listed.row.modified_ms)),
        owner: Some(owner(&bucket.space)),
        restore_status: None,
        size: i64::try_from(listed.row.bytes).ok(),
        storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
        version_id: Some(VersionId::of(&listed.row).to_string()),
    }
}

fn marker(listed: &ListedVersion, bucket: &Bucket, encoding: Encoding) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(listed.latest),
        key: Some(encoding.of_key(&listed.key)),
        last_modified: Some(time(listed.row.modified_ms)),
        owner: Some(owner(&bucket.space)),
        version_id: Some(VersionId::of(&listed.row).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_where_that_is_asked_for() {
        assert_eq!(Encoding::Url.of_key("a b/ä+\u{1}~"), "a%20b/%C3%A4%2B%01~");
        assert_eq!(Encoding::Plain.of_key("a b"), "a b");
    }

    #[test]
    fn a_token_is_what_was_answered() {
        assert_eq!(after_of_token(&URL_SAFE_NO_PAD.encode("a/ä")).ok().as_deref(), Some("a/ä"));
        assert!(after_of_token("!").is_err() && after_of_token("_w").is_err());
    }
}
