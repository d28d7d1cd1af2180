//! Uploads that can be resumed: the file comes in parts, in any order, each as often as it takes.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use eddy_object::schema::{Attributes, ETag, PieceRow};
use eddy_object::{Completion, ObjectError, WantedPart};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::attributes;
use super::extract::{Name, Query, Target};
use super::files::{length_of, precondition, reach, written};
use super::listing::{PAGE, time};
use super::receive::receive;
use crate::access::{Caller, Right};
use crate::door::Door;
use crate::error::Problem;
use crate::http::ContentDigest;
use crate::upload_id::{upload_id, upload_number};

/// Which upload, and which part of it.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    upload: Option<String>,
    part: Option<u16>,
}

/// An upload.
#[derive(Debug, Serialize)]
pub(super) struct Upload {
    upload: String,
}

/// A part that came.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    part: u16,
    bytes: u64,
}

/// Which of the uploads of a namespace.
#[derive(Debug, Deserialize)]
pub(super) struct AskedFor {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
}

/// Uploads that are not complete.
#[derive(Debug, Serialize)]
pub(super) struct Begun {
    uploads: Vec<BegunUpload>,
    /// What the next page is after, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct BegunUpload {
    key: String,
    upload: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    begun: Option<String>,
}

impl Asked {
    fn upload(&self) -> Result<u64, Problem> {
        let upload = self.upload.as_deref().ok_or_else(|| Problem::bad("say which ?upload="))?;
        Ok(upload_number(upload)?)
    }
}

pub(super) async fn begun(
    State(door): State<Door>,
    caller: Caller,
    Name(namespace): Name,
    Query(asked): Query<AskedFor>,
) -> Result<Json<Begun>, Problem> {
    let space = caller.namespace(&door, Right::ListBucketMultipartUploads, &namespace).await?;
    let not_next = || Problem::bad("after is what next was");
    let after = match &asked.after {
        None => None,
        Some(after) => {
            let (upload, key) = after.split_once('/').ok_or_else(not_next)?;
            Some((key, upload_number(upload).map_err(|_| not_next())?))
        }
    };
    let (some, more) = door.metadata().list_multiparts(space.id, &asked.prefix, after, PAGE).await?;
    let next = some.last().filter(|_| more).map(|last| format!("{}/{}", upload_id(last.upload), last.key));
    let uploads =
        some.into_iter().map(|one| BegunUpload { upload: upload_id(one.upload), begun: time(one.row.since_ms), key: one.key });
    Ok(Json(Begun { uploads: uploads.collect(), next }))
}

pub(super) async fn begin_or_complete(
    State(door): State<Door>,
    caller: Caller,
    target: Target,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (space, before) = reach(&door, &caller, &target, Right::PutObject).await?;
    let (metadata, Target { namespace, key }) = (door.metadata(), &target);
    if asked.upload.is_none() {
        let attributes = Attributes { writer: caller.writer(&space), ..attributes::of_headers(&headers)? };
        let owner = caller.0.map(|principal| principal.user().to_owned()).unwrap_or_default();
        let upload = metadata.create_multipart(namespace, key, &owner, attributes).await?;
        return Ok((StatusCode::CREATED, Json(Upload { upload: upload_id(upload) })).into_response());
    }
    let upload = asked.upload()?;
    let parts = match metadata.parts(space.id, key, upload).await {
        // Whoever did not hear that it is complete may ask again.
        Err(ObjectError::NoUpload) => Vec::new(),
        parts => parts?,
    };
    let want = |(number, piece): &(u16, PieceRow)| WantedPart {
        number: *number,
        digest: piece.part.as_ref().map(|part| part.digest.clone()).unwrap_or_default(),
        checksum: None,
    };
    let wanted: Vec<WantedPart> = parts.iter().map(want).collect();
    let precondition = precondition(&headers, before.as_ref())?;
    let completion = Completion { upload, wanted: &wanted, part_bytes_min: 0, precondition: &precondition };
    let seal = |attributes: &Attributes, _: &[PieceRow]| Ok(Attributes { etag: ETag::default(), ..attributes.clone() });
    let row = metadata.complete_multipart(namespace, key, completion, seal).await?;
    Ok(written(&target, &row, before.is_none()))
}

pub(super) async fn part(
    State(door): State<Door>,
    caller: Caller,
    target: Target,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Part>, Problem> {
    let (space, _) = reach(&door, &caller, &target, Right::PutObject).await?;
    let upload = asked.upload()?;
    let number = asked.part.ok_or_else(|| Problem::bad("say which &part=, from 1 on"))?;
    door.metadata().multipart(space.id, &target.key, upload).await?;
    let digest = ContentDigest::announced(&headers).map_err(Problem::bad)?;
    let length = length_of(&headers)?;
    let mut writing = door.objects().upload_to(&target.namespace, &space, length).await?;
    receive(&mut writing, body.into_data_stream(), digest).await?;
    let piece = writing.finish_part(&target.key, upload, number, Attributes::default()).await?;
    Ok(Json(Part { part: number, bytes: piece.bytes }))
}

pub(super) async fn parts(
    State(door): State<Door>,
    caller: Caller,
    target: Target,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Part>>, Problem> {
    let (space, _) = reach(&door, &caller, &target, Right::PutObject).await?;
    let parts = door.metadata().parts(space.id, &target.key, asked.upload()?).await?;
    Ok(Json(parts.into_iter().map(|(part, piece)| Part { part, bytes: piece.bytes }).collect()))
}

pub(super) async fn abort(
    State(door): State<Door>,
    caller: Caller,
    target: Target,
    Query(asked): Query<Asked>,
) -> Result<StatusCode, Problem> {
    reach(&door, &caller, &target, Right::PutObject).await?;
    door.metadata().abort_multipart(&target.namespace, &target.key, asked.upload()?).await?;
    Ok(StatusCode::NO_CONTENT)
}
