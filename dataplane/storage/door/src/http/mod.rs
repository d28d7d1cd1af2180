//! What RFC 9110 says of conditions, ranges and tags, and RFC 9530 of digests. No I/O.

mod conditions;
mod digest;
mod range;
mod tag;

pub use self::conditions::{Conditions, Outcome, State};
pub use self::digest::ContentDigest;
pub use self::range::{Asked, ByteRange};
pub use self::tag::etag;
