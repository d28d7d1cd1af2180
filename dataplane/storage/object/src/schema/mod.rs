//! The rows that metadata is.
//!
//! | key | value | is |
//! |---|---|---|
//! | `n` name | [`NamespaceRow`] | a namespace |
//! | `u` namespace `b` or `o` | counter | the bytes and objects that it holds |
//! | `o` namespace key | [`ObjectRow`] | the object under a key |
//! | `c` chunk | [`ChunkRow`] | a chunk, and who has it |
//! | `l` chunk | counter | bytes of its needles that objects need |
//! | `r` chunk offset | [`ReferenceRow`] | an object that needs a needle |
//! | `d` chunk | [`DegradedRow`] | a chunk of which a server lacks something |
//! | `p` upload | [`ExtentsRow`] | needles of an upload that has not ended |
//! | `t` upload | [`ExtentsRow`] | needles of an object that is gone, with references to be removed |
//! | `g` server chunk | [`StrayRow`] | a chunk that a server has and should not |
//! | `s` server | [`ServerRow`] | a chunkserver |
//!
//! Numbers are eight bytes, an offset is four, great end first, so that rows are in the order of numbers. Values are postcard behind a byte that
//! says which form they have.

mod keys;
mod rows;

pub use self::keys::{
    after, chunk_key, degraded_key, gone_key, live_key, namespace_key, namespaces, object_key, objects, pending_key,
    reference_key, references, server_key, servers, stray_key, usage_bytes_key, usage_objects_key,
};
pub use self::rows::{
    ChunkRow, DegradedRow, ETag, ExtentsRow, NamespaceRow, ObjectRow, Quota, ReferenceRow, ServerRow, StrayRow, decode, encode,
};
