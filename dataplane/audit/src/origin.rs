//! Where a request comes from.

use std::net::IpAddr;

use http::HeaderMap;

/// Where a request comes from: who connected, whom they say that they ask for, and what they call it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub(crate) address: Option<IpAddr>,
    pub(crate) forwarded_for: String,
    pub(crate) request: String,
}

impl Origin {
    /// Of a request of this name from whoever connected from there, and says that it comes from elsewhere.
    pub fn new(address: Option<IpAddr>, forwarded_for: String, request: String) -> Self {
        Self { address, forwarded_for, request }
    }

    /// Of a request with these headers, from whoever connected from there.
    pub fn of(headers: &HeaderMap, address: Option<IpAddr>) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        Self { address, forwarded_for: text("x-forwarded-for"), request: text("x-request-id") }
    }
}
