//! Which object a request is of.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use crate::error::Problem;

/// An object, by the path of a request.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) namespace: String,
    pub(super) key: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<(String, String)>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Path((namespace, key)) = path.map_err(|error| Problem::bad(format!("the path is not UTF-8: {error}")))?;
        check_key(&key)?;
        Ok(Self { namespace, key })
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
