//! A server that everyone may connect to.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};

use crate::error::TlsError;
use crate::files::Files;

/// TLS 1.2 and 1.3, for clients that show no certificate and speak HTTP/1.1.
///
/// # Errors
/// That the files cannot be used.
pub fn server(files: Files<'_>) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(TlsError::Version)?.with_no_client_auth();
    let mut server = builder.with_single_cert(files.certificates()?, files.key()?).map_err(|source| files.unusable(source))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}
