//! What the owner of a bucket decided besides: kept as the documents that S3 has for it.

use s3s::S3ErrorCode;
use s3s::dto::{
    CORSConfiguration, CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, DeleteBucketTaggingInput,
    DeleteBucketTaggingOutput, GetBucketCorsInput, GetBucketCorsOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    PutBucketCorsInput, PutBucketCorsOutput, PutBucketTaggingInput, PutBucketTaggingOutput, Tagging,
};
use s3s::xml::{Deserialize, Deserializer, Serialize, Serializer};

use super::asking::{Asking, Bucket};
use super::attributes;
use super::error::Failure;
use crate::access::Right;
use crate::door::Door;

/// A kind of document.
pub(super) const CORS: &str = "cors";
const TAGGING: &str = "tagging";

/// Rules of a bucket, as in S3.
const CORS_RULES_MAX: usize = 100;
const CORS_METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// A document that the owner of a bucket gave, if so.
pub(super) async fn document<T>(door: &Door, namespace: u64, name: &str) -> Result<Option<T>, Failure>
where
    T: for<'xml> Deserialize<'xml>,
{
    let Some(bytes) = door.metadata().configuration(namespace, name).await? else { return Ok(None) };
    let mut deserializer = Deserializer::new(&bytes);
    let broken = |error| eddy_object::ObjectError::Broken(format!("the {name} document cannot be read: {error}"));
    Ok(Some(T::deserialize(&mut deserializer).map_err(broken)?))
}

async fn keep<T: Serialize>(asking: &Asking, bucket: &Bucket, name: &str, document: &T) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let written = document.serialize(&mut Serializer::new(&mut bytes));
    written.map_err(|error| Failure::new(S3ErrorCode::MalformedXML, format!("the document cannot be kept: {error}")))?;
    Ok(asking.door.metadata().set_configuration(&bucket.name, name, Some(bytes.into())).await?)
}

async fn forget(asking: &Asking, bucket: &str, name: &str, action: &'static str) -> Result<(), Failure> {
    let bucket = asking.bucket(bucket, Right::PutConfiguration(action)).await?;
    Ok(asking.door.metadata().set_configuration(&bucket.name, name, None).await?)
}

pub(super) async fn cors(asking: Asking, input: GetBucketCorsInput) -> Result<GetBucketCorsOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::GetConfiguration("s3:GetBucketCORS")).await?;
    let found: Option<CORSConfiguration> = document(&asking.door, bucket.space.id, CORS).await?;
    let found =
        found.ok_or_else(|| Failure::new(S3ErrorCode::NoSuchCORSConfiguration, "the bucket has no rules for other origins"))?;
    Ok(GetBucketCorsOutput { cors_rules: Some(found.cors_rules) })
}

pub(super) async fn set_cors(asking: Asking, input: PutBucketCorsInput) -> Result<PutBucketCorsOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration("s3:PutBucketCORS")).await?;
    let rules = &input.cors_configuration.cors_rules;
    if rules.is_empty() || rules.len() > CORS_RULES_MAX {
        return Err(Failure::new(S3ErrorCode::MalformedXML, format!("a bucket has 1 to {CORS_RULES_MAX} rules")));
    }
    rules.iter().try_for_each(check_cors)?;
    keep(&asking, &bucket, CORS, &input.cors_configuration).await?;
    Ok(PutBucketCorsOutput::default())
}

fn check_cors(rule: &CORSRule) -> Result<(), Failure> {
    let bad = |message: String| Err(Failure::new(S3ErrorCode::InvalidRequest, message));
    if let Some(method) = rule.allowed_methods.iter().find(|method| !CORS_METHODS.contains(&method.as_str())) {
        return bad(format!("the method {method:?} is none of {CORS_METHODS:?}"));
    }
    let patterns = rule.allowed_origins.iter().chain(rule.allowed_headers.iter().flatten());
    if let Some(pattern) = patterns.into_iter().find(|pattern| pattern.matches('*').count() > 1) {
        return bad(format!("{pattern:?} has more than one *"));
    }
    if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
        return bad("a rule has a method and an origin".to_owned());
    }
    Ok(())
}

pub(super) async fn delete_cors(asking: Asking, input: DeleteBucketCorsInput) -> Result<DeleteBucketCorsOutput, Failure> {
    forget(&asking, &input.bucket, CORS, "s3:PutBucketCORS").await?;
    Ok(DeleteBucketCorsOutput::default())
}

pub(super) async fn tagging(asking: Asking, input: GetBucketTaggingInput) -> Result<GetBucketTaggingOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::GetConfiguration("s3:GetBucketTagging")).await?;
    let found: Option<Tagging> = document(&asking.door, bucket.space.id, TAGGING).await?;
    let none = || Failure::new(S3ErrorCode::NoSuchTagSet, "the bucket has no tags");
    Ok(GetBucketTaggingOutput { tag_set: found.ok_or_else(none)?.tag_set })
}

pub(super) async fn set_tagging(asking: Asking, input: PutBucketTaggingInput) -> Result<PutBucketTaggingOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration("s3:PutBucketTagging")).await?;
    let tags = attributes::bucket_tags(input.tagging.tag_set)?;
    keep(&asking, &bucket, TAGGING, &Tagging { tag_set: attributes::tag_set(&tags) }).await?;
    Ok(PutBucketTaggingOutput::default())
}

pub(super) async fn delete_tagging(
    asking: Asking,
    input: DeleteBucketTaggingInput,
) -> Result<DeleteBucketTaggingOutput, Failure> {
    forget(&asking, &input.bucket, TAGGING, "s3:PutBucketTagging").await?;
    Ok(DeleteBucketTaggingOutput::default())
}
