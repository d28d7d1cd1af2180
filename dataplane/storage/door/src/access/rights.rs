//! What may be done to namespaces and their objects, by its name in policies.

use eddy_authz::{Action, Kind, Permission};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    ListBucket,
    ListBucketVersions,
    ListBucketMultipartUploads,
    DeleteBucket,
    GetBucketAcl,
    PutBucketAcl,
    /// To see what its owner decided.
    GetConfiguration(&'static str),
    /// To decide it.
    PutConfiguration(&'static str),
    GetObject,
    GetObjectVersion,
    GetObjectTagging,
    GetObjectAcl,
    GetObjectRetention,
    GetObjectLegalHold,
    PutObject,
    PutObjectTagging,
    PutObjectAcl,
    PutObjectRetention,
    PutObjectLegalHold,
    BypassGovernanceRetention,
    DeleteObjectTagging,
    DeleteObject,
    DeleteObjectVersion,
    AbortMultipartUpload,
    ListMultipartUploadParts,
}

/// On what a grant gives a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Namespace(Permission),
    Object(Permission),
}

impl Right {
    /// What policies call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ListBucket => "s3:ListBucket",
            Self::ListBucketVersions => "s3:ListBucketVersions",
            Self::ListBucketMultipartUploads => "s3:ListBucketMultipartUploads",
            Self::DeleteBucket => "s3:DeleteBucket",
            Self::GetBucketAcl => "s3:GetBucketAcl",
            Self::PutBucketAcl => "s3:PutBucketAcl",
            Self::GetConfiguration(name) | Self::PutConfiguration(name) => name,
            Self::GetObject => "s3:GetObject",
            Self::GetObjectVersion => "s3:GetObjectVersion",
            Self::GetObjectTagging => "s3:GetObjectTagging",
            Self::GetObjectAcl => "s3:GetObjectAcl",
            Self::GetObjectRetention => "s3:GetObjectRetention",
            Self::GetObjectLegalHold => "s3:GetObjectLegalHold",
            Self::PutObject => "s3:PutObject",
            Self::PutObjectTagging => "s3:PutObjectTagging",
            Self::PutObjectAcl => "s3:PutObjectAcl",
            Self::PutObjectRetention => "s3:PutObjectRetention",
            Self::PutObjectLegalHold => "s3:PutObjectLegalHold",
            Self::BypassGovernanceRetention => "s3:BypassGovernanceRetention",
            Self::DeleteObjectTagging => "s3:DeleteObjectTagging",
            Self::DeleteObject => "s3:DeleteObject",
            Self::DeleteObjectVersion => "s3:DeleteObjectVersion",
            Self::AbortMultipartUpload => "s3:AbortMultipartUpload",
            Self::ListMultipartUploadParts => "s3:ListMultipartUploadParts",
        }
    }

    /// What it is in scopes.
    pub(crate) fn scope(self) -> (Kind, Action) {
        match self {
            Self::ListBucket | Self::ListBucketVersions | Self::ListBucketMultipartUploads | Self::ListMultipartUploadParts => {
                (Kind::Files, Action::List)
            }
            Self::GetObject
            | Self::GetObjectVersion
            | Self::GetObjectTagging
            | Self::GetObjectAcl
            | Self::GetObjectRetention
            | Self::GetObjectLegalHold => (Kind::Files, Action::Read),
            Self::PutObject
            | Self::PutObjectTagging
            | Self::PutObjectRetention
            | Self::PutObjectLegalHold
            | Self::DeleteObjectTagging
            | Self::AbortMultipartUpload => (Kind::Files, Action::Write),
            Self::PutObjectAcl => (Kind::Files, Action::Share),
            Self::DeleteObject | Self::DeleteObjectVersion => (Kind::Files, Action::Delete),
            Self::GetBucketAcl | Self::GetConfiguration(_) => (Kind::Namespaces, Action::Read),
            Self::PutBucketAcl | Self::PutConfiguration(_) | Self::BypassGovernanceRetention => {
                (Kind::Namespaces, Action::Update)
            }
            Self::DeleteBucket => (Kind::Namespaces, Action::Delete),
        }
    }

    /// Whether it is to see what there is, of which a prefix may say where.
    pub(crate) fn lists(self) -> bool {
        matches!(self, Self::ListBucket | Self::ListBucketVersions | Self::ListBucketMultipartUploads)
    }

    /// Whether anyone may where the namespace is public.
    pub(crate) fn is_public(self) -> bool {
        matches!(
            self,
            Self::ListBucket | Self::GetObject | Self::GetObjectVersion | Self::GetObjectTagging | Self::ListBucketVersions
        )
    }

    /// Which grants give it; none where only the owner has it, and whom a policy gives it.
    pub(crate) fn by(self) -> Option<By> {
        match self {
            Self::ListBucket | Self::ListBucketVersions | Self::ListBucketMultipartUploads => {
                Some(By::Namespace(Permission::Read))
            }
            Self::PutObject | Self::DeleteObject | Self::AbortMultipartUpload | Self::ListMultipartUploadParts => {
                Some(By::Namespace(Permission::Write))
            }
            Self::GetBucketAcl => Some(By::Namespace(Permission::ReadGrants)),
            Self::PutBucketAcl => Some(By::Namespace(Permission::WriteGrants)),
            Self::GetObject | Self::GetObjectVersion => Some(By::Object(Permission::Read)),
            Self::GetObjectAcl => Some(By::Object(Permission::ReadGrants)),
            Self::PutObjectAcl => Some(By::Object(Permission::WriteGrants)),
            _ => None,
        }
    }

    /// Whether the owner has it whatever a policy denies: who locked themselves out can let themselves in again.
    pub(crate) fn is_the_owners(self) -> bool {
        matches!(self, Self::PutConfiguration(POLICY_PUT | POLICY_DELETE) | Self::GetConfiguration(POLICY_GET))
    }
}

pub(crate) const POLICY_GET: &str = "s3:GetBucketPolicy";
pub(crate) const POLICY_PUT: &str = "s3:PutBucketPolicy";
pub(crate) const POLICY_DELETE: &str = "s3:DeleteBucketPolicy";
