//! Writing: sent on to the Kubernetes API as the tenant, once it is clear that whoever asks may.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use eddy_authz::{Action, Resource};
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::{Caller, Target};
use crate::delegation;
use crate::follow::Followed;
use crate::idempotency::{Idempotency, Made, keep, reused};
use crate::kinds::ServedKind;
use crate::origin::Origin;
use crate::problem::Problem;
use crate::read::etag;
use crate::router::{Api, Found, Listed};
use crate::upstream::{As, Ask, send};

/// What was written is here by then, or the watch is behind.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// Tries to take the place of an object that changes meanwhile, for whoever did not say of which version.
const TRIES: usize = 4;
/// Who owns what is written, to the Kubernetes API, where nobody else is said.
const MANAGER: &str = "eddy-api";

/// How something is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct How {
    /// Only whether it would be.
    #[serde(default)]
    dry_run: bool,
    /// Who owns what an apply says.
    field_manager: Option<String>,
    /// An apply takes what others own.
    #[serde(default)]
    force: bool,
}

impl How {
    fn query(&self) -> Result<Vec<(&'static str, String)>, Problem> {
        let manager = self.field_manager.as_deref().unwrap_or(MANAGER);
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        // The operator's fields are the operator's.
        if manager.is_empty() || manager.len() > 64 || !manager.chars().all(plain) || manager.starts_with("eddy-operator") {
            return Err(Problem::bad("fieldManager has 1 to 64 letters, digits, -, _ and ., and is not the operator's"));
        }
        let mut query = vec![("fieldManager", manager.to_owned()), ("fieldValidation", "Strict".to_owned())];
        if self.dry_run {
            query.push(("dryRun", "All".to_owned()));
        }
        Ok(query)
    }
}

pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    listed: Listed,
    origin: Origin,
    headers: HeaderMap,
    Query(how): Query<How>,
    body: Bytes,
) -> Result<Response, Problem> {
    finished(async move {
        let (kind, _) = api.kind(&listed.plural, listed.tenant.is_some())?;
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let name = said["metadata"]["name"].as_str().unwrap_or_default();
        let target = Target { kind, tenant: listed.tenant.as_deref().unwrap_or(name), name };
        let done = created(&api, &caller, &listed, &headers, &how, &body).await;
        if !how.dry_run {
            api.audit(&origin, &caller, Action::Create, target, &done);
        }
        done
    })
    .await
}

/// Does it, and writes down that it was done, whether whoever asked waits for it or not.
async fn finished(work: impl Future<Output = Result<Response, Problem>> + Send + 'static) -> Result<Response, Problem> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(Problem::unavailable("this cannot be done now: try again in a few seconds")))
}

async fn created(
    api: &Api,
    caller: &Caller,
    listed: &Listed,
    headers: &HeaderMap,
    how: &How,
    body: &Bytes,
) -> Result<Response, Problem> {
    let (kind, followed) = api.kind(&listed.plural, listed.tenant.is_some())?;
    let mut object = object(headers, body, kind, listed.tenant.as_deref())?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if object["metadata"]["name"] == "" {
        object["metadata"]["name"] = Value::Null;
    }
    if name.is_empty() && object["metadata"]["generateName"].as_str().is_none() {
        return Err(Problem::bad("metadata.name is missing"));
    }
    // What is in no core namespace is its own tenant.
    let tenant = listed.tenant.clone().unwrap_or_else(|| name.clone());
    let target = Target { kind, tenant: &tenant, name: &name };
    caller.check(api.feed(), Action::Create, target)?;
    delegated(caller, kind, &object)?;
    let idempotency = Idempotency::of(headers, caller.0.user(), &object)?;
    if let Some(idempotency) = &idempotency {
        idempotency.note(&mut object);
    }
    let ask = ask(Method::POST, kind.path(&tenant, None), how.query()?, "application/json", object.to_string().into_bytes());
    let who = as_whom(kind, &tenant, caller);
    match (send(api.client(), who, ask).await, idempotency) {
        (Err(problem), Some(idempotency)) if problem.code == "AlreadyExists" => {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let there = ask_for(kind, &tenant, name);
            let there = send(api.client(), who, there).await.map_err(|_| problem.clone())?;
            match idempotency.made(&there) {
                Made::ByThis => answer(StatusCode::OK, there, None),
                Made::ByAnother => Err(reused()),
                Made::Otherwise => Err(problem),
            }
        }
        (made, _) => {
            let made = made?;
            seen(followed, &made, how.dry_run).await;
            let name = made["metadata"]["name"].as_str().unwrap_or_default();
            let location = match &listed.tenant {
                Some(tenant) => format!("/api/v1/tenants/{tenant}/{}/{name}", kind.plural),
                None => format!("/api/v1/{}/{name}", kind.plural),
            };
            answer(if how.dry_run { StatusCode::OK } else { StatusCode::CREATED }, made, HeaderValue::from_str(&location).ok())
        }
    }
}

