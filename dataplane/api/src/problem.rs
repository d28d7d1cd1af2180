//! What whoever asked is told when it did not work (RFC 9457).

use axum::response::{IntoResponse, Response};
use eddy_authz::Refused;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use kube::core::Status;
use serde::Serialize;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// One word a cause, for programs.
    pub(crate) code: &'static str,
    /// What happened and what to do, for people.
    pub(crate) detail: String,
    /// Which fields are wrong, and why.
    pub(crate) errors: Vec<FieldError>,
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    /// Its path, as `spec.image`.
    pub(crate) field: String,
    pub(crate) message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new() }
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "show a token: Authorization: Bearer eddy_<id>_<secret>")
    }

    pub(crate) fn stale() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "PermissionsStale", Refused::Stale.to_string())
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", detail)
    }

    /// What is not there, or not for whoever asks: which of both is nobody's business.
    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("there is no {what}, or it is not yours to see"))
    }

    pub(crate) fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", detail)
    }

    /// What the Kubernetes API refused.
    pub(crate) fn of_status(said: &Status) -> Self {
        let status = StatusCode::from_u16(said.code).unwrap_or(StatusCode::BAD_GATEWAY);
        let code = match (status.as_u16(), said.reason.as_str()) {
            (400, _) => "BadRequest",
            (403, _) if said.message.contains("exceeded quota") => "QuotaExceeded",
            (403, _) => "Forbidden",
            (404, _) => "NotFound",
            (409, "AlreadyExists") => "AlreadyExists",
            (409, _) => "Conflict",
            (413, _) => "TooLong",
            (415, _) => "UnsupportedMediaType",
            (422, _) => "Invalid",
            (429, _) => "TooManyRequests",
            _ => {
                tracing::warn!(code = said.code, message = said.message, "the Kubernetes API cannot serve a request");
                return Self::unavailable("the platform's API cannot do this now: try again in a few seconds");
            }
        };
        let causes = said.details.iter().flat_map(|details| &details.causes);
        let errors = causes.map(|cause| FieldError { field: cause.field.clone(), message: cause.message.clone() });
        Self { errors: errors.filter(|error| !error.field.is_empty()).collect(), ..Self::new(status, code, said.message.clone()) }
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

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let (code, detail, errors) = (self.code, &*self.detail, &*self.errors);
        let body = Body { r#type: "about:blank", title, status: self.status.as_u16(), code, detail, errors };
        let mut response = (self.status, serde_json::to_vec(&body).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"eddy\""));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_kubernetes_refuses_is_told_in_our_form() {
        let said: Status = serde_json::from_value(json!({
            "status": "Failure", "code": 422, "reason": "Invalid", "message": "Container \"x\" is invalid",
            "details": {"causes": [{"reason": "FieldValueInvalid", "message": "too long", "field": "spec.image"}, {"message": "m", "field": ""}]},
        }))
        .unwrap();
        let problem = Problem::of_status(&said);
        assert_eq!((problem.status.as_u16(), problem.code), (422, "Invalid"));
        assert_eq!(problem.errors, [FieldError { field: "spec.image".into(), message: "too long".into() }]);
        // What is inside is for whoever runs it.
        let said = Status { code: 500, message: "etcdserver: 10.0.0.7 is gone".into(), ..Status::default() };
        assert!(Problem::of_status(&said).status == 503 && !Problem::of_status(&said).detail.contains("etcd"));
    }
}
