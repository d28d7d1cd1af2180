//! Authorities: whoever vouches for others.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

/// Larger than what is believed at once; each process of the gateway keeps it.
const BYTES_MAX: usize = 256 * 1024;

/// Why authorities cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// There are none.
    #[error("there is no certificate in it, as PEM")]
    None,
    /// One is no PEM.
    #[error("it is no PEM")]
    Pem(#[source] pem::Error),
    /// One is malformed.
    #[error("certificate {0} in it is malformed")]
    Malformed(usize, #[source] rustls::Error),
    /// Together they are larger than any.
    #[error("it is longer than {BYTES_MAX} bytes")]
    Large,
}

/// Reads the certificates of authorities, as PEM.
///
/// # Errors
/// See [`AuthoritiesError`].
pub fn read_authorities(text: &[u8]) -> Result<RootCertStore, AuthoritiesError> {
    if text.len() > BYTES_MAX {
        return Err(AuthoritiesError::Large);
    }
    let mut authorities = RootCertStore::empty();
    for (number, certificate) in CertificateDer::pem_slice_iter(text).enumerate() {
        let certificate = certificate.map_err(AuthoritiesError::Pem)?;
        authorities.add(certificate).map_err(|error| AuthoritiesError::Malformed(number + 1, error))?;
    }
    if authorities.is_empty() { Err(AuthoritiesError::None) } else { Ok(authorities) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    #[test]
    fn authorities_are_read_all_or_none() {
        let authority = || {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        };
        let two = authority() + &authority();
        assert_eq!(read_authorities(two.as_bytes()).unwrap().len(), 2);
        assert!(matches!(read_authorities(b""), Err(AuthoritiesError::None)));
        assert!(matches!(read_authorities(b"some text"), Err(AuthoritiesError::None)));
        let malformed = two + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(read_authorities(malformed.as_bytes()), Err(AuthoritiesError::Malformed(3, _))));
        assert!(matches!(read_authorities(&vec![b'x'; BYTES_MAX + 1]), Err(AuthoritiesError::Large)));
    }
}
