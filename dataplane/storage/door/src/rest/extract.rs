//! What a request says, or why it cannot be read: also that is told as a problem.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::Problem;

/// A namespace, by the path of a request.
#[derive(Clone, Debug)]
pub(super) struct Name(pub(super) String);

/// An object, by the path of a request.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) namespace: String,
    pub(super) key: String,
}

/// What follows the path.
pub(super) struct Query<T>(pub(super) T);

/// A body of JSON.
pub(super) struct Json<T>(pub(super) T);

fn bad_path(error: &PathRejection) -> Problem {
    Problem::bad(format!("the path is not UTF-8: {error}"))
}

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name)).map_err(|error| bad_path(&error))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<(String, String)>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Path((namespace, key)) = path.map_err(|error| bad_path(&error))?;
        check_key(&key)?;
        Ok(Self { namespace, key })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query.map(|query: axum::extract::Query<T>| Self(query.0)).map_err(|error| Problem::bad(error.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = axum::Json::from_request(request, state).await;
        body.map(|body: axum::Json<T>| Self(body.0))
            .map_err(|error| Problem::new(error.status(), "BadRequest", error.body_text()))
    }
}

/// Keys that look like ways out of the namespace are refused: somebody may write them to a disk as paths.
pub(super) fn check_key(key: &str) -> Result<(), Problem> {
    if key.split('/').any(|part| part == "." || part == "..") {
        return Err(Problem::bad("a key has no part that is \".\" or \"..\""));
    }
    if key.is_empty() || key.chars().any(char::is_control) {
        return Err(Problem::bad("a key is not empty and has no control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_names_and_no_ways() {
        for good in ["a", "a/b", "a//b", "...", ".a", "a..b", "ä/ö ü"] {
            assert!(check_key(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/../b", "../a", "a/..", "a/./b", "a\0", "a\n"] {
            assert!(check_key(bad).is_err(), "{bad}");
        }
    }
}
