//! What holds for all of a bucket that is shared: its policy, what its owner blocks, whose objects are.

use eddy_authz::policy::Policy;
use eddy_object::schema::{NamespaceSettings, Ownership, PublicBlock, Visibility};
use s3s::S3ErrorCode;
use s3s::dto::{
    DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput, DeleteBucketPolicyInput, DeleteBucketPolicyOutput,
    DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput, GetBucketOwnershipControlsInput,
    GetBucketOwnershipControlsOutput, GetBucketPolicyInput, GetBucketPolicyOutput, GetBucketPolicyStatusInput,
    GetBucketPolicyStatusOutput, GetPublicAccessBlockInput, GetPublicAccessBlockOutput, ObjectOwnership, OwnershipControls,
    OwnershipControlsRule, PolicyStatus, PublicAccessBlockConfiguration, PutBucketOwnershipControlsInput,
    PutBucketOwnershipControlsOutput, PutBucketPolicyInput, PutBucketPolicyOutput, PutPublicAccessBlockInput,
    PutPublicAccessBlockOutput,
};

use super::asking::Asking;
use super::error::Failure;
use crate::access::{POLICY, POLICY_DELETE, POLICY_GET, POLICY_PUT, Right, policy_of, resource_of};

/// Longest policy, as in S3.
const POLICY_BYTES_MAX: usize = 20 * 1024;

pub(super) async fn policy(asking: Asking, input: GetBucketPolicyInput) -> Result<GetBucketPolicyOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::GetConfiguration(POLICY_GET)).await?;
    let none = || Failure::new(S3ErrorCode::NoSuchBucketPolicy, "the bucket has no policy");
    if !bucket.space.settings.sharing.policy {
        return Err(none());
    }
    let text = asking.door.metadata().configuration(bucket.space.id, POLICY).await?.ok_or_else(none)?;
    Ok(GetBucketPolicyOutput { policy: Some(String::from_utf8_lossy(&text).into_owned()) })
}

pub(super) async fn set_policy(asking: Asking, input: PutBucketPolicyInput) -> Result<PutBucketPolicyOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration(POLICY_PUT)).await?;
    if input.policy.len() > POLICY_BYTES_MAX {
        return Err(Failure::new(S3ErrorCode::MalformedPolicy, format!("a policy has at most {POLICY_BYTES_MAX} bytes")));
    }
    let parsed = Policy::parse(input.policy.as_bytes(), &resource_of(&bucket.name));
    let parsed = parsed.map_err(|error| Failure::new(S3ErrorCode::MalformedPolicy, error.to_string()))?;
    if bucket.space.settings.sharing.block.is_some_and(|block| block.new_policies) && parsed.is_public() {
        return Err(Failure::new(S3ErrorCode::AccessDenied, "the bucket's owner blocks policies for anyone"));
    }
    let metadata = asking.door.metadata();
    // First the policy, then that there is one: it counts from then on.
    metadata.set_configuration(&bucket.name, POLICY, Some(input.policy.into())).await?;
    metadata.change_namespace(&bucket.name, |settings| settings.sharing.policy = true).await?;
    Ok(PutBucketPolicyOutput::default())
}

pub(super) async fn delete_policy(asking: Asking, input: DeleteBucketPolicyInput) -> Result<DeleteBucketPolicyOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration(POLICY_DELETE)).await?;
    let metadata = asking.door.metadata();
    metadata.change_namespace(&bucket.name, |settings| settings.sharing.policy = false).await?;
    metadata.set_configuration(&bucket.name, POLICY, None).await?;
    Ok(DeleteBucketPolicyOutput::default())
}

pub(super) async fn policy_status(
    asking: Asking,
    input: GetBucketPolicyStatusInput,
) -> Result<GetBucketPolicyStatusOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::GetConfiguration("s3:GetBucketPolicyStatus")).await?;
    let settings = &bucket.space.settings;
    let policy = policy_of(asking.door.metadata(), &bucket.name, &bucket.space).await?;
    let block = settings.sharing.block.unwrap_or_default();
    let granted = settings.grants.iter().flatten().any(eddy_authz::Grant::is_public) && !block.grants;
    let by_policy = policy.is_some_and(|policy| policy.is_public()) && !block.policies;
    let is_public = by_policy || granted || settings.visibility == Visibility::Public;
    Ok(GetBucketPolicyStatusOutput { policy_status: Some(PolicyStatus { is_public: Some(is_public) }) })
}

