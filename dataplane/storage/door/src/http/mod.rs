//! What RFC 9110 says of conditions, ranges and tags, and RFC 9530 of digests. No I/O.

mod conditions;
mod digest;
mod range;
mod tag;

pub use self::conditions::{Conditions, Outcome, State};
pub use self::digest::ContentDigest;
pub use self::range::{Asked, ByteRange};
pub use self::tag::etag;

/// What of an object a browser may do that shows it (Content Security Policy level 3): nothing but show it.
pub const CONTENTS_ONLY: &str = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'";
