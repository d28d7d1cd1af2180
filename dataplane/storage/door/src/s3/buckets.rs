//! Buckets, which are namespaces.

use eddy_authz::{Action, Kind, Principal, Resource};
use eddy_object::ObjectError;
use eddy_object::schema::{LockRule, NamespaceSettings, Ownership, Sharing, Versioning};
use s3s::S3ErrorCode;
use s3s::dto::{
    Bucket as ListedBucket, BucketVersioningStatus, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput, HeadBucketInput,
    HeadBucketOutput, ListBucketsInput, ListBucketsOutput, Owner, PutBucketVersioningInput, PutBucketVersioningOutput,
};

use super::acl::wanted;
use super::asking::Asking;
use super::attributes::time;
use super::error::Failure;
use super::sharing::ownership_of;
use crate::access::Right;
use crate::noted::note;

pub(super) async fn create(asking: Asking, mut input: CreateBucketInput) -> Result<CreateBucketOutput, Failure> {
    let owner = asking.user()?.to_owned();
    let list = wanted!(input with write);
    // Whoever may only make one decides nothing about it.
    let decides = list.is_any() || input.object_ownership.is_some() || input.object_lock_enabled_for_bucket == Some(true);
    let actions: &[Action] = if decides { &[Action::Create, Action::Update] } else { &[Action::Create] };
    may_all(&asking, actions, &Resource { owner: &owner, kind: Kind::Namespaces, id: &input.bucket })?;
    // The protocol's library checks the rest.
    if input.bucket.contains(".-") || input.bucket.contains("-.") {
        return Err(Failure::new(S3ErrorCode::InvalidBucketName, "a bucket's name has no dot beside a dash"));
    }
    let lock = (input.object_lock_enabled_for_bucket == Some(true)).then(LockRule::default);
    let ownership = input.object_ownership.as_ref().map(|ownership| ownership_of(ownership.as_str())).transpose()?;
    let grants = list.grants(&asking.door, &owner, &owner)?;
    if ownership == Some(Ownership::Enforced) && grants.as_ref().is_some_and(|grants| grants.len() > 1) {
        let message = "a list does not count where the bucket's owner is the owner of all";
        return Err(Failure::new(S3ErrorCode::InvalidBucketAclWithObjectOwnership, message));
    }
    let settings = NamespaceSettings {
        owner: owner.clone(),
        // Locks are on versions.
        versioning: if lock.is_some() { Versioning::On } else { Versioning::Off },
        grants,
        sharing: Sharing { ownership, ..Sharing::default() },
        lock,
        ..NamespaceSettings::default()
    };
    match asking.door.metadata().create_namespace(&input.bucket, settings.clone()).await {
        Ok(_) => {}
        Err(ObjectError::NamespaceExists(name)) => {
            let there = asking.door.metadata().namespace(&name).await.map(|space| space.settings);
            // Whoever makes it again as it is has what they want.
            if there.as_ref().is_ok_and(|there| there.owner == owner && there.grants == settings.grants && there.lock == lock) {
                return Ok(CreateBucketOutput { location: Some(format!("/{name}")) });
            }
            return Err(Failure::new(S3ErrorCode::BucketAlreadyExists, format!("there is a bucket {name:?} already")));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(CreateBucketOutput { location: Some(format!("/{}", input.bucket)) })
}

fn may_all(asking: &Asking, actions: &[Action], asked: &Resource<'_>) -> Result<(), Failure> {
    let principal = asking.principal.as_ref().ok_or_else(Failure::denied)?;
    let may = |who: &Principal| actions.iter().all(|action| who.may(*action, asked));
    let decided = match principal.once_fresh() {
        _ if may(principal) => Ok(()),
        Some(fresh) if may(&fresh) => return Err(Failure::stale()),
        _ => Err(Failure::denied()),
    };
    note(Some(principal), (asked.kind, Action::Create), asked.owner, (asked.id, None), decided.is_ok());
    decided
}

pub(super) async fn head(asking: Asking, input: HeadBucketInput) -> Result<HeadBucketOutput, Failure> {
    asking.bucket(&input.bucket, Right::ListBucket).await?;
    Ok(HeadBucketOutput::default())
}

pub(super) async fn delete(asking: Asking, input: DeleteBucketInput) -> Result<DeleteBucketOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::DeleteBucket).await?;
    asking.door.metadata().delete_namespace(&bucket.name).await?;
    Ok(DeleteBucketOutput::default())
}

pub(super) async fn location(asking: Asking, input: GetBucketLocationInput) -> Result<GetBucketLocationOutput, Failure> {
    asking.bucket(&input.bucket, Right::GetConfiguration("s3:GetBucketLocation")).await?;
    Ok(GetBucketLocationOutput::default())
}

pub(super) async fn list(asking: Asking, input: ListBucketsInput) -> Result<ListBucketsOutput, Failure> {
    let Some(principal) = &asking.principal else { return Err(Failure::denied()) };
    let prefix = input.prefix.clone().unwrap_or_default();
    let at_most = usize::try_from(input.max_buckets.unwrap_or(i32::MAX)).ok().filter(|at_most| *at_most > 0);
    let at_most = at_most.ok_or_else(|| Failure::bad("max-buckets is above 0"))?;
    let after = input.continuation_token.as_deref().unwrap_or_default();
    let all = asking.door.metadata().list_namespaces(&prefix).await?;
    let mut theirs = all.into_iter().filter(|(name, space)| {
        let resource = Resource { owner: &space.settings.owner, kind: Kind::Files, id: name };
        name.as_str() > after && principal.may(Action::List, &resource)
    });
    let listed: Vec<_> = theirs.by_ref().take(at_most).collect();
    let next = listed.last().map(|(name, _)| name.clone()).filter(|_| theirs.next().is_some());
    let buckets = listed.into_iter().map(|(name, space)| ListedBucket {
        bucket_region: None,
        creation_date: Some(time(space.created_ms)),
        name: Some(name),
    });
    let user = principal.user().to_owned();
    Ok(ListBucketsOutput {
        buckets: Some(buckets.collect()),
        continuation_token: next,
        owner: Some(Owner { display_name: Some(user.clone()), id: Some(user) }),
        prefix: input.prefix,
    })
}

pub(super) async fn versioning(asking: Asking, input: GetBucketVersioningInput) -> Result<GetBucketVersioningOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::GetConfiguration("s3:GetBucketVersioning")).await?;
    let status = match bucket.space.settings.versioning {
        Versioning::Off => None,
        Versioning::On => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    Ok(GetBucketVersioningOutput {
        status: status.map(BucketVersioningStatus::from_static),
        ..GetBucketVersioningOutput::default()
    })
}

pub(super) async fn set_versioning(
    asking: Asking,
    input: PutBucketVersioningInput,
) -> Result<PutBucketVersioningOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration("s3:PutBucketVersioning")).await?;
    let status = input.versioning_configuration.status.as_ref().map(BucketVersioningStatus::as_str);
    let versioning = match status {
        Some(BucketVersioningStatus::ENABLED) => Versioning::On,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => {
            let code = S3ErrorCode::IllegalVersioningConfigurationException;
            return Err(Failure::new(code, "the status is Enabled or Suspended"));
        }
    };
    if bucket.space.settings.lock.is_some() && versioning != Versioning::On {
        return Err(Failure::new(S3ErrorCode::InvalidBucketState, "the bucket has object lock: its versions are kept"));
    }
    asking.door.metadata().change_namespace(&bucket.name, |settings| settings.versioning = versioning).await?;
    Ok(PutBucketVersioningOutput::default())
}
