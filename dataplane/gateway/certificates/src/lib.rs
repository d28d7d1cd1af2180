//! Certificates of hosts: read, judged, and found by the name that a client asks for.
//!
//! The operator says of a Route whether its certificate is any good, and the gateway serves it: both by [`Certificate`]. Of all of them, the
//! gateway chooses by [`Certificates`].

mod authorities;
mod certificate;
mod named;
mod names;
mod subject;

pub use self::authorities::{AuthoritiesError, read_authorities};
pub use self::certificate::{Certificate, CertificateError};
pub use self::named::{SECRETS_A_TENANT_MAX, readable};
pub use self::names::Certificates;
pub use self::subject::SubjectNames;
