//! The identity of a process, of the files in a folder.

use std::sync::Arc;

use eddy_tls::{Files, TlsError};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

/// One identity for both directions.
pub(super) struct Configurations {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

/// Sessions are not taken up again: whoever connects shows its certificate each time.
pub(super) fn configure(files: Files<'_>) -> Result<Arc<Configurations>, TlsError> {
    let (roots, certificates, key) = (Arc::new(files.authorities()?), files.certificates()?, files.key()?);
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let verifier = verifier.map_err(|source| TlsError::Authorities { folder: files.0.to_owned(), source })?;
    let server = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13]);
    let server = server.map_err(TlsError::Version)?.with_client_cert_verifier(verifier);
    let mut server = server.with_single_cert(certificates.clone(), key.clone_key()).map_err(|source| files.unusable(source))?;
    server.send_tls13_tickets = 0;
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
    let client = client.map_err(TlsError::Version)?.with_root_certificates(roots);
    let mut client = client.with_client_auth_cert(certificates, key).map_err(|source| files.unusable(source))?;
    client.resumption = Resumption::disabled();
    Ok(Arc::new(Configurations { client: Arc::new(client), server: Arc::new(server) }))
}
