//! Backends that are reached by TLS: who they must be, and connections to them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eddy_certificates::{Certificate, SubjectNames};
use eddy_gateway_api::{BackendTls, CertificateName};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{
    ResolvesClientCert, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::listener::TAKES_NOTHING_MAX;
use crate::tls::{HTTP1, HTTP2};

/// Why a backend cannot be reached by TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecuredError {
    /// TLS can be begun for no such name.
    #[error("{0:?} is no name of a host")]
    Name(String),
    /// This program lacks what TLS needs.
    #[error("failed to set TLS up")]
    Setup(#[source] rustls::Error),
    /// Nobody can be believed.
    #[error("no authority can be believed")]
    Authorities(#[source] rustls::client::VerifierBuilderError),
}

/// What is spoken with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
    /// Whatever is passed on.
    Anything,
}

/// How some backends are reached by TLS.
pub(crate) struct Secured {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    anything: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// Unlike that of any other: connections that were made by one are never taken for another's.
    id: u64,
}

impl Secured {
    /// Reaches backends as is asked for, of which one of these authorities must vouch; those that ask are shown a certificate.
    ///
    /// # Errors
    /// See [`SecuredError`].
    pub(crate) fn new(
        asked: &BackendTls,
        authorities: Arc<RootCertStore>,
        shown: Option<&Certificate>,
    ) -> Result<Self, SecuredError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = host(&asked.hostname).ok_or_else(|| SecuredError::Name(asked.hostname.clone()))?;
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if asked.names.is_empty() {
            let verifier = WebPkiServerVerifier::builder_with_provider(authorities, provider.clone()).build();
            verifier.map_err(SecuredError::Authorities)?
        } else {
            Arc::new(ByNames { authorities, provider: provider.clone(), names: asked.names.clone() })
        };
        let config = |protocols: &[&[u8]]| {
            let builder = ClientConfig::builder_with_provider(provider.clone());
            let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(SecuredError::Setup)?;
            let verified = builder.dangerous().with_custom_certificate_verifier(verifier.clone());
            let mut config = match shown {
                None => verified.with_no_client_auth(),
                Some(shown) => verified.with_client_cert_resolver(Arc::new(Shown(shown.key().clone()))),
            };
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Ok::<_, SecuredError>(Arc::new(config))
        };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self { http1: config(&[HTTP1])?, http2: config(&[HTTP2])?, anything: config(&[])?, name, id })
    }

    /// Unlike that of any other.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// A connection to a backend, who is who it must be.
    ///
    /// # Errors
    /// That it cannot be made, or that the backend is somebody else.
    pub(crate) async fn connect(&self, address: SocketAddr, speaks: Speaks) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        // Nothing else bounds how long what is passed on waits for whoever takes nothing.
        SockRef::from(&stream).set_tcp_user_timeout(Some(TAKES_NOTHING_MAX))?;
        let config = match speaks {
            Speaks::Http1 => &self.http1,
            Speaks::Http2 => &self.http2,
            Speaks::Anything => &self.anything,
        };
        let stream = TlsConnector::from(config.clone()).connect(self.name.clone(), stream).await?;
        // Who agrees on nothing speaks HTTP/1.1.
        if speaks == Speaks::Http2 && stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it does not agree on HTTP/2"));
        }
        Ok(stream)
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secured").field("name", &self.name).field("id", &self.id).finish_non_exhaustive()
    }
}

/// Shows backends that ask a certificate, whomever they believe.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn host(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).ok()
}

/// Believes who has one of these names, whatever TLS was begun for.
#[derive(Debug)]
struct ByNames {
    authorities: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    names: Vec<CertificateName>,
}

impl ByNames {
    fn has_one(&self, certificate: &CertificateDer<'_>, parsed: &ParsedCertificate<'_>) -> bool {
        let names = SubjectNames::of_der(certificate).unwrap_or_default();
        self.names.iter().any(|name| match name {
            CertificateName::Uri(uri) => names.uris.contains(uri),
            // A wildcard is only had as it is.
            CertificateName::Host(wildcard) if wildcard.starts_with("*.") => names.hosts.contains(wildcard),
            CertificateName::Host(name) => host(name).is_some_and(|name| verify_server_name(parsed, &name).is_ok()),
        })
    }
}

impl ServerCertVerifier for ByNames {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.authorities, intermediates, now, algorithms)?;
        match self.has_one(end_entity, &parsed) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
