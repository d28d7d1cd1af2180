//! Writing: sent on to the Kubernetes API as the tenant, once it is clear that whoever asks may.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use eddy_authz::{Action, Resource};
use eddy_http::finished;
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::access::{Caller, Target};
use crate::asked::{Asked, How};
use crate::condition::{condition, conditioned};
use crate::delegation;
use crate::follow::Followed;
use crate::idempotency::{Idempotency, Made, keep, reused};
use crate::kinds::ServedKind;
use crate::manifest::{APPLY, object, patched};
use crate::problem::Problem;
use crate::read::etag;
use crate::router::{Found, Listed};
use crate::upstream::{As, Ask, send};

/// What was written is here by then, or the watch is behind.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// Tries to take the place of an object that changes meanwhile, for whoever did not say of which version.
const TRIES: usize = 4;
pub(crate) async fn create(asked: Asked, listed: Listed, body: Bytes) -> Result<Response, Problem> {
    finished(async move {
        let (kind, _) = asked.api.kind(&listed.plural, listed.tenant.is_some())?;
        let done = created(&asked, &listed, &body).await;
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let name = said["metadata"]["name"].as_str().unwrap_or_default();
        // A name that Kubernetes made is in no body, but in what it was answered with.
        let made = done.as_ref().ok().and_then(|made| made.headers().get(LOCATION)?.to_str().ok()?.rsplit('/').next());
        let target = Target { kind, tenant: listed.tenant.as_deref().unwrap_or(name), name: made.unwrap_or(name) };
        asked.record(Action::Create, target, &done);
        done
    })
    .await
}

async fn created(asked: &Asked, listed: &Listed, body: &Bytes) -> Result<Response, Problem> {
    let Asked { api, caller, headers, how, .. } = asked;
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

pub(crate) async fn replace(asked: Asked, found: Found, body: Bytes) -> Result<Response, Problem> {
    finished(async move {
        let (kind, _) = asked.api.kind(&found.plural, found.is_tenanted)?;
        let done = replaced(&asked, &found, &body).await;
        asked.record(Action::Update, found.target(kind), &done);
        done
    })
    .await
}

async fn replaced(asked: &Asked, found: &Found, body: &Bytes) -> Result<Response, Problem> {
    let Asked { api, caller, headers, how, .. } = asked;
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

pub(crate) async fn patch(asked: Asked, found: Found, body: Bytes) -> Result<Response, Problem> {
    finished(async move {
        let (kind, _) = asked.api.kind(&found.plural, found.is_tenanted)?;
        let done = patched_with(&asked, &found, &body).await;
        asked.record(Action::Update, found.target(kind), &done);
        done
    })
    .await
}

async fn patched_with(asked: &Asked, found: &Found, body: &Bytes) -> Result<Response, Problem> {
    let Asked { api, caller, headers, how, .. } = asked;
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

pub(crate) async fn delete(asked: Asked, found: Found) -> Result<Response, Problem> {
    finished(async move {
        let (kind, _) = asked.api.kind(&found.plural, found.is_tenanted)?;
        let done = deleted(&asked, &found).await;
        asked.record(Action::Delete, found.target(kind), &done);
        done
    })
    .await
}

async fn deleted(asked: &Asked, found: &Found) -> Result<Response, Problem> {
    let Asked { api, caller, headers, how, .. } = asked;
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

/// Whoever something is shared with may see and remove it, not change it: what a Container becomes, it does as its owner.
fn own(caller: &Caller, found: &Found, kind: &ServedKind) -> Result<(), Problem> {
    let resource = Resource { owner: &found.tenant, kind: kind.scope, id: &found.name };
    if caller.0.may(Action::Update, &resource) { Ok(()) } else { Err(Problem::forbidden("only its owner changes it")) }
}

fn delegated(caller: &Caller, kind: &ServedKind, object: &Value) -> Result<(), Problem> {
    delegation::check(&caller.0, kind.scope, object).map_err(Problem::forbidden)
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
