//! Where a request comes from.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::header::USER_AGENT;
use http::request::Parts;

use crate::session::{Arrival, Provided, Way};

/// Where a request comes from, and what it says of its program.
#[derive(Clone, Debug)]
pub(super) struct From {
    pub(super) address: IpAddr,
    pub(super) client: String,
    /// What the gateway calls the request.
    pub(super) request: String,
}

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Infallible;

    /// Only the gateway may connect, as the chart has it, and it says who asked, in one header of its own.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let said = parts.headers.get("x-forwarded-for").and_then(|said| said.to_str().ok());
        let said = said.and_then(|said| said.rsplit(',').next()?.trim().parse().ok());
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        let client = parts.headers.get(USER_AGENT).and_then(|client| client.to_str().ok()).unwrap_or_default().to_owned();
        let request = parts.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        Ok(Self { request, address: said.or(peer).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), client })
    }
}

impl From {
    pub(super) fn by(&self, way: Way) -> Arrival {
        Arrival { address: Some(self.address), client: self.client.clone(), ..Arrival::by(way) }
    }

    pub(super) fn by_provider(&self, provider: Provided) -> Arrival {
        Arrival { provider: Some(provider), ..self.by(Way::Provider) }
    }

    pub(super) fn by_passkey(&self, way: Way, id: &str) -> Arrival {
        Arrival { passkey: Some(id.to_owned()), ..self.by(way) }
    }
}