pub(crate) async fn replace(
    State(api): State<Api>,
    caller: Caller,
    found: Found,
    origin: Origin,
    headers: HeaderMap,
    Query(how): Query<How>,
    body: Bytes,
) -> Result<Response, Problem> {
    finished(async move {
        let (kind, _) = api.kind(&found.plural, found.is_tenanted)?;
        let done = replaced(&api, &caller, &found, &headers, &how, &body).await;
        if !how.dry_run {
            api.audit(&origin, &caller, Action::Update, found.target(kind), &done);
        }
        done
    })
    .await
}

async fn replaced(
    api: &Api,
    caller: &Caller,
    found: &Found,
    headers: &HeaderMap,
    how: &How,
    body: &Bytes,
) -> Result<Response, Problem> {
    let (kind, followed) = api.kind(&found.plural, found.is_tenanted)?;
    caller.check(api.feed(), Action::Update, found.target(kind))?;
    own(caller, found, kind)?;
    let mut object = object(headers, body, kind, found.is_tenanted.then_some(&*found.tenant))?;
    match object["metadata"]["name"].as_str() {
        None => object["metadata"]["name"] = json!(found.name),
        Some(name) if name == found.name => {}
        Some(_) => return Err(Problem::bad("metadata.name is another than the path's")),
    }
    delegated(caller, kind, &object)?;
    let condition = condition(headers)?;
    if let Some(version) = &condition {
        object["metadata"]["resourceVersion"] = json!(version);
    }
    // Whoever says of which version it is replaces that one, others whichever there is.
    let is_bound = object["metadata"]["resourceVersion"].is_string();
    if let Some(item) = followed.read().get(&found.place()) {
        keep(&item.json, &mut object);
    }
    let who = as_whom(kind, &found.tenant, caller);
    let mut tries = TRIES;
    loop {
        tries -= 1;
        if !is_bound {
            let there = send(api.client(), who, ask_for(kind, &found.tenant, &found.name)).await?;
            object["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"].clone();
        }
        let path = kind.path(&found.tenant, Some(&found.name));
        let ask = ask(Method::PUT, path, how.query()?, "application/json", object.to_string().into_bytes());
        match send(api.client(), who, ask).await {
            Err(problem) if problem.code == "Conflict" && !is_bound && tries > 0 => {}
            written => {
                return changed(written, condition.as_deref(), followed, how).await;
            }
        }
    }
}

pub(crate) async fn patch(
    State(api): State<Api>,
    caller: Caller,
    found: Found,
    origin: Origin,
    headers: HeaderMap,
    Query(how): Query<How>,
    body: Bytes,
) -> Result<Response, Problem> {
    finished(async move {
        let (kind, _) = api.kind(&found.plural, found.is_tenanted)?;
        let done = patched_with(&api, &caller, &found, &headers, &how, &body).await;
        if !how.dry_run {
            api.audit(&origin, &caller, Action::Update, found.target(kind), &done);
        }
        done
    })
    .await
}

