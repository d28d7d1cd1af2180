//! What tests share.

use http::{HeaderMap, HeaderName};

/// Headers, of which one may be there several times.
pub(crate) fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
    all.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect()
}
