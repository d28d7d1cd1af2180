//! One file: read, written, deleted.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use eddy_object::Precondition;
use eddy_object::schema::{Attributes, NamespaceRow, ObjectRow};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LAST_MODIFIED, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;

use super::attributes;
use super::extract::{Query, Target};
use super::receive::receive;
use super::shares;
use crate::access::{Caller, Right};
use crate::door::Door;
use crate::error::Problem;
use crate::http::{Asked, ByteRange, CONTENTS_ONLY, Conditions, ContentDigest, Outcome, State as Stored, etag};
use crate::transfer::send;

/// What may follow the path of a file.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Reading {
    /// A link that somebody shared.
    share: Option<String>,
    /// Whether a browser is to save the file rather than show it.
    download: Option<String>,
}

pub(super) async fn read(
    State(door): State<Door>,
    caller: Caller,
    target: Target,
    Query(reading): Query<Reading>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (space, row) = match &reading.share {
        Some(share) => {
            // Whoever has no good link does not hear what is there.
            let (space, row) = resolve(&door, &caller, &target).await.map_err(|problem| match problem.status() {
                StatusCode::SERVICE_UNAVAILABLE => problem,
                _ => shares::refused(),
            })?;
            shares::check(door.authenticator(), share, &space, (&target.namespace, &target.key))?;
            let row = row.ok_or_else(|| eddy_object::ObjectError::NoObject(target.key.clone()))?;
            (space, row)
        }
        None => reach_present(&door, &caller, &target, Right::GetObject).await?,
    };
    let tag = etag(&row);
    let state = Stored { etag: &tag, modified_ms: row.modified_ms };
    let conditions = Conditions(&headers);
    let outcome = conditions.of_reading(&state);
    if outcome == Outcome::Failed {
        return Err(Problem::precondition_failed());
    }
    let mut response = Response::new(Body::empty());
    attributes::send(&row, response.headers_mut());
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(ETAG, &tag);
    set(LAST_MODIFIED, &state.last_modified());
    set(ACCEPT_RANGES, "bytes");
    // What users store is shown on this host, and must not act for whoever looks at it.
    set(CONTENT_SECURITY_POLICY, CONTENTS_ONLY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    if reading.download.is_some() {
        set(http::header::CONTENT_DISPOSITION, "attachment");
    }
    if outcome == Outcome::NotModified {
        response.headers_mut().remove(CONTENT_TYPE);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok()).filter(|_| method == Method::GET);
    let range = match Asked::of(range.filter(|_| conditions.heeds_range(&state)), row.bytes) {
        Asked::Whole => ByteRange { start: 0, end: row.bytes },
        Asked::Part(range) => {
            set(CONTENT_RANGE, &format!("bytes {}-{}/{}", range.start, range.end - 1, row.bytes));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            range
        }
        Asked::Nothing => return Err(Problem::no_such_range(row.bytes)),
    };
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if method != Method::HEAD {
        door.objects().note_read(&space, &target.key);
        *response.body_mut() = send(door.objects(), &row, range).await?;
    }
    Ok(response)
}

pub(super) async fn write(
    State(door): State<Door>,
    caller: Caller,
    target: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (space, before) = reach(&door, &caller, &target, Right::PutObject).await?;
    let precondition = precondition(&headers, before.as_ref())?;
    let digest = ContentDigest::announced(&headers).map_err(Problem::bad)?;
    let attributes = Attributes { writer: caller.writer(&space), ..attributes::of_headers(&headers)? };
    let length = length_of(&headers)?;
    let mut upload = door.objects().upload_to(&target.namespace, &space, length).await?;
    receive(&mut upload, body.into_data_stream(), digest).await?;
    let row = upload.finish(&target.key, attributes, &precondition).await?;
    Ok(written(&target, &row, before.is_none()))
}

pub(super) async fn delete(
    State(door): State<Door>,
    caller: Caller,
    target: Target,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (_, before) = reach_present(&door, &caller, &target, Right::DeleteObject).await?;
    let precondition = precondition(&headers, Some(&before))?;
    door.metadata().delete(&target.namespace, &target.key, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A namespace and the object of it. Who may not know that there is none is not told so.
async fn resolve(door: &Door, caller: &Caller, target: &Target) -> Result<(NamespaceRow, Option<ObjectRow>), Problem> {
    match door.metadata().resolve(&target.namespace, &target.key).await {
        Err(eddy_object::ObjectError::NoNamespace(name)) => Err(caller.not_there(&name)),
        found => Ok(found?),
    }
}

/// A namespace and the object of it, if there is one, for somebody who may.
pub(super) async fn reach(
    door: &Door,
    caller: &Caller,
    target: &Target,
    right: Right,
) -> Result<(NamespaceRow, Option<ObjectRow>), Problem> {
    let (space, row) = resolve(door, caller, target).await?;
    caller.may(door, right, (&target.namespace, Some(&target.key)), &space, row.as_ref()).await?;
    Ok((space, row))
}

/// A namespace and an object of it that must be there, for somebody who may.
pub(super) async fn reach_present(
    door: &Door,
    caller: &Caller,
    target: &Target,
    right: Right,
) -> Result<(NamespaceRow, ObjectRow), Problem> {
    let (space, row) = reach(door, caller, target, right).await?;
    let row = row.ok_or_else(|| eddy_object::ObjectError::NoObject(target.key.clone()))?;
    Ok((space, row))
}

/// What must still be so when the object changes, where the request has conditions that hold now.
pub(super) fn precondition(headers: &HeaderMap, before: Option<&ObjectRow>) -> Result<Precondition, Problem> {
    let conditions = Conditions(headers);
    if !conditions.any_of_writing() {
        return Ok(Precondition::None);
    }
    let tag = before.map(etag);
    let state = before.zip(tag.as_ref()).map(|(row, tag)| Stored { etag: tag, modified_ms: row.modified_ms });
    if !conditions.of_writing(state.as_ref()) {
        return Err(Problem::precondition_failed());
    }
    Ok(before.map_or(Precondition::Absent, |row| Precondition::Upload(row.upload)))
}

/// What a file was written as.
pub(super) fn written(target: &Target, row: &ObjectRow, is_new: bool) -> Response {
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = (status, axum::Json(super::listing::Entry::of(&target.key, row))).into_response();
    if let Ok(tag) = HeaderValue::from_str(&etag(row)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// The length that is announced, if it is.
pub(super) fn length_of(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let length = headers.get(CONTENT_LENGTH).map(|length| length.to_str().ok().and_then(|length| length.parse().ok()));
    length.map(|length| length.ok_or_else(|| Problem::bad("Content-Length is no number"))).transpose()
}