async fn patched_with(
    api: &Api,
    caller: &Caller,
    found: &Found,
    headers: &HeaderMap,
    how: &How,
    body: &Bytes,
) -> Result<Response, Problem> {
    let (kind, followed) = api.kind(&found.plural, found.is_tenanted)?;
    caller.check(api.feed(), Action::Update, found.target(kind))?;
    own(caller, found, kind)?;
    if delegation::is_judged(&caller.0, kind.scope) {
        return Err(Problem::forbidden("what a part of it becomes is not known before: replace the whole object, with PUT"));
    }
    let condition = condition(headers)?;
    let (content_type, body) = patched(headers, body, condition.as_deref())?;
    let mut query = how.query()?;
    if content_type == APPLY {
        // It makes what is not there.
        caller.check(api.feed(), Action::Create, found.target(kind))?;
        query.push(("force", how.force.to_string()));
    }
    let ask = ask(Method::PATCH, kind.path(&found.tenant, Some(&found.name)), query, content_type, body);
    let written = send(api.client(), as_whom(kind, &found.tenant, caller), ask).await;
    changed(written, condition.as_deref(), followed, how).await
}

pub(crate) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    found: Found,
    origin: Origin,
    headers: HeaderMap,
    Query(how): Query<How>,
) -> Result<Response, Problem> {
    finished(async move {
        let (kind, _) = api.kind(&found.plural, found.is_tenanted)?;
        let done = deleted(&api, &caller, &found, &headers, &how).await;
        if !how.dry_run {
            api.audit(&origin, &caller, Action::Delete, found.target(kind), &done);
        }
        done
    })
    .await
}

async fn deleted(api: &Api, caller: &Caller, found: &Found, headers: &HeaderMap, how: &How) -> Result<Response, Problem> {
    let (kind, followed) = api.kind(&found.plural, found.is_tenanted)?;
    caller.check(api.feed(), Action::Delete, found.target(kind))?;
    let condition = condition(headers)?;
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    if let Some(version) = &condition {
        options["preconditions"] = json!({"resourceVersion": version});
    }
    if how.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    let path = kind.path(&found.tenant, Some(&found.name));
    let ask = ask(Method::DELETE, path, Vec::new(), "application/json", options.to_string().into_bytes());
    let gone = send(api.client(), as_whom(kind, &found.tenant, caller), ask).await;
    let gone = gone.map_err(|problem| conditioned(problem, condition.as_deref()))?;
    if !how.dry_run {
        let uid = gone["metadata"]["uid"].as_str().or_else(|| gone["details"]["uid"].as_str()).unwrap_or_default();
        if gone["metadata"]["finalizers"].is_array() {
            seen(followed, &gone, false).await;
        } else {
            followed.is_gone(&found.place(), uid, SEEN_WITHIN).await;
        }
    }
    // It is there until what holds it up is done, and gone else.
    let status = if gone["metadata"]["finalizers"].is_array() { StatusCode::ACCEPTED } else { StatusCode::OK };
    answer(status, gone, None)
}

