//! What is written, as its body says it: a whole object, or a patch.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::kinds::ServedKind;
use crate::problem::Problem;

const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
/// What is owned field by field.
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// The whole object of a body, as it would be sent on.
pub(crate) fn object(headers: &HeaderMap, body: &[u8], kind: &ServedKind, tenant: Option<&str>) -> Result<Value, Problem> {
    if media_type(headers) != Some("application/json") {
        return Err(unsupported("application/json"));
    }
    let mut object: Value =
        serde_json::from_slice(body).map_err(|error| Problem::bad(format!("the body is no JSON: {error}")))?;
    if !object.is_object() || !(object["metadata"].is_object() || object["metadata"].is_null()) {
        return Err(Problem::bad("the body is no object of Kubernetes, with metadata and spec"));
    }
    let notes = &object["metadata"]["annotations"];
    if !(notes.is_object() || notes.is_null()) {
        return Err(Problem::bad("metadata.annotations is no object"));
    }
    let namespace = tenant.map(eddy_crds::core_namespace);
    let expected = [("apiVersion", Some(kind.resource.api_version.clone())), ("kind", Some(kind.resource.kind.clone()))];
    for (field, value) in expected {
        match &object[field] {
            Value::Null => object[field] = json!(value),
            said if *said == json!(value) => {}
            _ => return Err(Problem::bad(format!("{field} is not {}", value.unwrap_or_default()))),
        }
    }
    match (&object["metadata"]["namespace"], namespace) {
        (Value::Null, Some(namespace)) => object["metadata"]["namespace"] = json!(namespace),
        (said, namespace) if *said == json!(namespace) => {}
        _ => return Err(Problem::bad("metadata.namespace is another than the tenant's")),
    }
    Ok(object)
}

/// A patch, bound to a version if one is said.
pub(crate) fn patched(headers: &HeaderMap, body: &Bytes, version: Option<&str>) -> Result<(&'static str, Vec<u8>), Problem> {
    let parsed = || serde_json::from_slice::<Value>(body).map_err(|error| Problem::bad(format!("the body is no JSON: {error}")));
    match (media_type(headers), version) {
        (Some(MERGE), None) => Ok((MERGE, body.to_vec())),
        (Some(JSON_PATCH), None) => Ok((JSON_PATCH, body.to_vec())),
        (Some(APPLY), None) => Ok((APPLY, body.to_vec())),
        (Some(MERGE), Some(version)) => {
            let mut patch = parsed()?;
            if !patch.is_object() || !(patch["metadata"].is_object() || patch["metadata"].is_null()) {
                return Err(Problem::bad("a merge patch is an object (RFC 7396)"));
            }
            patch["metadata"]["resourceVersion"] = json!(version);
            Ok((MERGE, patch.to_string().into_bytes()))
        }
        (Some(JSON_PATCH), Some(version)) => {
            let Value::Array(mut steps) = parsed()? else { return Err(Problem::bad("a JSON patch is a list (RFC 6902)")) };
            steps.insert(0, json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}));
            Ok((JSON_PATCH, Value::Array(steps).to_string().into_bytes()))
        }
        (Some(APPLY), Some(_)) => Err(Problem::bad("an apply takes no If-Match: say metadata.resourceVersion in it")),
        _ => Err(unsupported(&format!("{MERGE}, {JSON_PATCH} or {APPLY}"))),
    }
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next().map(str::trim)
}

fn unsupported(expected: &str) -> Problem {
    let detail = format!("Content-Type must be {expected}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", detail)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kinds;
    use crate::testing::headers;

    #[test]
    fn a_body_is_of_the_kind_and_the_tenant_of_its_path() {
        let kinds = kinds::all();
        let container = kinds.iter().find(|kind| kind.plural == "containers").unwrap();
        let json = headers(&[(CONTENT_TYPE, "application/json; charset=utf-8")]);
        let read = |body: &str| object(&json, body.as_bytes(), container, Some("ada"));
        let whole = read(r#"{"metadata":{"name":"x"},"spec":{}}"#).unwrap();
        assert_eq!((whole["kind"].as_str(), whole["metadata"]["namespace"].as_str()), (Some("Container"), Some("u-ada")));
        assert!(read(r#"{"apiVersion":"eddy.cloud/v1alpha1","kind":"Container","metadata":{"namespace":"u-ada"}}"#).is_ok());
        for wrong in [
            "",
            "[]",
            "null",
            "{",
            r#"{"metadata":7}"#,
            r#"{"kind":"Secret"}"#,
            r#"{"apiVersion":"v1"}"#,
            r#"{"metadata":{"namespace":"u-bob"}}"#,
            r#"{"metadata":{"namespace":7}}"#,
        ] {
            assert_eq!(read(wrong).unwrap_err().status, 400, "{wrong}");
        }
        assert_eq!(object(&HeaderMap::new(), b"{}", container, Some("ada")).unwrap_err().status, 415);
        let user = kinds.iter().find(|kind| kind.plural == "users").unwrap();
        assert!(object(&json, br#"{"metadata":{"namespace":"u-ada"}}"#, user, None).is_err());
    }

    #[test]
    fn a_version_that_is_said_binds_every_kind_of_patch() {
        let of = |kind: &str, body: &'static str, version| {
            let patch = patched(&headers(&[(CONTENT_TYPE, kind)]), &Bytes::from_static(body.as_bytes()), version);
            patch.map(|(_, body)| serde_json::from_slice::<Value>(&body).unwrap()).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(
            of(MERGE, r#"{"spec":{"a":1}}"#, Some("7")),
            Ok(json!({"spec": {"a": 1}, "metadata": {"resourceVersion": "7"}}))
        );
        assert_eq!(of(MERGE, r#"{"spec":{}}"#, None), Ok(json!({"spec": {}})));
        let bound = of(JSON_PATCH, "[]", Some("7")).unwrap();
        assert_eq!(bound[0]["path"], "/metadata/resourceVersion");
        for (kind, body, version, status) in [
            (MERGE, "[]", Some("7"), 400),
            (JSON_PATCH, "{}", Some("7"), 400),
            (APPLY, "{}", Some("7"), 400),
            ("application/json", "{}", None, 415),
        ] {
            assert_eq!(of(kind, body, version), Err(status), "{kind} {body}");
        }
    }
}
