//! Tags of objects.

use eddy_object::schema::ObjectRow;
use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput, PutObjectTaggingInput,
    PutObjectTaggingOutput,
};

use super::asking::Asking;
use super::attributes::{object_tags, tag_set};
use super::error::Failure;
use crate::access::Right;

pub(super) async fn get(asking: Asking, input: GetObjectTaggingInput) -> Result<GetObjectTaggingOutput, Failure> {
    let version = input.version_id.as_deref();
    let (bucket, row) = asking.object(&input.bucket, &input.key, version, Right::GetObjectTagging).await?;
    Ok(GetObjectTaggingOutput { tag_set: tag_set(&row.attributes.tags), version_id: bucket.version_of(&row) })
}

pub(super) async fn put(mut asking: Asking, input: PutObjectTaggingInput) -> Result<PutObjectTaggingOutput, Failure> {
    let tags = object_tags(input.tagging.tag_set)?;
    asking.tags.clone_from(&tags);
    let version_id = set(&asking, &input.bucket, &input.key, input.version_id.as_deref(), tags, Right::PutObjectTagging).await?;
    Ok(PutObjectTaggingOutput { version_id })
}

pub(super) async fn delete(asking: Asking, input: DeleteObjectTaggingInput) -> Result<DeleteObjectTaggingOutput, Failure> {
    let version = input.version_id.as_deref();
    let version_id = set(&asking, &input.bucket, &input.key, version, Vec::new(), Right::DeleteObjectTagging).await?;
    Ok(DeleteObjectTaggingOutput { version_id })
}

async fn set(
    asking: &Asking,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    tags: Vec<(String, String)>,
    right: Right,
) -> Result<Option<String>, Failure> {
    let (bucket, row) = asking.object(bucket, key, version, right).await?;
    let change = |row: &mut ObjectRow| {
        row.attributes.tags.clone_from(&tags);
        Ok(())
    };
    let row = asking.change(&bucket, key, version, &row, change).await?;
    Ok(bucket.version_of(&row))
}