/// The whole object of a body, as it would be sent on.
fn object(headers: &HeaderMap, body: &[u8], kind: &ServedKind, tenant: Option<&str>) -> Result<Value, Problem> {
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

const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// A patch, bound to a version if one is said.
fn patched(headers: &HeaderMap, body: &Bytes, version: Option<&str>) -> Result<(&'static str, Vec<u8>), Problem> {
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

/// Whoever something is shared with may see and remove it, not change it: what a Container becomes, it does as its owner.
fn own(caller: &Caller, found: &Found, kind: &ServedKind) -> Result<(), Problem> {
    let resource = Resource { owner: &found.tenant, kind: kind.scope, id: &found.name };
    if caller.0.may(Action::Update, &resource) { Ok(()) } else { Err(Problem::forbidden("only its owner changes it")) }
}

fn delegated(caller: &Caller, kind: &ServedKind, object: &Value) -> Result<(), Problem> {
    delegation::check(&caller.0, kind.scope, object).map_err(Problem::forbidden)
}

/// The version that whoever asks wants to change, if they say one.
fn condition(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    if headers.contains_key(IF_NONE_MATCH) {
        return Err(Problem::bad("If-None-Match is for reading: make an object with POST, which never replaces one"));
    }
    let mut said = headers.get_all(IF_MATCH).iter();
    let (Some(first), None) = (said.next(), said.next()) else {
        return if headers.contains_key(IF_MATCH) { Err(wrong_condition()) } else { Ok(None) };
    };
    let text = first.to_str().map_err(|_| wrong_condition())?;
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let version = version.filter(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()));
    version.map(|version| Some(version.to_owned())).ok_or_else(wrong_condition)
}

fn wrong_condition() -> Problem {
    Problem::bad("If-Match is one ETag, as a read was answered with")
}

/// What a conflict is to whoever said a version.
fn conditioned(problem: Problem, condition: Option<&str>) -> Problem {
    if condition.is_some() && problem.code == "Conflict" {
        let detail = "the object is not of that version any more: read it again";
        return Problem::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", detail);
    }
    problem
}

/// The end of a change: what became of it, once whoever reads next sees it.
async fn changed(
    written: Result<Value, Problem>,
    condition: Option<&str>,
    followed: &Followed,
    how: &How,
) -> Result<Response, Problem> {
    let written = written.map_err(|problem| conditioned(problem, condition))?;
    seen(followed, &written, how.dry_run).await;
    answer(StatusCode::OK, written, None)
}

fn as_whom<'a>(kind: &ServedKind, tenant: &'a str, caller: &'a Caller) -> As<'a> {
    if kind.is_tenanted { As::Tenant(tenant) } else { As::Admin(caller.0.user()) }
}

fn ask(method: Method, path: String, query: Vec<(&'static str, String)>, content_type: &'static str, body: Vec<u8>) -> Ask {
    Ask { method, path, query, content_type, body }
}

fn ask_for(kind: &ServedKind, tenant: &str, name: &str) -> Ask {
    ask(Method::GET, kind.path(tenant, Some(name)), Vec::new(), "application/json", Vec::new())
}

/// Waits until whoever reads next, here, sees what was written.
async fn seen(followed: &Followed, written: &Value, dry_run: bool) {
    let version = written["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok());
    if let (Some(version), false) = (version, dry_run) {
        followed.reaches(version, SEEN_WITHIN).await;
    }
}

fn answer(status: StatusCode, mut object: Value, location: Option<HeaderValue>) -> Result<Response, Problem> {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    let version = object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok());
    let body = object.to_string();
    let mut response = (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response();
    if let Some(version) = version {
        response.headers_mut().insert(ETAG, etag(version));
    }
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kinds;

    fn headers(all: &[(http::HeaderName, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

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

    #[test]
    fn a_condition_is_one_tag() {
        let of = |value: &str| condition(&headers(&[(IF_MATCH, value)])).map_err(|problem| problem.status.as_u16());
        assert_eq!((of("\"7\""), of("*")), (Ok(Some("7".into())), Ok(None)));
        for wrong in ["7", "\"\"", "\"7", "W/\"7\"", "\"7\", \"8\"", "\"x\""] {
            assert_eq!(of(wrong), Err(400), "{wrong}");
        }
        assert!(condition(&headers(&[(IF_MATCH, "\"7\""), (IF_MATCH, "\"8\"")])).is_err());
        assert!(condition(&headers(&[(IF_NONE_MATCH, "*")])).is_err());
    }

    #[test]
    fn nobody_writes_in_the_operators_name() {
        let manager = |name: &str| How { field_manager: Some(name.to_owned()), ..How::default() }.query().is_ok();
        assert!(manager("kubectl") && manager("eddy-cli") && How::default().query().is_ok());
        assert!(
            !manager("")
                && !manager("eddy-operator")
                && !manager("eddy-operator-2")
                && !manager("a b")
                && !manager(&"a".repeat(65))
        );
    }
}
