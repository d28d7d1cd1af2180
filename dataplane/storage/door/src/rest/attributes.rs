//! What a file is known by besides its bytes: headers, and names and values of its owner.

use axum::extract::State;
use axum::response::Response;
use eddy_object::schema::{Attributes, ObjectRow};
use eddy_object::{ObjectError, now_ms};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, HeaderName};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::extract::{Json, Target};
use super::files::{precondition, reach_present, written};
use crate::access::{Caller, Right};
use crate::door::Door;
use crate::error::Problem;

/// Headers that are kept with a file and sent with it.
const KEPT: [HeaderName; 5] = [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, EXPIRES];
/// What names of the owner's metadata begin with.
const OWN: &str = "x-eddy-meta-";
/// All of the owner's names and values together.
const OWN_BYTES_MAX: usize = 8 * 1024;
/// All headers that are kept, together.
const KEPT_BYTES_MAX: usize = 4 * 1024;
/// Tags, as in S3.
const TAGS_MAX: usize = 10;
const FALLBACK_TYPE: &str = "application/octet-stream";

/// What a file is known by, as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Known {
    /// Its media type.
    #[serde(default)]
    content_type: String,
    /// Headers that are sent with it.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Its owner's names and values.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// Names and values by which its owner sorts it.
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// What the headers of a request say of the file that comes with it.
pub(super) fn of_headers(headers: &HeaderMap) -> Result<Attributes, Problem> {
    let mut attributes = Attributes::default();
    let text = |name: &HeaderName, value: &HeaderValue| {
        value.to_str().map(str::to_owned).map_err(|_| Problem::bad(format!("the header {name} is no ASCII text")))
    };
    for (name, value) in headers {
        if name == CONTENT_TYPE {
            attributes.content_type = text(name, value)?;
        } else if KEPT.contains(name) && (name != CONTENT_ENCODING || value != "aws-chunked") {
            attributes.headers.push((name.as_str().to_owned(), text(name, value)?));
        } else if let Some(own) = name.as_str().strip_prefix(OWN) {
            attributes.metadata.push((own.to_owned(), text(name, value)?));
        }
    }
    check(&attributes)?;
    Ok(attributes)
}

/// Sends what a file is known by.
pub(super) fn send(row: &ObjectRow, headers: &mut HeaderMap) {
    let attributes = &row.attributes;
    let content_type = if attributes.content_type.is_empty() { FALLBACK_TYPE } else { &attributes.content_type };
    let content_type = HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static(FALLBACK_TYPE));
    headers.insert(CONTENT_TYPE, content_type);
    let own = attributes.metadata.iter().map(|(name, value)| (format!("{OWN}{name}"), value));
    let kept = attributes.headers.iter().map(|(name, value)| (name.clone(), value));
    for (name, value) in kept.chain(own) {
        // Other doors allow other names.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
}

pub(super) async fn read(State(door): State<Door>, caller: Caller, target: Target) -> Result<axum::Json<Known>, Problem> {
    let (_, row) = reach_present(&door, &caller, &target, Right::GetObject).await?;
    let Attributes { content_type, headers, metadata, tags, .. } = row.attributes;
    let map = |pairs: Vec<(String, String)>| pairs.into_iter().collect();
    Ok(axum::Json(Known { content_type, headers: map(headers), metadata: map(metadata), tags: map(tags) }))
}

pub(super) async fn write(
    State(door): State<Door>,
    caller: Caller,
    target: Target,
    headers: HeaderMap,
    Json(known): Json<Known>,
) -> Result<Response, Problem> {
    let (space, before) = reach_present(&door, &caller, &target, Right::PutObject).await?;
    let precondition = precondition(&headers, Some(&before))?;
    let pairs = |map: BTreeMap<String, String>| map.into_iter().collect::<Vec<_>>();
    let known = Attributes {
        content_type: known.content_type,
        headers: pairs(known.headers),
        metadata: pairs(known.metadata),
        tags: pairs(known.tags),
        ..Attributes::default()
    };
    check(&known)?;
    let sorted = |tags: &[(String, String)]| tags.iter().cloned().collect::<BTreeMap<_, _>>();
    if sorted(&known.tags) != sorted(&before.attributes.tags) {
        let (place, right) = ((&target.namespace[..], Some(&target.key[..])), Right::PutObjectTagging);
        caller.may_giving(&known.tags, &door, right, place, &space, Some(&before)).await?;
    }
    let change = |row: &mut ObjectRow| {
        if row.attributes.lock.holds(now_ms(), false) {
            return Err(ObjectError::Locked);
        }
        let Attributes { content_type, headers, metadata, tags, .. } = known.clone();
        row.attributes = Attributes { content_type, headers, metadata, tags, ..std::mem::take(&mut row.attributes) };
        Ok(())
    };
    let row = door.metadata().set_attributes(&target.namespace, &target.key, None, &precondition, change).await?;
    Ok(written(&target, &row, false))
}

/// All of it must fit, and must be something that can be sent.
fn check(attributes: &Attributes) -> Result<(), Problem> {
    let bytes = |pairs: &[(String, String)]| pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if bytes(&attributes.metadata) > OWN_BYTES_MAX || bytes(&attributes.headers) + attributes.content_type.len() > KEPT_BYTES_MAX
    {
        return Err(Problem::bad(format!("at most {OWN_BYTES_MAX} bytes of metadata and {KEPT_BYTES_MAX} of headers are kept")));
    }
    if attributes.tags.len() > TAGS_MAX || attributes.tags.iter().any(|(name, value)| name.len() > 128 || value.len() > 256) {
        return Err(Problem::bad(format!("at most {TAGS_MAX} tags, of 128 and 256 bytes")));
    }
    let kept = |name: &str| KEPT.iter().any(|kept| kept.as_str() == name);
    if let Some((name, _)) = attributes.headers.iter().find(|(name, _)| !kept(name)) {
        return Err(Problem::bad(format!("the header {name:?} is not kept with files")));
    }
    let sendable = |(name, value): &(String, String)| {
        HeaderName::try_from(format!("{OWN}{name}")).is_ok() && HeaderValue::from_str(value).is_ok()
    };
    let all = attributes.metadata.iter().chain(&attributes.headers);
    if !all.clone().all(sendable) || HeaderValue::from_str(&attributes.content_type).is_err() {
        return Err(Problem::bad("names and values of metadata must be such as headers can have"));
    }
    Ok(())
}
