//! What whoever asked by the S3 API is told when it did not work.

use eddy_authz::Refused;
use eddy_object::ObjectError;
use eddy_telemetry::error_chain;
use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode};

use super::service::RequestId;

/// Why an operation failed.
#[derive(Debug)]
pub(super) struct Failure(S3Error);

impl Failure {
    pub(super) fn new(code: S3ErrorCode, message: impl Into<String>) -> Self {
        Self(S3Error::with_message(code, message.into()))
    }

    /// One that the protocol's library does not know.
    pub(super) fn with_status(code: &'static str, status: StatusCode, message: impl Into<String>) -> Self {
        let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message.into());
        error.set_status_code(status);
        Self(error)
    }

    pub(super) fn no_key(key: &str) -> Self {
        Self::new(S3ErrorCode::NoSuchKey, format!("there is no object {key:?}"))
    }

    /// What is known of permissions is too old.
    pub(super) fn stale() -> Self {
        Self::new(S3ErrorCode::ServiceUnavailable, Refused::Stale.to_string())
    }

    pub(super) fn denied() -> Self {
        Self::new(S3ErrorCode::AccessDenied, "the bucket or the object belongs to another user, who did not share it so")
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(S3ErrorCode::InvalidArgument, message)
    }

    pub(super) fn precondition() -> Self {
        Self::new(S3ErrorCode::PreconditionFailed, "the object is not as the request's conditions demand")
    }

    pub(super) fn not_built(what: &str) -> Self {
        Self::new(S3ErrorCode::NotImplemented, format!("{what} is not there: leave it out"))
    }

    /// With headers that say more.
    pub(super) fn with_headers(mut self, headers: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let headers = headers
            .into_iter()
            .filter_map(|(name, value)| Some((http::HeaderName::from_static(name), HeaderValue::try_from(value).ok()?)));
        self.0.set_headers(headers.collect::<HeaderMap>());
        self
    }

    pub(super) fn code(&self) -> &S3ErrorCode {
        self.0.code()
    }

    pub(super) fn message(&self) -> Option<&str> {
        self.0.message()
    }
}

impl Failure {
    /// That of a request.
    pub(super) fn named(mut self, id: Option<RequestId>) -> S3Error {
        if let Some(RequestId(id)) = id {
            self.0.set_request_id(id);
        }
        self.0
    }
}

impl From<Failure> for S3Error {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        Self(error)
    }
}

impl From<ObjectError> for Failure {
    fn from(error: ObjectError) -> Self {
        if let Some(full) = error.full() {
            tracing::warn!(full, "storage takes nothing more");
            // Not of the statuses after which clients try again: that would not help.
            return Self::with_status("StorageFull", StatusCode::INSUFFICIENT_STORAGE, full);
        }
        let message = error.to_string();
        let code = match &error {
            ObjectError::NoNamespace(_) => S3ErrorCode::NoSuchBucket,
            ObjectError::NoObject(_) => S3ErrorCode::NoSuchKey,
            ObjectError::NoUpload => S3ErrorCode::NoSuchUpload,
            ObjectError::NamespaceExists(_) => S3ErrorCode::BucketAlreadyExists,
            ObjectError::NotEmpty(..) => S3ErrorCode::BucketNotEmpty,
            ObjectError::Versioned => S3ErrorCode::InvalidBucketState,
            ObjectError::Locked => S3ErrorCode::AccessDenied,
            ObjectError::PreconditionFailed => return Self::precondition(),
            ObjectError::BadName(_) => S3ErrorCode::InvalidArgument,
            ObjectError::BadPart(_) => S3ErrorCode::InvalidPart,
            ObjectError::PartOrder => S3ErrorCode::InvalidPartOrder,
            ObjectError::PartTooShort { .. } => S3ErrorCode::EntityTooSmall,
            ObjectError::WrongLength { .. } => S3ErrorCode::IncompleteBody,
            ObjectError::TooLong => S3ErrorCode::EntityTooLarge,
            // Clients try again by themselves.
            ObjectError::Contended => return Self::with_status("OperationAborted", StatusCode::CONFLICT, message),
            // Nor here.
            ObjectError::QuotaExceeded { .. } => return Self::with_status("QuotaExceeded", StatusCode::FORBIDDEN, message),
            ObjectError::NoRoom(_) | ObjectError::Unreadable(_) | ObjectError::Metadata(_) | ObjectError::Full { .. } => {
                // What is inside is for whoever runs it.
                tracing::warn!(error = error_chain(&error), "storage cannot serve a request");
                return Self::new(S3ErrorCode::ServiceUnavailable, "storage cannot do this now: try again in a few seconds");
            }
            ObjectError::Broken(_) => {
                tracing::error!(error = error_chain(&error), "metadata is damaged");
                return Self::new(S3ErrorCode::InternalError, "the metadata of this object is damaged");
            }
        };
        Self::new(code, message)
    }
}
