//! The rows that metadata is.
//!
//! | key | value | is |
//! |---|---|---|
//! | `n` name | [`NamespaceRow`] | a namespace |
//! | `b` namespace name | whatever its owner decided | how a door treats the namespace, as its lifecycle |
//! | `u` namespace `b` or `o` | counter | the bytes and objects that it holds |
//! | `o` namespace key | [`ObjectRow`] | the present version of the object under a key |
//! | `v` namespace key 0 order | [`ObjectRow`] | another version of it, or that it was deleted; later ones first |
//! | `m` namespace key 0 upload | [`MultipartRow`] | an object that comes in parts |
//! | `q` upload piece | [`PieceRow`] | a piece of what an upload wrote, where that is more than a few needles |
//! | `p` upload | [`PendingRow`] | an upload with pieces that has not ended |
//! | `t` upload | [`GoneRow`] | pieces that nobody needs any more, with references to be removed |
//! | `c` chunk | [`ChunkRow`] | a chunk, and who has it |
//! | `l` chunk | counter | bytes of its needles that objects need |
//! | `r` chunk offset | [`ReferenceRow`] | who needs a needle |
//! | `d` chunk | [`DegradedRow`] | a chunk of which a server lacks something |
//! | `g` server chunk file | [`StrayRow`] | a file that a server has and that no chunk's row names |
//! | `h` namespace key | [`AccessRow`] | when an object was read, where that decides its tier |
//! | `s` server | [`ServerRow`] | a chunkserver |
//! | `x` server | [`DrainRow`] | a chunkserver that is being emptied |
//! | `a` server | [`AwayRow`] | a chunkserver that does not answer |
//!
//! Numbers are eight bytes, an offset is four, a piece two, great end first, so that rows are in the order of numbers. Values are postcard behind a byte that
//! says which form they have.

mod form;
mod keys;
mod lifecycle;
mod lock;
mod namespace;
mod object;
mod rows;

pub use self::form::{decode, encode};
pub use self::keys::{
    UNSETTLED, access_key, accesses, after, away_key, aways, chunk_key, cluster_key, configuration_key, configurations,
    degraded_key, drain_key, drains, gone_key, key_and_number, live_key, multipart_key, multiparts, namespace_key, namespaces,
    object_key, objects, pending_key, piece_key, pieces, reference_key, references, server_key, servers, stray_key,
    unsettled_since, usage_bytes_key, usage_objects_key, version_key, versions, versions_of,
};
pub use self::lifecycle::{Expire, ExpireOlder, FilterForm, LIFECYCLE, LifecycleFilter, LifecycleRule, LifecycleRules};
pub use self::lock::{Lock, LockMode, LockRule, Period, Retention};
pub use self::namespace::{
    NamespaceRow, NamespaceSettings, Ownership, PublicBlock, Quota, Sharing, Tiering, Versioning, Visibility,
};
pub use self::object::{Attributes, Checksum, ChecksumAlgorithm, Contents, ETag, MultipartRow, ObjectRow, Part, PieceRow, Run};
pub use self::rows::{
    AccessRow, AwayRow, ChunkForm, ChunkRow, Class, ClusterRow, DegradedRow, DrainRow, GoneRow, Needed, PendingRow, ReferenceRow,
    Replica, ServerRow, Shards, StrayRow, Tier,
};
