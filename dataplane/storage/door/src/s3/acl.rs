//! With whom buckets and objects are shared, as S3's access control lists have it.

use eddy_authz::{Action, Grant, Grantee as To, Kind, Permission, Resource};
use eddy_object::schema::{NamespaceSettings, ObjectRow, Ownership, Visibility};
use s3s::S3ErrorCode;
use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, Grant as AnsweredGrant,
    Grantee, Owner, Permission as AnsweredPermission, PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput,
    PutObjectAclOutput, Type,
};

use super::asking::{Asking, Bucket};
use super::error::Failure;
use super::listing::owner;
use crate::access::{Right, scoped_id, writer};
use crate::door::Door;

/// What groups are called.
const ANYONE: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const SIGNED_IN: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
/// Entries of a list, as in S3.
const GRANTS_MAX: usize = 100;

/// What a request says of with whom something is to be shared.
#[derive(Default)]
pub(super) struct Wanted {
    /// The name of a list that is always the same.
    pub(super) canned: Option<String>,
    /// Headers: whom they name, and what those may.
    pub(super) named: [(Option<String>, &'static str); 5],
}

/// Takes what a request says of sharing out of it.
macro_rules! wanted {
    ($input:ident) => {
        $crate::s3::acl::Wanted {
            canned: $input.acl.take().map(|acl| acl.as_str().to_owned()),
            named: [
                ($input.grant_full_control.take(), s3s::dto::Permission::FULL_CONTROL),
                ($input.grant_read.take(), s3s::dto::Permission::READ),
                ($input.grant_read_acp.take(), s3s::dto::Permission::READ_ACP),
                ($input.grant_write_acp.take(), s3s::dto::Permission::WRITE_ACP),
                (None, s3s::dto::Permission::WRITE),
            ],
        }
    };
    ($input:ident with write) => {{
        let write = $input.grant_write.take();
        let mut wanted = $crate::s3::acl::wanted!($input);
        wanted.named[4].0 = write;
        wanted
    }};
}
pub(super) use wanted;

/// Whose something new is, and with whom it is shared.
pub(super) struct SharedNew {
    pub(super) writer: Option<String>,
    pub(super) grants: Option<Vec<Grant>>,
}

impl Wanted {
    /// Whether the request says anything of it.
    pub(super) fn is_any(&self) -> bool {
        self.canned.is_some() || self.named.iter().any(|(who, _)| who.is_some())
    }

    /// Grants for something of an owner, in a bucket of an owner; none where the request says nothing.
    pub(super) fn grants(&self, door: &Door, owner: &str, bucket_owner: &str) -> Result<Option<Vec<Grant>>, Failure> {
        let named = self.named.iter().any(|(who, _)| who.is_some());
        match &self.canned {
            Some(_) if named => Err(Failure::new(S3ErrorCode::InvalidRequest, "say a canned list or whom, not both")),
            Some(canned) => Ok(Some(of_canned(canned, owner, bucket_owner)?)),
            None if named => {
                let mut grants = Vec::new();
                for (who, permission) in &self.named {
                    for one in who.iter().flat_map(|who| who.split(',')) {
                        grants.push(Grant { to: of_header(door, one.trim())?, permission: permission_of(permission)? });
                    }
                }
                checked(grants).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Grants that a request says, or its document.
    fn or_document(
        &self,
        door: &Door,
        document: Option<AccessControlPolicy>,
        owner: &str,
        bucket_owner: &str,
    ) -> Result<Vec<Grant>, Failure> {
        match (self.grants(door, owner, bucket_owner)?, document) {
            (Some(grants), None) => Ok(grants),
            (None, Some(document)) => of_document(door, document, owner),
            _ => {
                let message = "say with whom: a canned list, headers or a document";
                Err(Failure::new(S3ErrorCode::MissingSecurityHeader, message))
            }
        }
    }

    /// Whose something new is, and with whom it is shared, in a bucket that takes that.
    ///
    /// # Errors
    /// That the bucket takes no such, or that what was shown is not good for sharing.
    pub(super) fn of_new(&self, asking: &Asking, bucket: &Bucket, key: &str) -> Result<SharedNew, Failure> {
        let space = &bucket.space;
        let bucket_owner = space.settings.owner.as_str();
        let writer = writer(asking.principal.as_ref(), space);
        let grants = self.grants(&asking.door, writer.as_deref().unwrap_or(bucket_owner), bucket_owner)?;
        let others =
            |grant: &Grant| !matches!(&grant.to, To::User(user) if writer.as_ref() == Some(user) || user == bucket_owner);
        let resource = Resource { owner: bucket_owner, kind: Kind::Files, id: &scoped_id(&bucket.name, Some(key)) };
        let holds = asking.principal.as_ref().is_none_or(|who| who.holds(Action::Share, &resource));
        if !holds && grants.iter().flatten().any(others) {
            return Err(Failure::denied());
        }
        let gives_up = self.canned.as_deref() == Some("bucket-owner-full-control");
        let is_theirs = writer.is_none() && self.canned.as_deref() == Some("private");
        check_taken(&space.settings, grants.as_deref(), gives_up || is_theirs)?;
        Ok(match space.settings.sharing.ownership {
            Some(Ownership::Enforced) => SharedNew { writer: None, grants: None },
            Some(Ownership::Preferred) if gives_up => SharedNew { writer: None, grants: None },
            _ => SharedNew { writer, grants },
        })
    }
}

fn checked(grants: Vec<Grant>) -> Result<Vec<Grant>, Failure> {
    if grants.len() > GRANTS_MAX {
        return Err(Failure::new(S3ErrorCode::MalformedACLError, format!("a list has at most {GRANTS_MAX} entries")));
    }
    Ok(grants)
}

/// Whether a bucket takes grants, and these.
fn check_taken(settings: &NamespaceSettings, grants: Option<&[Grant]>, harmless: bool) -> Result<(), Failure> {
    let Some(grants) = grants else { return Ok(()) };
    if settings.sharing.ownership == Some(Ownership::Enforced) && !harmless {
        let message = "the bucket's ownership controls say that lists do not count: use its policy";
        return Err(Failure::new(S3ErrorCode::AccessControlListNotSupported, message));
    }
    if settings.sharing.block.is_some_and(|block| block.new_grants) && grants.iter().any(Grant::is_public) {
        return Err(Failure::new(S3ErrorCode::AccessDenied, "the bucket's owner blocks what is shared with anyone"));
    }
    Ok(())
}

fn of_canned(canned: &str, owner: &str, bucket_owner: &str) -> Result<Vec<Grant>, Failure> {
    let to = |to, permission| Grant { to, permission };
    let user = |name: &str| To::User(name.to_owned());
    let more = match canned {
        "private" | "aws-exec-read" => Vec::new(),
        "public-read" => vec![to(To::Anyone, Permission::Read)],
        "public-read-write" => vec![to(To::Anyone, Permission::Read), to(To::Anyone, Permission::Write)],
        "authenticated-read" => vec![to(To::SignedIn, Permission::Read)],
        "bucket-owner-read" | "bucket-owner-full-control" if owner == bucket_owner => Vec::new(),
        "bucket-owner-read" => vec![to(user(bucket_owner), Permission::Read)],
        "bucket-owner-full-control" => vec![to(user(bucket_owner), Permission::Full)],
        other => return Err(Failure::bad(format!("there is no canned list {other:?}"))),
    };
    Ok([more, vec![to(user(owner), Permission::Full)]].concat())
}

/// Whom a header names: `id="…"` or `uri="…"`.
fn of_header(door: &Door, text: &str) -> Result<To, Failure> {
    let (kind, value) = text.split_once('=').ok_or_else(|| Failure::bad("whom it is for is id=, uri= or emailAddress="))?;
    let value = value.trim().trim_matches('"');
    match kind.trim().to_ascii_lowercase().as_str() {
        "id" => user(door, value),
        "uri" => group(value),
        "emailaddress" => Err(no_address(value)),
        _ => Err(Failure::bad("whom it is for is id=, uri= or emailAddress=")),
    }
}

fn user(door: &Door, name: &str) -> Result<To, Failure> {
    if door.authenticator().is_user(name) {
        Ok(To::User(name.to_owned()))
    } else {
        Err(Failure::bad(format!("there is no user {name:?}")))
    }
}

fn group(uri: &str) -> Result<To, Failure> {
    match uri {
        ANYONE => Ok(To::Anyone),
        SIGNED_IN => Ok(To::SignedIn),
        _ => Err(Failure::bad(format!("there is no group {uri:?}"))),
    }
}

fn no_address(address: &str) -> Failure {
    Failure::new(S3ErrorCode::UnresolvableGrantByEmailAddress, format!("no user is known by {address:?}: name them by id"))
}

fn permission_of(name: &str) -> Result<Permission, Failure> {
    match name {
        AnsweredPermission::READ => Ok(Permission::Read),
        AnsweredPermission::WRITE => Ok(Permission::Write),
        AnsweredPermission::READ_ACP => Ok(Permission::ReadGrants),
        AnsweredPermission::WRITE_ACP => Ok(Permission::WriteGrants),
        AnsweredPermission::FULL_CONTROL => Ok(Permission::Full),
        _ => Err(Failure::new(S3ErrorCode::MalformedACLError, format!("there is no permission {name:?}"))),
    }
}

/// Grants that a document says.
fn of_document(door: &Door, document: AccessControlPolicy, owner: &str) -> Result<Vec<Grant>, Failure> {
    let named = document.owner.and_then(|owner| owner.id).filter(|id| !id.is_empty());
    if named.as_ref().is_some_and(|id| id != owner) {
        return Err(Failure::new(S3ErrorCode::AccessDenied, "a list does not change whose something is"));
    }
    if named.is_none() {
        return Err(Failure::new(S3ErrorCode::MalformedACLError, "a list says whose something is"));
    }
    let grants = document.grants.unwrap_or_default().into_iter().map(|grant| {
        let malformed = || Failure::new(S3ErrorCode::MalformedACLError, "an entry says whom and what");
        let (grantee, permission) = (grant.grantee.ok_or_else(malformed)?, grant.permission.ok_or_else(malformed)?);
        let to = match (grantee.type_.as_str(), grantee.id, grantee.uri) {
            (Type::CANONICAL_USER, Some(id), _) => user(door, &id)?,
            (Type::GROUP, _, Some(uri)) => group(&uri)?,
            (Type::AMAZON_CUSTOMER_BY_EMAIL, ..) => return Err(no_address(&grantee.email_address.unwrap_or_default())),
            _ => return Err(malformed()),
        };
        Ok(Grant { to, permission: permission_of(permission.as_str())? })
    });
    checked(grants.collect::<Result<_, _>>()?)
}

/// Grants as answers have them: where nobody ever said, its owner may all.
fn answered(grants: Option<&Vec<Grant>>, owner: &str) -> Vec<AnsweredGrant> {
    let default = vec![Grant { to: To::User(owner.to_owned()), permission: Permission::Full }];
    grants.unwrap_or(&default).iter().map(answer).collect()
}

fn answer(grant: &Grant) -> AnsweredGrant {
    let grantee = |kind| Grantee { display_name: None, email_address: None, id: None, type_: Type::from_static(kind), uri: None };
    let group = |uri: &str| Grantee { uri: Some(uri.to_owned()), ..grantee(Type::GROUP) };
    let grantee = match &grant.to {
        To::User(name) => Grantee { display_name: Some(name.clone()), id: Some(name.clone()), ..grantee(Type::CANONICAL_USER) },
        To::SignedIn => group(SIGNED_IN),
        To::Anyone => group(ANYONE),
    };
    let permission = match grant.permission {
        Permission::Read => AnsweredPermission::READ,
        Permission::Write => AnsweredPermission::WRITE,
        Permission::ReadGrants => AnsweredPermission::READ_ACP,
        Permission::WriteGrants => AnsweredPermission::WRITE_ACP,
        Permission::Full => AnsweredPermission::FULL_CONTROL,
    };
    AnsweredGrant { grantee: Some(grantee), permission: Some(AnsweredPermission::from_static(permission)) }
}

pub(super) async fn bucket(asking: Asking, input: GetBucketAclInput) -> Result<GetBucketAclOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::GetBucketAcl).await?;
    let settings = &bucket.space.settings;
    let mut grants = answered(settings.grants.as_ref(), &settings.owner);
    let anyone = answer(&Grant { to: To::Anyone, permission: Permission::Read });
    if settings.visibility == Visibility::Public && !grants.contains(&anyone) {
        grants.push(anyone);
    }
    Ok(GetBucketAclOutput { grants: Some(grants), owner: Some(owner(&bucket.space)) })
}

pub(super) async fn set_bucket(asking: Asking, mut input: PutBucketAclInput) -> Result<PutBucketAclOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutBucketAcl).await?;
    let owner = bucket.space.settings.owner.clone();
    let wanted = wanted!(input with write);
    let harmless = wanted.canned.as_deref() == Some("private");
    let grants = wanted.or_document(&asking.door, input.access_control_policy, &owner, &owner)?;
    check_taken(&bucket.space.settings, Some(&grants), harmless)?;
    let change = |settings: &mut NamespaceSettings| settings.grants = Some(grants.clone());
    asking.door.metadata().change_namespace(&bucket.name, change).await?;
    Ok(PutBucketAclOutput::default())
}

/// Whose an object is.
fn owner_of<'a>(bucket: &'a Bucket, row: &'a ObjectRow) -> &'a str {
    let settings = &bucket.space.settings;
    let writer = row.attributes.writer.as_deref().filter(|_| settings.sharing.ownership != Some(Ownership::Enforced));
    writer.unwrap_or(&settings.owner)
}

pub(super) async fn object(asking: Asking, input: GetObjectAclInput) -> Result<GetObjectAclOutput, Failure> {
    let version = input.version_id.as_deref();
    let (bucket, row) = asking.object(&input.bucket, &input.key, version, Right::GetObjectAcl).await?;
    let owner = owner_of(&bucket, &row);
    Ok(GetObjectAclOutput {
        grants: Some(answered(row.attributes.grants.as_ref(), owner)),
        owner: Some(Owner { display_name: Some(owner.to_owned()), id: Some(owner.to_owned()) }),
        ..GetObjectAclOutput::default()
    })
}

pub(super) async fn set_object(asking: Asking, mut input: PutObjectAclInput) -> Result<PutObjectAclOutput, Failure> {
    let version = input.version_id.as_deref();
    let (bucket, row) = asking.object(&input.bucket, &input.key, version, Right::PutObjectAcl).await?;
    let wanted = wanted!(input with write);
    let owner = owner_of(&bucket, &row).to_owned();
    let bucket_owner = &bucket.space.settings.owner;
    let grants = wanted.or_document(&asking.door, input.access_control_policy, &owner, bucket_owner)?;
    let harmless = wanted.canned.as_deref().is_some_and(|canned| canned == "private" || canned == "bucket-owner-full-control");
    check_taken(&bucket.space.settings, Some(&grants), harmless)?;
    let change = |row: &mut ObjectRow| {
        row.attributes.grants = Some(grants.clone());
        Ok(())
    };
    asking.change(&bucket, &input.key, version, &row, change).await?;
    Ok(PutObjectAclOutput::default())
}
