//! What whoever asked is told when it did not work.

use eddy_authz::Refused;
pub(crate) use eddy_http::Problem;
use eddy_http::{FieldError, NotShown};
use http::StatusCode;
use kube::core::Status;

/// Nobody is known to ask.
pub(crate) fn unauthorized() -> Problem {
    NotShown::Nothing.into()
}

/// Why a token is not good.
pub(crate) fn of_refused(refused: Refused) -> Problem {
    match refused {
        Refused::Unknown => unauthorized(),
        Refused::Expired | Refused::Suspended => Problem::unauthorized(refused.to_string()),
        Refused::Stale => Problem::stale(refused.to_string()),
    }
}

/// What the Kubernetes API refused.
pub(crate) fn of_status(said: &Status) -> Problem {
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
            return Problem::unavailable("the platform's API cannot do this now: try again in a few seconds");
        }
    };
    let causes = said.details.iter().flat_map(|details| &details.causes);
    let errors = causes.map(|cause| FieldError { field: cause.field.clone(), message: cause.message.clone() });
    Problem {
        errors: errors.filter(|error| !error.field.is_empty()).collect(),
        ..Problem::new(status, code, said.message.clone())
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
        let problem = of_status(&said);
        assert_eq!((problem.status.as_u16(), problem.code), (422, "Invalid"));
        assert_eq!(problem.errors, [FieldError { field: "spec.image".into(), message: "too long".into() }]);
        // What is inside is for whoever runs it.
        let said = Status { code: 500, message: "etcdserver: 10.0.0.7 is gone".into(), ..Status::default() };
        assert!(of_status(&said).status == 503 && !of_status(&said).detail.contains("etcd"));
    }
}
