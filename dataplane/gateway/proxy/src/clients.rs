//! Certificates that clients show where TLS ends at a Gateway's port.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use eddy_router::Port;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::snapshot::Snapshot;

/// Which clients may begin TLS.
#[derive(Clone, Debug)]
pub(crate) enum LetIn {
    /// Those whom an authority vouches for.
    Vouched(Arc<dyn ClientCertVerifier>),
    /// All; they may show a certificate, which says nothing.
    All,
    /// None: there is no authority that could vouch for one.
    Nobody,
}

/// Asks clients for certificates, and judges them as is asked for by then.
pub(crate) struct Asking {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) port: Port,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl Asking {
    fn let_in(&self) -> LetIn {
        let snapshot = self.snapshot.load();
        snapshot.api.get(&self.port).and_then(|port| port.let_in.clone()).unwrap_or(LetIn::Nobody)
    }
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        !matches!(self.let_in(), LetIn::All)
    }

    /// Without hints: clients choose for themselves what they show.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.let_in() {
            LetIn::Vouched(authorities) => authorities.verify_client_cert(end_entity, intermediates, now),
            LetIn::All => Ok(ClientCertVerified::assertion()),
            LetIn::Nobody => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Asking").field("port", &self.port).finish_non_exhaustive()
    }
}
