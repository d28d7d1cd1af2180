//! What whoever asked is told when it did not work (RFC 9457).

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use eddy_authz::Refused;
use eddy_object::ObjectError;
use eddy_telemetry::error_chain;
use http::header::CONTENT_RANGE;
use http::{HeaderValue, StatusCode};

use crate::arriving::silence_words;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    /// One word a cause, for programs.
    code: &'static str,
    /// What happened and what to do, for people.
    detail: String,
    /// How long the object is, where a range of it was asked for that it does not have.
    length: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), length: None }
    }

    pub(crate) fn unauthorized() -> Self {
        let detail = "show a token, or an access key: Authorization: Bearer eddy_<id>_<secret>, or Basic with the id as the name";
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", detail)
    }

    /// What is known of permissions is too old.
    pub(crate) fn stale() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "PermissionsStale", Refused::Stale.to_string())
    }

    pub(crate) fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", detail)
    }

    pub(crate) fn no_namespace(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoNamespace", format!("there is no namespace {name:?}"))
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", detail)
    }

    pub(crate) fn precondition_failed() -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", "the object is not as the request's conditions demand")
    }

    /// Nothing came of a body for so long.
    pub(crate) fn silence(silence_max: Duration) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "Silence", silence_words(silence_max))
    }

    pub(crate) fn no_such_range(length: u64) -> Self {
        let detail = format!("the object has {length} bytes, none of them in the range");
        let problem = Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "NoSuchRange", detail);
        Self { length: Some(length), ..problem }
    }

    /// What it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self::unauthorized(),
            Refused::Expired | Refused::Suspended => Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", refused.to_string()),
            Refused::Stale => Self::stale(),
        }
    }
}

impl From<ObjectError> for Problem {
    fn from(error: ObjectError) -> Self {
        if let Some(full) = error.full() {
            tracing::warn!(full, "storage takes nothing more");
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, "StorageFull", full);
        }
        let (status, code) = match &error {
            ObjectError::NoNamespace(_) => (StatusCode::NOT_FOUND, "NoNamespace"),
            ObjectError::NoObject(_) => (StatusCode::NOT_FOUND, "NoObject"),
            ObjectError::NoUpload => (StatusCode::NOT_FOUND, "NoUpload"),
            ObjectError::NamespaceExists(_) => (StatusCode::CONFLICT, "NamespaceExists"),
            ObjectError::NotEmpty(..) => (StatusCode::CONFLICT, "NotEmpty"),
            ObjectError::Versioned => (StatusCode::CONFLICT, "Versioned"),
            ObjectError::Locked => (StatusCode::CONFLICT, "Locked"),
            ObjectError::Contended => (StatusCode::CONFLICT, "Contended"),
            ObjectError::PreconditionFailed => return Self::precondition_failed(),
            ObjectError::QuotaExceeded { .. } => (StatusCode::INSUFFICIENT_STORAGE, "QuotaExceeded"),
            ObjectError::BadName(_) => (StatusCode::BAD_REQUEST, "BadName"),
            ObjectError::BadPart(_) => (StatusCode::BAD_REQUEST, "BadPart"),
            ObjectError::PartOrder => (StatusCode::BAD_REQUEST, "PartOrder"),
            ObjectError::PartTooShort { .. } => (StatusCode::BAD_REQUEST, "PartTooShort"),
            ObjectError::WrongLength { .. } => (StatusCode::BAD_REQUEST, "WrongLength"),
            ObjectError::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "TooLong"),
            ObjectError::NoRoom(_) | ObjectError::Unreadable(_) | ObjectError::Metadata(_) | ObjectError::Full { .. } => {
                // What is inside is for whoever runs it.
                tracing::warn!(error = error_chain(&error), "storage cannot serve a request");
                let detail = "storage cannot do this now: try again in a few seconds";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", detail);
            }
            ObjectError::Broken(_) => {
                tracing::error!(error = error_chain(&error), "metadata is damaged");
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Broken", "the metadata of this object is damaged");
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = eddy_http::problem(self.status, self.code, &self.detail, &[]);
        if let Some(length) = self.length.and_then(|length| HeaderValue::from_str(&format!("bytes */{length}")).ok()) {
            response.headers_mut().insert(CONTENT_RANGE, length);
        }
        response
    }
}