pub(super) async fn block(asking: Asking, input: GetPublicAccessBlockInput) -> Result<GetPublicAccessBlockOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::GetConfiguration("s3:GetBucketPublicAccessBlock")).await?;
    let code = "NoSuchPublicAccessBlockConfiguration";
    let none = || Failure::with_status(code, http::StatusCode::NOT_FOUND, "nothing is blocked for the bucket");
    let block = bucket.space.settings.sharing.block.ok_or_else(none)?;
    let configuration = PublicAccessBlockConfiguration {
        block_public_acls: Some(block.new_grants),
        block_public_policy: Some(block.new_policies),
        ignore_public_acls: Some(block.grants),
        restrict_public_buckets: Some(block.policies),
    };
    Ok(GetPublicAccessBlockOutput { public_access_block_configuration: Some(configuration) })
}

pub(super) async fn set_block(asking: Asking, input: PutPublicAccessBlockInput) -> Result<PutPublicAccessBlockOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration("s3:PutBucketPublicAccessBlock")).await?;
    let wanted = &input.public_access_block_configuration;
    let block = PublicBlock {
        new_grants: wanted.block_public_acls == Some(true),
        grants: wanted.ignore_public_acls == Some(true),
        new_policies: wanted.block_public_policy == Some(true),
        policies: wanted.restrict_public_buckets == Some(true),
    };
    let change = |settings: &mut NamespaceSettings| settings.sharing.block = Some(block);
    asking.door.metadata().change_namespace(&bucket.name, change).await?;
    Ok(PutPublicAccessBlockOutput::default())
}

pub(super) async fn delete_block(
    asking: Asking,
    input: DeletePublicAccessBlockInput,
) -> Result<DeletePublicAccessBlockOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration("s3:PutBucketPublicAccessBlock")).await?;
    asking.door.metadata().change_namespace(&bucket.name, |settings| settings.sharing.block = None).await?;
    Ok(DeletePublicAccessBlockOutput::default())
}

/// What an ownership is called.
pub(super) fn ownership_of(name: &str) -> Result<Ownership, Failure> {
    match name {
        ObjectOwnership::OBJECT_WRITER => Ok(Ownership::Writer),
        ObjectOwnership::BUCKET_OWNER_PREFERRED => Ok(Ownership::Preferred),
        ObjectOwnership::BUCKET_OWNER_ENFORCED => Ok(Ownership::Enforced),
        other => Err(Failure::new(S3ErrorCode::MalformedXML, format!("there is no ownership {other:?}"))),
    }
}

pub(super) async fn ownership(
    asking: Asking,
    input: GetBucketOwnershipControlsInput,
) -> Result<GetBucketOwnershipControlsOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::GetConfiguration("s3:GetBucketOwnershipControls")).await?;
    let none = || Failure::new(S3ErrorCode::OwnershipControlsNotFoundError, "the bucket says nothing of ownership");
    let name = match bucket.space.settings.sharing.ownership.ok_or_else(none)? {
        Ownership::Writer => ObjectOwnership::OBJECT_WRITER,
        Ownership::Preferred => ObjectOwnership::BUCKET_OWNER_PREFERRED,
        Ownership::Enforced => ObjectOwnership::BUCKET_OWNER_ENFORCED,
    };
    let rule = OwnershipControlsRule { object_ownership: ObjectOwnership::from_static(name) };
    Ok(GetBucketOwnershipControlsOutput { ownership_controls: Some(OwnershipControls { rules: vec![rule] }) })
}

pub(super) async fn set_ownership(
    asking: Asking,
    input: PutBucketOwnershipControlsInput,
) -> Result<PutBucketOwnershipControlsOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration("s3:PutBucketOwnershipControls")).await?;
    let [rule] = &input.ownership_controls.rules[..] else {
        return Err(Failure::new(S3ErrorCode::MalformedXML, "a bucket has one rule of ownership"));
    };
    let ownership = ownership_of(rule.object_ownership.as_str())?;
    let shared = bucket.space.settings.grants.iter().flatten();
    let owner = eddy_authz::Grantee::User(bucket.space.settings.owner.clone());
    if ownership == Ownership::Enforced && shared.into_iter().any(|grant| grant.to != owner) {
        let message = "the bucket is shared by its list: make that private first";
        return Err(Failure::new(S3ErrorCode::InvalidBucketAclWithObjectOwnership, message));
    }
    let change = |settings: &mut NamespaceSettings| settings.sharing.ownership = Some(ownership);
    asking.door.metadata().change_namespace(&bucket.name, change).await?;
    Ok(PutBucketOwnershipControlsOutput::default())
}

pub(super) async fn delete_ownership(
    asking: Asking,
    input: DeleteBucketOwnershipControlsInput,
) -> Result<DeleteBucketOwnershipControlsOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration("s3:PutBucketOwnershipControls")).await?;
    asking.door.metadata().change_namespace(&bucket.name, |settings| settings.sharing.ownership = None).await?;
    Ok(DeleteBucketOwnershipControlsOutput::default())
}
