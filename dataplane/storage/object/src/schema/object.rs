//! Rows of objects, of their versions, and of those that come in parts.

use eddy_authz::Grant;
use eddy_chunks::Extent;
use serde::{Deserialize, Serialize};

use super::lock::Lock;

/// A version of the object under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRow {
    /// The number of the upload that wrote it.
    pub upload: u64,
    /// Greater than that of every older version of the key.
    pub order: u64,
    /// It was written while no versions were kept: there is at most one such of a key.
    pub unversioned: bool,
    /// It says that the object was deleted; older versions may be there.
    pub deleted: bool,
    /// Its length.
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: u64,
    /// What it is known by, besides its bytes.
    pub attributes: Attributes,
    /// Where its bytes are.
    pub contents: Contents,
}

impl ObjectRow {
    /// What an upload wrote, before it has its place among the versions of a key.
    pub(crate) fn written(upload: u64, bytes: u64, attributes: Attributes, contents: Contents) -> Self {
        let modified_ms = crate::metadata::now_ms();
        Self { upload, order: 0, unversioned: false, deleted: false, bytes, modified_ms, attributes, contents }
    }
}

/// What an object is known by, besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// What its contents are known by.
    pub etag: ETag,
    /// Its media type; the door's default if empty.
    pub content_type: String,
    /// Other headers that are sent with it, as `Cache-Control`, by names in lower case.
    pub headers: Vec<(String, String)>,
    /// Names and values that its owner gave it.
    pub metadata: Vec<(String, String)>,
    /// Names and values by which its owner sorts it.
    pub tags: Vec<(String, String)>,
    /// The checksum that came with it, and was found right.
    pub checksum: Option<Checksum>,
    /// Who wrote it, where that is not the namespace's owner.
    pub writer: Option<String>,
    /// With whom it is shared; none that says so where it never was.
    pub grants: Option<Vec<Grant>>,
    /// Whether it must stay.
    pub lock: Lock,
}

/// What an object's contents are known by: MD5 or any other digest, and of how many parts where it is a digest of digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ETag {
    /// The digest.
    pub digest: Vec<u8>,
    /// Parts; 0 where the object was written at once.
    pub parts: u16,
}

/// A checksum of an object, as S3 has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// How it is computed.
    pub algorithm: ChecksumAlgorithm,
    /// The sum.
    pub value: Vec<u8>,
    /// It is the sum of the parts' sums.
    pub composite: bool,
}

/// How a checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "these are their names")]
pub enum ChecksumAlgorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// Where bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contents {
    /// In few needles, in order.
    Needles(Vec<Extent>),
    /// In pieces that have rows of their own, in order.
    Pieces(Vec<Run>),
}

impl Contents {
    /// Its needles, if it has no pieces.
    pub fn needles(&self) -> &[Extent] {
        match self {
            Self::Needles(needles) => needles,
            Self::Pieces(_) => &[],
        }
    }

    /// Its pieces, if it has any: the number and the length of each.
    pub fn pieces(&self) -> impl Iterator<Item = (u16, u64)> + Clone {
        let runs = match self {
            Self::Needles(_) => &[][..],
            Self::Pieces(runs) => runs,
        };
        runs.iter().flat_map(|run| (0..run.count).map(move |at| (run.first + at, run.bytes)))
    }
}

/// Pieces that follow each other and are equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The number of the first.
    pub first: u16,
    /// How many there are.
    pub count: u16,
    /// The length of each.
    pub bytes: u64,
}

/// A piece of an object, or of one that may come to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceRow {
    /// The upload that wrote it.
    pub upload: u64,
    /// Its length.
    pub bytes: u64,
    /// Where its bytes are.
    pub contents: Contents,
    /// Where its owner sent it as a part: what it is known by.
    pub part: Option<Part>,
}

/// What a part is known by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The digest of its bytes.
    pub digest: Vec<u8>,
    /// The checksum that came with it, and was found right.
    pub checksum: Option<Checksum>,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: u64,
}

/// An object that comes in parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipartRow {
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Who began it.
    pub owner: String,
    /// What the object will be known by. Its checksum says which the parts have, and has no value.
    pub attributes: Attributes,
    /// Since when somebody makes it an object or gives it up, in milliseconds since 1970, if so: no part may come any more.
    pub ending_ms: Option<u64>,
}
