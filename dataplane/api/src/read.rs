//! Reading: one object, and lists of them, out of the copy in memory.

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use eddy_authz::Action;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::access::{Caller, Target};
use crate::board::Board;
use crate::follow::Followed;
use crate::item::{Item, Place};
use crate::kinds::ServedKind;
use crate::problem::Problem;
use crate::router::{Api, Found, Listed};
use crate::selector;
use crate::stream::{self, Following};

/// More of a list come by pages.
const PAGE_MAX: usize = 5000;
/// A version that another replica has written is here by then, or this one hears nothing.
const REACHES_WITHIN: Duration = Duration::from_secs(2);

/// What of a list is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Asked {
    limit: Option<usize>,
    #[serde(default)]
    r#continue: String,
    #[serde(default)]
    label_selector: String,
    /// Nothing older than this: what a write was answered with, by whichever replica.
    #[serde(default)]
    min_resource_version: u64,
}

/// What one of them is asked for by.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AskedOne {
    #[serde(default)]
    min_resource_version: u64,
}

/// Who asks, as the platform knows them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Who {
    user: String,
    admin: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Whether what they showed is good for less than all that is theirs.
    limited: bool,
    /// Whether they have signed in, rather than shown a Token.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    session: bool,
}

pub(crate) async fn whoami(Caller(who): Caller) -> Json<Who> {
    Json(Who {
        user: who.user().to_owned(),
        admin: who.is_admin(),
        service_account: who.account().map(str::to_owned),
        token: who.token().map(str::to_owned),
        limited: who.is_limited(),
        session: who.is_session(),
    })
}

pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    listed: Listed,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let (kind, followed) = api.listed(&listed.plural, listed.tenant.is_some())?;
    let tenant = listed.tenant.as_deref().unwrap_or_default();
    caller.check(api.feed(), Action::Read, Target { kind, tenant, name: "" })?;
    let selector = selector::parse(&asked.label_selector).map_err(|error| Problem::bad(error.to_string()))?;
    reach(followed, asked.min_resource_version).await?;
    let namespace = listed.tenant.as_deref().map(eddy_crds::core_namespace);
    let wants_stream = headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"));
    if wants_stream {
        let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
        let filter = stream::Filter { namespace, selector };
        let entered = api.streams_by_user().enter(caller.0.user()).ok_or_else(|| {
            let detail = "you have as many streams open as you may: close some";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", detail)
        })?;
        // Of a replica that was ahead. If it does not come, everything is read anew.
        followed.reaches(last_seen.unwrap_or_default(), REACHES_WITHIN).await;
        let (kind, followed) = (kind.clone(), followed.clone());
        let asked = Following { kind, tenant: listed.tenant, headers, followed, filter, last_seen, _entered: entered };
        return Ok(stream::changes(api.clone(), asked));
    }
    let limit = asked.limit.unwrap_or(PAGE_MAX);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad(format!("limit is a number from 1 to {PAGE_MAX}")));
    }
    let after = after(&asked.r#continue)?;
    let board = followed.read();
    let version = board.version();
    let all = board.list(namespace.as_deref(), after.as_ref());
    let mut items: Vec<_> = all.filter(|item| selector::matches(&selector, &item.labels)).take(limit + 1).cloned().collect();
    drop(board);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| format!("{}~{}", last.place.namespace, last.place.name));
    let body = page(kind, version, next.as_deref(), items.iter().map(|item| &item.json));
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

/// Where a page ended.
fn after(text: &str) -> Result<Option<Place>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let place = text.split_once('~').map(|(namespace, name)| Place::new(namespace, name));
    place.map(Some).ok_or_else(|| Problem::bad("continue is what the page before said in metadata.continue"))
}

/// A list, as Kubernetes has them.
pub(crate) fn page<'a>(
    kind: &ServedKind,
    version: u64,
    next: Option<&str>,
    items: impl Iterator<Item = &'a Bytes> + Clone,
) -> Bytes {
    let length: usize = items.clone().map(|item| item.len() + 1).sum();
    let mut page = BytesMut::with_capacity(length + 256);
    let head = serde_json::json!({"resourceVersion": version.to_string(), "continue": next.unwrap_or_default()});
    let (group, name) = (&kind.resource.api_version, &kind.resource.kind);
    page.put_slice(format!("{{\"apiVersion\":\"{group}\",\"kind\":\"{name}List\",\"metadata\":{head},\"items\":[").as_bytes());
    for (number, item) in items.enumerate() {
        if number > 0 {
            page.put_u8(b',');
        }
        page.put_slice(item);
    }
    page.put_slice(b"]}");
    page.freeze()
}

pub(crate) async fn get(
    State(api): State<Api>,
    caller: Caller,
    found: Found,
    headers: HeaderMap,
    Query(asked): Query<AskedOne>,
) -> Result<Response, Problem> {
    let (kind, followed) = api.kind(&found.plural, found.is_tenanted)?;
    caller.check(api.feed(), Action::Read, found.target(kind))?;
    reach(followed, asked.min_resource_version).await?;
    let item = one(&followed.read(), &found)
        .ok_or_else(|| Problem::not_found(format!("{:?} among these {}", found.name, kind.plural)))?;
    let tag = etag(item.version);
    if headers.get_all(IF_NONE_MATCH).iter().any(|shown| shown == tag || shown == "*") {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json")), (ETAG, tag)];
    Ok((headers, item.json.clone()).into_response())
}

fn one(board: &Board, found: &Found) -> Option<std::sync::Arc<Item>> {
    board.get(&found.place())
}

/// The tag of a version of an object (RFC 9110).
pub(crate) fn etag(version: u64) -> HeaderValue {
    // Digits in quotes are a header's value.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

async fn reach(followed: &Followed, version: u64) -> Result<(), Problem> {
    if version == 0 || followed.reaches(version, REACHES_WITHIN).await {
        return Ok(());
    }
    Err(Problem::unavailable("that version is not known here yet: try again in a few seconds"))
}
