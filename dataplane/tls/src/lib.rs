//! Certificates and keys in a folder as a Secret of type `kubernetes.io/tls` is mounted, read again when they change.

mod error;
mod files;
mod server;
mod watched;

pub use self::error::TlsError;
pub use self::files::Files;
pub use self::server::server;
pub use self::watched::Watched;
