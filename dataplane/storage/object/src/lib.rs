//! Objects: what is stored under which key, in which chunks, on which servers.
//!
//! [`schema`] says what rows metadata is, [`Metadata`] changes them, [`placement`] chooses servers (pure), and [`Objects`] moves
//! bytes: an [`Upload`] is durable on two servers before the one transaction that makes it an object; a [`Download`] goes on with
//! another server where one fails.

mod access;
mod cache;
pub mod coded;
mod download;
mod error;
mod memory;
mod metadata;
mod objects;
pub mod placement;
mod relocate;
mod replicas;
pub mod schema;
mod upload;

pub use self::download::Download;
pub use self::error::{ObjectError, Result};
pub use self::memory::Memory;
pub use self::metadata::{
    Completion, Deleted, Keeping, Listed, ListedMultipart, ListedVersion, Listing, ListingPage, Metadata, NewObject, PARTS_MAX,
    Precondition, Usage, VersionId, VersionsAfter, WantedPart, common_prefix, now_ms,
};
pub use self::objects::Objects;
pub use self::replicas::{Servers, Taking};
pub use self::schema::Attributes;
pub use self::upload::Upload;
