//! Who asks for what, and whether they may.

use eddy_authz::Principal;
use eddy_object::schema::{NamespaceRow, ObjectRow, Versioning};
use eddy_object::{ObjectError, Precondition, VersionId, VersionsAfter};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, Method, Uri};
use s3s::{S3ErrorCode, S3Request, TrailingHeaders};

use super::error::Failure;
use super::keys;
use super::service::says_form;
use crate::access::{Question, Right};
use crate::door::Door;
use crate::noted::note;

/// A request, without what is particular to its operation.
pub(super) struct Asking {
    pub(super) door: Door,
    /// Who asks; nobody in particular if they show nothing.
    pub(super) principal: Option<Principal>,
    pub(super) headers: HeaderMap,
    /// It came as a browser's form.
    pub(super) is_form: bool,
    uri: Uri,
    /// What comes after the body.
    pub(super) trailing: Option<TrailingHeaders>,
    /// The tags that what is written will have: policies may ask for them.
    pub(super) tags: Vec<(String, String)>,
}

/// A bucket, of which somebody may what they asked for.
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) space: NamespaceRow,
}

impl Asking {
    /// A request and what is particular to it.
    pub(super) fn of<T>(door: &Door, request: S3Request<T>) -> (Self, T) {
        // The signature was found right.
        // What headers say is not what a form says.
        let is_form = request.method == Method::POST && request.headers.get(CONTENT_TYPE).is_some_and(says_form);
        let mut headers = request.headers;
        if is_form {
            let said: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("x-amz-")).cloned().collect();
            for name in said {
                headers.remove(name);
            }
        }
        let key = request.credentials.map(|credentials| credentials.access_key);
        let principal = key.and_then(|key| door.authenticator().signed(&key).ok());
        let asking = Self {
            door: door.clone(),
            principal,
            headers,
            is_form,
            uri: request.uri,
            trailing: request.trailing_headers,
            tags: Vec::new(),
        };
        (asking, request.input)
    }

    /// The user who asks.
    ///
    /// # Errors
    /// That it is nobody in particular.
    pub(super) fn user(&self) -> Result<&str, Failure> {
        self.principal.as_ref().map(Principal::user).ok_or_else(Failure::denied)
    }

    /// A bucket, for somebody who may.
    pub(super) async fn bucket(&self, name: &str, right: Right) -> Result<Bucket, Failure> {
        let space = self.door.metadata().namespace(name).await?;
        let bucket = Bucket { name: name.to_owned(), space };
        self.check(&bucket, None, None, right).await?;
        Ok(bucket)
    }

    /// A bucket, for somebody who may with a key of it.
    pub(super) async fn bucket_for(&self, name: &str, key: &str, right: Right) -> Result<Bucket, Failure> {
        let space = self.door.metadata().namespace(name).await?;
        let bucket = Bucket { name: name.to_owned(), space };
        self.check(&bucket, Some(key), None, right).await?;
        Ok(bucket)
    }

    /// A bucket and what is under a key of it now, for somebody who may.
    pub(super) async fn present(&self, name: &str, key: &str, right: Right) -> Result<(Bucket, Option<ObjectRow>), Failure> {
        self.target(name, key, None, right).await
    }

    /// A version of an object, the present one if none is named, for somebody who may.
    pub(super) async fn object(
        &self,
        name: &str,
        key: &str,
        version: Option<&str>,
        right: Right,
    ) -> Result<(Bucket, ObjectRow), Failure> {
        let (bucket, found) = self.found(name, key, version).await?;
        let Some(row) = found else {
            // Who may not list the bucket does not hear what is not there, either.
            if !self.may_list(&bucket, key).await? {
                self.check(&bucket, Some(key), None, right).await?;
            }
            return Err(match version {
                None => self.absent(&bucket, key).await?,
                Some(_) => Failure::new(S3ErrorCode::NoSuchVersion, format!("there is no such version of {key:?}")),
            });
        };
        self.check(&bucket, Some(key), Some(&row), right).await?;
        if row.deleted {
            let failure = Failure::new(S3ErrorCode::MethodNotAllowed, "the version says that the object was deleted");
            return Err(failure.with_headers(marker_headers(&row)));
        }
        Ok((bucket, row))
    }

    /// A version of an object, the present one if none is named, if there is one, for somebody who may.
    pub(super) async fn target(
        &self,
        name: &str,
        key: &str,
        version: Option<&str>,
        right: Right,
    ) -> Result<(Bucket, Option<ObjectRow>), Failure> {
        let (bucket, row) = self.found(name, key, version).await?;
        self.check(&bucket, Some(key), row.as_ref(), right).await?;
        Ok((bucket, row))
    }

    /// A bucket, and a version of an object of it, the present one if none is named, if there is one; whoever asks.
    async fn found(&self, name: &str, key: &str, version: Option<&str>) -> Result<(Bucket, Option<ObjectRow>), Failure> {
        let (space, present) = self.door.metadata().resolve(name, key).await?;
        let bucket = Bucket { name: name.to_owned(), space };
        let row = match version {
            None => present,
            Some(version) => self.version(&bucket, key, parse_version(version)?).await?,
        };
        Ok((bucket, row))
    }

    /// Changes what a version of an object is known by, the present one if none is named: that which somebody may, and no other that came
    /// meanwhile.
    pub(super) async fn change(
        &self,
        bucket: &Bucket,
        key: &str,
        version: Option<&str>,
        row: &ObjectRow,
        change: impl Fn(&mut ObjectRow) -> Result<(), ObjectError> + Send + Sync,
    ) -> Result<ObjectRow, Failure> {
        let version = version.map(parse_version).transpose()?;
        let that = Precondition::Upload(row.upload);
        match self.door.metadata().set_attributes(&bucket.name, key, version, &that, change).await {
            Err(ObjectError::PreconditionFailed) => Err(ObjectError::Contended.into()),
            changed => Ok(changed?),
        }
    }

    /// A version of an object, if there is one of this name.
    pub(super) async fn version(&self, bucket: &Bucket, key: &str, version: VersionId) -> Result<Option<ObjectRow>, Failure> {
        match self.door.metadata().version(&bucket.space, key, version).await {
            Ok(row) => Ok(Some(row)),
            Err(ObjectError::NoObject(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where there is no object under a key: what says that it was deleted is told, too.
    async fn absent(&self, bucket: &Bucket, key: &str) -> Result<Failure, Failure> {
        let failure = Failure::no_key(key);
        if bucket.space.settings.versioning == Versioning::Off {
            return Ok(failure);
        }
        let (versions, _) = self.door.metadata().list_versions(bucket.space.id, key, &VersionsAfter::Nothing, 1).await?;
        let marker = versions.into_iter().find(|version| version.key == key && version.row.deleted);
        Ok(match marker {
            Some(marker) => failure.with_headers(marker_headers(&marker.row)),
            None => failure,
        })
    }

    /// Whether they may.
    pub(super) async fn may(
        &self,
        bucket: &Bucket,
        key: Option<&str>,
        object: Option<&ObjectRow>,
        right: Right,
    ) -> Result<bool, Failure> {
        self.may_where(bucket, key, object, right, None).await
    }

    /// Whether they could see by a listing that there is no such key.
    async fn may_list(&self, bucket: &Bucket, key: &str) -> Result<bool, Failure> {
        self.may_where(bucket, None, None, Right::ListBucket, Some(key)).await
    }

    /// Whether they may, also where the request would say another prefix than it does.
    async fn may_where(
        &self,
        bucket: &Bucket,
        key: Option<&str>,
        object: Option<&ObjectRow>,
        right: Right,
        prefix: Option<&str>,
    ) -> Result<bool, Failure> {
        let of_key = |asked: &str| match prefix.filter(|_| asked.eq_ignore_ascii_case("s3:prefix")) {
            Some(prefix) => vec![prefix.to_owned()],
            None => keys::of_request(asked, &self.headers, &self.uri, &self.tags),
        };
        let who = self.principal.as_ref();
        let question = Question { who, right, name: &bucket.name, space: &bucket.space, key, object, of_key: &of_key };
        let may = question.may(self.door.metadata()).await?;
        if !may && question.might_once_fresh(self.door.metadata()).await? { Err(Failure::stale()) } else { Ok(may) }
    }

    pub(super) async fn check(
        &self,
        bucket: &Bucket,
        key: Option<&str>,
        object: Option<&ObjectRow>,
        right: Right,
    ) -> Result<(), Failure> {
        let expected = self.headers.get("x-amz-expected-bucket-owner").map(|owner| owner.as_bytes());
        if expected.is_some_and(|owner| owner != bucket.space.settings.owner.as_bytes()) {
            return Err(Failure::new(S3ErrorCode::AccessDenied, "the bucket has another owner than the request expects"));
        }
        let may = self.may(bucket, key, object, right).await?;
        self.note(bucket, key, right, may);
        if may { Ok(()) } else { Err(Failure::denied()) }
    }

    /// Notes that they want to, and whether they may.
    pub(super) fn note(&self, bucket: &Bucket, key: Option<&str>, right: Right, may: bool) {
        note(self.principal.as_ref(), right.scope(), &bucket.space.settings.owner, (&bucket.name, key), may);
    }
}

impl Bucket {
    /// What the version of a row is called, where versions are or were kept.
    pub(super) fn version_of(&self, row: &ObjectRow) -> Option<String> {
        let kept = self.space.settings.versioning != Versioning::Off;
        kept.then(|| VersionId::of(row).to_string())
    }

    /// What the version that was written just now is called, where versions are kept.
    pub(super) fn new_version(&self, row: &ObjectRow) -> Option<String> {
        let kept = self.space.settings.versioning == Versioning::On;
        kept.then(|| VersionId::of(row).to_string())
    }
}

/// Which version is named.
pub(super) fn parse_version(text: &str) -> Result<VersionId, Failure> {
    text.parse().map_err(|_| Failure::bad("there is no version of this name: it is \"null\" or what was answered before"))
}

fn marker_headers(row: &ObjectRow) -> [(&'static str, String); 2] {
    [("x-amz-delete-marker", "true".to_owned()), ("x-amz-version-id", VersionId::of(row).to_string())]
}
