//! Certificates of hosts: read, judged, and found by the name that a client asks for.
//!
//! The operator says of a Route whether its certificate is any good, and the gateway serves it: both by [`Certificate`]. Of all of them, the
//! gateway chooses by [`Certificates`].

mod certificate;
mod names;

/// A user's Routes have so many certificates, those of the oldest Routes: each is watched by every gateway.
pub const SECRETS_A_TENANT_MAX: usize = 50;

pub use self::certificate::{Certificate, CertificateError};
pub use self::names::Certificates;
