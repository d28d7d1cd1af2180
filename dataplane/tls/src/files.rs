//! What is in the folder.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::TlsError;

pub(crate) const AUTHORITIES: &str = "ca.crt";
pub(crate) const CERTIFICATES: &str = "tls.crt";
pub(crate) const KEY: &str = "tls.key";

/// A folder with certificates: `tls.crt` is one's own and then those between it and the authority, `tls.key` its key, `ca.crt` the
/// authorities whose certificates others may show.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a>(pub &'a Path);

impl Files<'_> {
    /// Whom to trust.
    ///
    /// # Errors
    /// That they cannot be read, or are none.
    pub fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let path = self.0.join(AUTHORITIES);
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&path)? {
            roots.add(certificate).map_err(|source| TlsError::Authority { path: path.clone(), source })?;
        }
        Ok(roots)
    }

    /// What to show, one or more.
    ///
    /// # Errors
    /// That they cannot be read, or are none.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.0.join(CERTIFICATES))
    }

    /// The key of the first of them.
    ///
    /// # Errors
    /// That it cannot be read, or is none.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let path = self.0.join(KEY);
        PrivateKeyDer::from_pem_slice(&read(&path)?).map_err(|source| TlsError::Pem { path, source })
    }

    /// That a key and certificates do not fit.
    pub fn unusable(&self, source: rustls::Error) -> TlsError {
        TlsError::Key { folder: self.0.to_owned(), source }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let malformed = |source| TlsError::Pem { path: path.to_owned(), source };
    let certificates = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>().map_err(malformed)?;
    if certificates.is_empty() { Err(malformed(pem::Error::NoItemsFound)) } else { Ok(certificates) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
