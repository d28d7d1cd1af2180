//! Files from a browser's form (RFC 7578).

use axum::Json;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, State};
use eddy_object::schema::Attributes;
use eddy_object::{ObjectError, Precondition};
use http::StatusCode;
use serde::Deserialize;

use super::extract::{Name, Query, Target, check_key};
use super::files::reach;
use super::listing::Entry;
use super::receive::receive;
use crate::access::{Caller, Right};
use crate::door::Door;
use crate::error::Problem;

/// Files of one form.
const FILES_MAX: usize = 1000;

/// What may be asked of a form.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// What the keys begin with, before the files' names.
    #[serde(default)]
    prefix: String,
    /// Whether files that are there are replaced.
    #[serde(default)]
    overwrite: bool,
}

pub(super) async fn upload(
    State(door): State<Door>,
    caller: Caller,
    Name(namespace): Name,
    Query(asked): Query<Asked>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<(StatusCode, Json<Vec<Entry>>), Problem> {
    let space = caller.known(&door, &namespace).await?;
    if !space.settings.sharing.policy {
        // Then it is the same for all keys, and nobody else need send anything.
        caller.may(&door, Right::PutObject, (&namespace, None), &space, None).await?;
    }
    let bad = |error: axum::extract::multipart::MultipartError| Problem::bad(format!("the form cannot be read: {error}"));
    let mut form = form.map_err(|error| Problem::bad(error.to_string()))?;
    let mut written = Vec::new();
    while let Some(field) = form.next_field().await.map_err(bad)? {
        let Some(name) = field.file_name().map(str::to_owned) else { continue };
        if written.len() == FILES_MAX {
            return Err(Problem::bad(format!("a form has at most {FILES_MAX} files")));
        }
        // Some browsers send the whole path of the file.
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let target = Target { namespace: namespace.clone(), key: format!("{}{name}", asked.prefix) };
        check_key(&target.key)?;
        // Whoever may write some keys may not write all.
        let (space, _) = reach(&door, &caller, &target, Right::PutObject).await?;
        let Target { key, .. } = target;
        let attributes = Attributes {
            content_type: field.content_type().unwrap_or_default().to_owned(),
            writer: caller.writer(&space),
            ..Attributes::default()
        };
        let mut upload = door.objects().upload_to(&namespace, &space, None).await?;
        receive(&mut upload, field, None).await?;
        let precondition = if asked.overwrite { Precondition::None } else { Precondition::Absent };
        let row = upload.finish(&key, attributes, &precondition).await.map_err(|error| match error {
            ObjectError::PreconditionFailed => {
                let detail = format!("there is a file {key:?} already: ask for ?overwrite=true to replace it");
                Problem::new(StatusCode::CONFLICT, "Exists", detail)
            }
            error => error.into(),
        })?;
        written.push(Entry::of(&key, &row));
    }
    if written.is_empty() {
        return Err(Problem::bad("the form has no file: a field with a file name"));
    }
    Ok((StatusCode::CREATED, Json(written)))
}
