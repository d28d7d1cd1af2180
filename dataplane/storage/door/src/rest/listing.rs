//! Namespaces, and what is in them.

use axum::Json;
use axum::extract::State;
use eddy_object::schema::{ObjectRow, Visibility};
use eddy_object::{Listed, Listing};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::extract::{Name, Query};
use crate::access::{Caller, Right};
use crate::door::Door;
use crate::error::Problem;
use crate::http::etag;

/// Entries of a page, unless fewer are asked for.
pub(super) const PAGE: usize = 1000;

/// What may be asked of a listing.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    delimiter: String,
    #[serde(default)]
    after: String,
    limit: Option<usize>,
}

/// A page of a listing.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    entries: Vec<Entry>,
    /// What the next page is after, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// An object, or what several keys begin with.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
}

impl Entry {
    pub(super) fn of(key: &str, row: &ObjectRow) -> Self {
        let content_type = Some(row.attributes.content_type.clone()).filter(|content_type| !content_type.is_empty());
        Self {
            key: Some(key.to_owned()),
            bytes: Some(row.bytes),
            modified: time(row.modified_ms),
            etag: Some(etag(row)),
            content_type,
            prefix: None,
        }
    }
}

/// A namespace that whoever asks sees.
#[derive(Debug, Serialize)]
pub(super) struct Space {
    name: String,
    owner: String,
    visibility: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// What it holds, for whoever may read it.
    #[serde(flatten)]
    holds: Option<Holds>,
}

/// What a namespace holds, and may.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Holds {
    objects: i64,
    bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    objects_max: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_max: Option<i64>,
}

pub(super) async fn namespaces(State(door): State<Door>, caller: Caller) -> Result<Json<Vec<Space>>, Problem> {
    let mut seen = Vec::new();
    for (name, row) in door.metadata().list_namespaces("").await? {
        if !caller.sees(&door, &name, &row).await {
            continue;
        }
        let reads = caller.may(&door, Right::ListBucket, (&name, None), &row, None).await.is_ok();
        let usage = if reads { door.metadata().usage(&name).await.ok() } else { None };
        let quota = row.settings.quota;
        let holds = usage.map(|usage| Holds {
            objects: usage.objects,
            bytes: usage.bytes,
            objects_max: quota.objects,
            bytes_max: quota.bytes,
        });
        let visibility = match row.settings.visibility {
            Visibility::Private => "Private",
            Visibility::Visible => "Visible",
            Visibility::Public => "Public",
        };
        seen.push(Space { name, owner: row.settings.owner, visibility, created: time(row.created_ms), holds });
    }
    Ok(Json(seen))
}

pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Name(namespace): Name,
    Query(asked): Query<Asked>,
) -> Result<Json<Page>, Problem> {
    let space = caller.known(&door, &namespace).await?;
    caller.may_list(&door, &namespace, &space, &asked.prefix).await?;
    let Asked { prefix, delimiter, after, limit } = asked;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(Problem::bad(format!("limit is a number from 1 to {PAGE}")));
    }
    if [&prefix, &delimiter, &after].iter().any(|text| text.len() > 1024 + 4) {
        return Err(Problem::bad("prefix, delimiter and after have at most 1024 bytes"));
    }
    let page = door.metadata().list(space.id, &Listing { prefix, delimiter, after, limit }).await?;
    let next = page.entries.last().filter(|_| page.more).map(|last| last.name().to_owned());
    let entries = page.entries.into_iter().map(|entry| match entry {
        Listed::Object(key, row) => Entry::of(&key, &row),
        Listed::Prefix(prefix) => Entry { prefix: Some(prefix), ..Entry::default() },
    });
    Ok(Json(Page { entries: entries.collect(), next }))
}

pub(super) fn time(ms: u64) -> Option<String> {
    Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok().map(|time| time.to_string())
}
