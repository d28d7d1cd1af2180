//! Why certificates cannot be used.

use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;
use rustls::server::VerifierBuilderError;

use crate::files::{AUTHORITIES, CERTIFICATES, KEY};

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read {path}: the folder must hold {AUTHORITIES}, {CERTIFICATES} and {KEY}, readable for this process")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("failed to find what belongs into {path}: write certificates, or one key, as PEM")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// A certificate cannot be that of an authority.
    #[error("failed to trust a certificate of {path}: it must be that of an authority")]
    Authority {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// Nobody's certificate could be checked.
    #[error("failed to trust the authorities in {folder}")]
    Authorities {
        /// Which folder.
        folder: PathBuf,
        /// What is wrong.
        source: VerifierBuilderError,
    },
    /// The version of TLS is not there.
    #[error("failed to find TLS 1.2 and 1.3: this program was built without them")]
    Version(#[source] rustls::Error),
    /// The certificate and the key cannot be used.
    #[error("failed to use {CERTIFICATES} and {KEY} of {folder}: the key must be that of the first certificate")]
    Key {
        /// Which folder.
        folder: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}
