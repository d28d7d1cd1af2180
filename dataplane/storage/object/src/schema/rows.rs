//! Values of rows.

use bytes::Bytes;
use eddy_chunks::Extent;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::ObjectError;

/// The form of all values so far.
const FORM: u8 = 1;

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceRow {
    /// Its number, which no other ever has.
    pub id: u64,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// What it may hold.
    pub quota: Quota,
    /// Copies of each chunk.
    pub copies: u8,
}

/// What a namespace may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes of its objects, before redundancy.
    pub bytes: Option<i64>,
    /// Objects.
    pub objects: Option<i64>,
}

/// The object under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRow {
    /// The number of the upload that wrote it.
    pub upload: u64,
    /// Its length.
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: u64,
    /// What its contents are known by.
    pub etag: ETag,
    /// Its media type; the door's default if empty.
    pub content_type: String,
    /// Names and values that its owner gave it.
    pub metadata: Vec<(String, String)>,
    /// Where its bytes are, in order.
    pub extents: Vec<Extent>,
}

/// What an object's contents are known by: MD5 or any other digest, and of how many parts where it is a digest of digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ETag {
    /// The digest.
    pub digest: Vec<u8>,
    /// Parts; 0 where the object was written at once.
    pub parts: u16,
}

/// A chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// The numbers of the servers that have it.
    pub servers: Vec<u64>,
    /// How many should.
    pub copies: u8,
    /// When it was made, or last said to be still written to, in milliseconds since 1970.
    pub touched_ms: u64,
    /// When all its copies were last read and found whole, in milliseconds since 1970; 0 if never.
    pub verified_ms: u64,
}

/// An object that needs a needle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceRow {
    /// The object's upload.
    pub upload: u64,
    /// The object's namespace.
    pub namespace: u64,
    /// The object's key.
    pub key: String,
    /// The needle.
    pub extent: Extent,
}

/// What servers lack of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DegradedRow {
    /// Those that failed to take a needle, or to give one. None where only too few have the chunk.
    pub servers: Vec<u64>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// Needles that do not belong to an object that can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentsRow {
    /// The upload.
    pub upload: u64,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Those that are referred to.
    pub extents: Vec<Extent>,
}

/// A chunk that a server has and should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrayRow {
    /// When that was first seen, in milliseconds since 1970.
    pub since_ms: u64,
    /// It is being removed: from now on, no row may say that the server has the chunk.
    pub doomed: bool,
}

/// A chunkserver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRow {
    /// Where it is reached, `host:port`.
    pub address: String,
    /// What fails as one: the machine, if nothing else is known.
    pub failure_domain: String,
}

/// A row's value.
///
/// # Errors
/// None that any of this module's rows can meet.
pub fn encode<T: Serialize>(row: &T) -> Result<Bytes, ObjectError> {
    let broken = |error: postcard::Error| ObjectError::Broken(format!("a row cannot be written: {error}"));
    postcard::to_extend(row, vec![FORM]).map(Bytes::from).map_err(broken)
}

/// What a row's value says.
///
/// # Errors
/// [`ObjectError::Broken`] where it was written by a later version, or by something else.
pub fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, ObjectError> {
    match value.split_first() {
        Some((&FORM, rest)) => {
            postcard::from_bytes(rest).map_err(|error| ObjectError::Broken(format!("a row cannot be read: {error}")))
        }
        other => Err(ObjectError::Broken(format!("a row has the form {:?}, not {FORM}", other.map(|(form, _)| form)))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_and_a_later_form_is_refused() {
        let row = ServerRow { address: "a:1".into(), failure_domain: "m".into() };
        let value = encode(&row).unwrap();
        assert_eq!(decode::<ServerRow>(&value).unwrap(), row);
        assert!(decode::<ServerRow>(&[&[FORM + 1], &value[1..]].concat()).is_err());
        assert!(decode::<ServerRow>(&value[..3]).is_err() && decode::<ServerRow>(&[]).is_err());
    }
}
