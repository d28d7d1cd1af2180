//! The S3 API: buckets are namespaces.
//!
//! `s3s` reads requests, checks signatures and writes answers; here is what the operations do.

mod acl;
mod asking;
mod attributes;
mod buckets;
mod conditions;
mod copies;
mod cors;
mod deleting;
mod error;
mod framing;
mod hosts;
mod keys;
mod lifecycle;
mod listing;
mod lock;
mod parts;
mod reading;
mod service;
mod settings;
mod sharing;
mod signed;
mod sums;
mod tags;
mod writing;

use async_trait::async_trait;
use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use self::asking::Asking;
pub(crate) use self::hosts::Hosts;
use self::service::RequestId;
pub(crate) use self::service::S3Door;
use crate::door::Door;

/// All operations.
struct Operations(Door);

/// What an operation answers with.
trait Answer<T> {
    /// As it is sent.
    fn response(self) -> S3Response<T>;
}

impl<T> Answer<T> for T {
    fn response(self) -> S3Response<T> {
        S3Response::new(self)
    }
}

/// With headers that `s3s` does not know.
impl<T> Answer<T> for (T, HeaderMap) {
    fn response(self) -> S3Response<T> {
        S3Response::with_headers(self.0, self.1)
    }
}

/// Says where each operation is; the others are not there, and are answered so.
macro_rules! operations {
    ($($name:ident($input:ty) -> $output:ty = $operation:path;)*) => {
        #[async_trait]
        impl S3 for Operations {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let id = request.extensions.get::<RequestId>().cloned();
                let (asking, input) = Asking::of(&self.0, request);
                // Boxed, so that each request does not cost as much memory as the largest.
                match Box::pin($operation(asking, input)).await {
                    Ok(answer) => Ok(answer.response()),
                    Err(failure) => Err(failure.named(id)),
                }
            })*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = buckets::versioning;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = buckets::set_versioning;

    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = settings::cors;
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput = settings::set_cors;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = settings::delete_cors;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput
        = lifecycle::get;
    put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput
        = lifecycle::set;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = lifecycle::delete;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = settings::tagging;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = settings::set_tagging;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = settings::delete_tagging;

    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = acl::bucket;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput = acl::set_bucket;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = acl::object;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput = acl::set_object;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = sharing::policy;
    put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput = sharing::set_policy;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = sharing::delete_policy;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = sharing::policy_status;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = sharing::block;
    put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput = sharing::set_block;
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput = sharing::delete_block;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = sharing::ownership;
    put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput
        = sharing::set_ownership;
    delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput
        = sharing::delete_ownership;

    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput = lock::configuration;
    put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput
        = lock::set_configuration;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput = lock::retention_of;
    put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput = lock::set_retention;
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput = lock::hold;
    put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput = lock::set_hold;

    list_objects(ListObjectsInput) -> ListObjectsOutput = listing::list;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = listing::list_v2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = listing::list_versions;

    get_object(GetObjectInput) -> GetObjectOutput = reading::get;
    head_object(HeadObjectInput) -> HeadObjectOutput = reading::head;
    put_object(PutObjectInput) -> PutObjectOutput = writing::put;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = deleting::delete;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = deleting::delete_many;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = reading::attributes;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copies::copy;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = tags::get;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = tags::put;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = tags::delete;

    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = parts::create;
    upload_part(UploadPartInput) -> UploadPartOutput = parts::upload;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = copies::copy_part;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = parts::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = parts::abort;
    list_parts(ListPartsInput) -> ListPartsOutput = parts::list_parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = parts::list_uploads;
}
