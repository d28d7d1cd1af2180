//! Objects that are deleted.

use eddy_object::schema::ObjectRow;
use eddy_object::{ObjectError, Precondition};
use futures::StreamExt;
use s3s::S3ErrorCode;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error, ObjectIdentifier,
};

use super::asking::{Asking, Bucket, parse_version};
use super::attributes::seconds;
use super::error::Failure;
use super::lock::bypasses;
use super::reading::tag;
use super::writing::precondition;
use crate::access::Right;

/// Objects that one request deletes, and how many of them at once.
const DELETES_MAX: usize = 1000;
const DELETES_AT_ONCE: usize = 8;

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
    let (bucket, before) = asking.target(&input.bucket, &input.key, input.version_id.as_deref(), right).await?;
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
    let conditional = object.e_tag.is_some() || object.size.is_some() || object.last_modified_time.is_some();
    // A policy may ask what the object has.
    let row = if conditional || bucket.space.settings.sharing.policy { there(asking, bucket, object).await? } else { None };
    asking.check(bucket, Some(&object.key), row.as_ref(), right).await?;
    let bypasses = bypasses(asking, bucket, &object.key, says_bypass).await?;
    if !conditional {
        return remove(asking, bucket, &object.key, object.version_id.as_deref(), &Precondition::None, bypasses).await;
    }
    let row = row.ok_or_else(|| Failure::no_key(&object.key))?;
    let differs = object.e_tag.as_ref().is_some_and(|wanted| wanted.value() != "*" && *wanted != tag(&row))
        || object.size.is_some_and(|wanted| u64::try_from(wanted) != Ok(row.bytes))
        || object.last_modified_time.as_ref().is_some_and(|wanted| seconds(wanted) != Some(row.modified_ms / 1000));
    if differs {
        return Err(Failure::precondition());
    }
    remove(asking, bucket, &object.key, object.version_id.as_deref(), &Precondition::Upload(row.upload), bypasses).await
}

/// What is to be deleted, if it is there.
async fn there(asking: &Asking, bucket: &Bucket, object: &ObjectIdentifier) -> Result<Option<ObjectRow>, Failure> {
    if let Some(version) = object.version_id.as_deref() {
        return asking.version(bucket, &object.key, parse_version(version)?).await;
    }
    match asking.door.metadata().object(bucket.space.id, &object.key).await {
        Err(ObjectError::NoObject(_)) => Ok(None),
        found => Ok(Some(found?)),
    }
}
