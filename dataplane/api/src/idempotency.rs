//! Making an object once, however often that is asked for: whoever asks names their request, and the object keeps that name.
//!
//! The name is in an annotation of the object itself, as a hash, so that every replica knows it for as long as the object is there.

use std::fmt::Write;

use http::{HeaderMap, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// The header (draft-ietf-httpapi-idempotency-key-header).
pub(crate) const HEADER: &str = "idempotency-key";
/// The annotation.
pub(crate) const ANNOTATION: &str = "eddy.cloud/idempotency-key";
/// Of a name.
const BYTES_MAX: usize = 255;

/// A request's name, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Idempotency {
    key: String,
    body: String,
}

/// What an object that is there says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It made it.
    ByThis,
    /// One of the same name made it, that asked for something else.
    ByAnother,
    /// It did not make it.
    Otherwise,
}

impl Idempotency {
    /// The name of a user's request, if it has one.
    ///
    /// # Errors
    /// That the name is none.
    pub(crate) fn of(headers: &HeaderMap, user: &str, body: &Value) -> Result<Option<Self>, Problem> {
        let Some(key) = headers.get(HEADER) else { return Ok(None) };
        let key = key.to_str().ok().filter(|key| (1..=BYTES_MAX).contains(&key.len()));
        let key = key.ok_or_else(|| Problem::bad(format!("Idempotency-Key has 1 to {BYTES_MAX} letters of ASCII")))?;
        Ok(Some(Self { key: hash(&[user, key]), body: hash(&[&body.to_string()]) }))
    }

    /// Notes it on the object that is to be made, and gives that a name by it where it has only a beginning of one.
    pub(crate) fn note(&self, object: &mut Value) {
        object["metadata"]["annotations"][ANNOTATION] = Value::from(format!("{}.{}", self.key, self.body));
        if let (None, Some(start)) = (object["metadata"]["name"].as_str(), object["metadata"]["generateName"].as_str()) {
            object["metadata"]["name"] = Value::from(format!("{start}{}", &self.key[..8]));
        }
    }

    /// Whether an object is what it made.
    pub(crate) fn made(&self, object: &Value) -> Made {
        let noted = object["metadata"]["annotations"][ANNOTATION].as_str().and_then(|noted| noted.split_once('.'));
        match noted {
            Some((key, body)) if key == self.key && body == self.body => Made::ByThis,
            Some((key, _)) if key == self.key => Made::ByAnother,
            _ => Made::Otherwise,
        }
    }
}

/// An object that takes the place of another still knows the request that made it.
pub(crate) fn keep(there: &[u8], object: &mut Value) {
    let there: Value = serde_json::from_slice(there).unwrap_or_default();
    let noted = &there["metadata"]["annotations"][ANNOTATION];
    if noted.is_string() && object["metadata"]["annotations"][ANNOTATION].is_null() {
        object["metadata"]["annotations"][ANNOTATION] = noted.clone();
    }
}

/// Of a name that was used for something else.
pub(crate) fn reused() -> Problem {
    let detail = "this Idempotency-Key was used for another object: take another for each request that asks for something else";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "IdempotencyKeyReused", detail)
}

/// 128 bits of a hash: enough that nobody finds another of the same.
fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize()[..16].iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_knows_the_request_that_made_it() {
        let named = |key: &str, user: &str, body: &Value| {
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(HEADER), key.parse().unwrap())]);
            Idempotency::of(&headers, user, body)
        };
        let body = json!({"metadata": {"generateName": "web-"}});
        let one = named("k", "ada", &body).unwrap().unwrap();
        let mut made = body.clone();
        one.note(&mut made);
        assert!(made["metadata"]["name"].as_str().unwrap().len() == 12);
        assert_eq!(one.made(&made), Made::ByThis);
        assert_eq!(named("k", "ada", &json!({})).unwrap().unwrap().made(&made), Made::ByAnother);
        for (key, user) in [("k2", "ada"), ("k", "bob")] {
            assert_eq!(named(key, user, &body).unwrap().unwrap().made(&made), Made::Otherwise, "{key} of {user}");
        }
        assert_eq!(one.made(&body), Made::Otherwise);
        assert!(named("", "ada", &body).is_err() && named(&"k".repeat(256), "ada", &body).is_err());
        assert_eq!(Idempotency::of(&HeaderMap::new(), "ada", &body), Ok(None));
    }
}
