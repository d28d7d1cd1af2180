//! Copies, and files that get another name.

use axum::extract::State;
use axum::response::Response;
use eddy_object::schema::{Attributes, Lock};
use eddy_object::{ObjectError, Precondition};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::extract::{Json, Target, check_key};
use super::files::{precondition, reach, reach_present, written};
use crate::access::{Caller, Right};
use crate::door::Door;
use crate::error::Problem;
use crate::http::ByteRange;

/// From where to where.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transfer {
    from: Place,
    to: Place,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    namespace: String,
    key: String,
}

impl Transfer {
    fn targets(self) -> Result<(Target, Target), Problem> {
        Ok((self.from.target()?, self.to.target()?))
    }
}

impl Place {
    fn target(self) -> Result<Target, Problem> {
        check_key(&self.key)?;
        Ok(Target { namespace: self.namespace, key: self.key })
    }
}

pub(super) async fn copy(
    State(door): State<Door>,
    caller: Caller,
    headers: HeaderMap,
    Json(transfer): Json<Transfer>,
) -> Result<Response, Problem> {
    let (from, to) = transfer.targets()?;
    copy_to(&door, &caller, &headers, &from, &to).await
}

pub(super) async fn rename(
    State(door): State<Door>,
    caller: Caller,
    headers: HeaderMap,
    Json(transfer): Json<Transfer>,
) -> Result<Response, Problem> {
    let (from, to) = transfer.targets()?;
    let (space, moved) = reach_present(&door, &caller, &from, Right::GetObject).await?;
    caller.may(&door, Right::DeleteObject, (&from.namespace, Some(&from.key)), &space, Some(&moved)).await?;
    if from.namespace == to.namespace {
        let (_, before) = reach(&door, &caller, &to, Right::PutObject).await?;
        let precondition = precondition(&headers, before.as_ref())?;
        match door.metadata().rename(&from.namespace, &from.key, &to.key, &precondition).await {
            // Versions stay with their key.
            Err(ObjectError::Versioned) => {}
            renamed => return Ok(written(&to, &renamed?, before.is_none())),
        }
        if from.key == to.key {
            return Err(Problem::bad("a file is moved to another key"));
        }
    }
    let copied = copy_to(&door, &caller, &headers, &from, &to).await?;
    // What was written meanwhile was not copied, and stays.
    match door.metadata().delete(&from.namespace, &from.key, &Precondition::Upload(moved.upload)).await {
        Ok(_) => Ok(copied),
        Err(ObjectError::PreconditionFailed | ObjectError::NoObject(_)) => {
            let detail = "the file was changed while it was copied: the copy is there, and so is what changed";
            Err(Problem::new(StatusCode::CONFLICT, "Changed", detail))
        }
        Err(error) => Err(error.into()),
    }
}

async fn copy_to(door: &Door, caller: &Caller, headers: &HeaderMap, from: &Target, to: &Target) -> Result<Response, Problem> {
    let (_, row) = reach_present(door, caller, from, Right::GetObject).await?;
    let (space, before) = reach(door, caller, to, Right::PutObject).await?;
    let precondition = precondition(headers, before.as_ref())?;
    let mut upload = door.objects().upload_to(&to.namespace, &space, Some(row.bytes)).await?;
    crate::transfer::copy(door.objects(), &row, ByteRange { start: 0, end: row.bytes }, &mut upload, |_| {}).await?;
    // With whom it is shared, and how long it must stay, is not copied.
    let attributes = Attributes { writer: caller.writer(&space), grants: None, lock: Lock::default(), ..row.attributes };
    let copied = upload.finish(&to.key, attributes, &precondition).await?;
    Ok(written(to, &copied, before.is_none()))
}
