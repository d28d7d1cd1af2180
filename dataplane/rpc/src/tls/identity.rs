//! The identity of a process, in a folder as a Secret is mounted.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The files are looked at this often, at most: Kubernetes changes what it mounts by itself.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const AUTHORITIES: &str = "ca.crt";
const CERTIFICATES: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Why an identity cannot be used.
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
    /// TLS 1.3 is not there.
    #[error("failed to find TLS 1.3: this program was built without it")]
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

/// Who a process is, and whom it lets in, as its files say by now.
pub(super) struct Identity {
    folder: PathBuf,
    state: Mutex<State>,
}

struct State {
    looked: Instant,
    /// When the files were changed that were read.
    changed: Changed,
    configurations: Arc<Configurations>,
}

type Changed = [Option<SystemTime>; 3];

/// One identity for both directions.
pub(super) struct Configurations {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

impl Identity {
    pub(super) fn open(folder: &Path) -> Result<Self, TlsError> {
        // Looked at first: what changes while it is read is read again.
        let changed = changed(folder);
        let configurations = Arc::new(read(folder)?);
        let state = State { looked: Instant::now(), changed, configurations };
        Ok(Self { folder: folder.to_owned(), state: Mutex::new(state) })
    }

    /// What the files say, or said when they could last be read. They are three, short and, as Secrets, in memory: not worth
    /// another thread.
    pub(super) fn configurations(&self) -> Arc<Configurations> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_EVERY {
            state.looked = Instant::now();
            self.look(&mut state);
        }
        state.configurations.clone()
    }

    fn look(&self, state: &mut State) {
        let (folder, changed) = (self.folder.display(), changed(&self.folder));
        if changed == state.changed {
            return;
        }
        match read(&self.folder) {
            Ok(configurations) => {
                tracing::info!(%folder, "certificates have changed");
                state.changed = changed;
                state.configurations = Arc::new(configurations);
            }
            Err(error) => {
                let cause = error.source().map(tracing::field::display);
                tracing::warn!(%folder, %error, cause, "failed to read changed certificates; those from before are used on");
            }
        }
    }
}

/// When each file was last changed. Those of a Secret are links, and what they lead to counts.
fn changed(folder: &Path) -> Changed {
    [AUTHORITIES, CERTIFICATES, KEY].map(|file| fs::metadata(folder.join(file)).and_then(|about| about.modified()).ok())
}

fn read(folder: &Path) -> Result<Configurations, TlsError> {
    let path = folder.join(AUTHORITIES);
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(&path)? {
        roots.add(certificate).map_err(|source| TlsError::Authority { path: path.clone(), source })?;
    }
    configure(folder, Arc::new(roots), read_certificates(&folder.join(CERTIFICATES))?, read_key(&folder.join(KEY))?)
}

/// Sessions are not taken up again: whoever connects shows its certificate each time.
fn configure(
    folder: &Path,
    roots: Arc<RootCertStore>,
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Configurations, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |source| TlsError::Key { folder: folder.to_owned(), source };
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let verifier = verifier.map_err(|source| TlsError::Authorities { folder: folder.to_owned(), source })?;
    let server = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13]);
    let server = server.map_err(TlsError::Version)?.with_client_cert_verifier(verifier);
    let mut server = server.with_single_cert(certificates.clone(), key.clone_key()).map_err(unusable)?;
    server.send_tls13_tickets = 0;
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
    let client = client.map_err(TlsError::Version)?.with_root_certificates(roots);
    let mut client = client.with_client_auth_cert(certificates, key).map_err(unusable)?;
    client.resumption = Resumption::disabled();
    Ok(Configurations { client: Arc::new(client), server: Arc::new(server) })
}

/// One or more.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let malformed = |source| TlsError::Pem { path: path.to_owned(), source };
    let certificates = CertificateDer::pem_slice_iter(&read_file(path)?).collect::<Result<Vec<_>, _>>().map_err(malformed)?;
    if certificates.is_empty() { Err(malformed(pem::Error::NoItemsFound)) } else { Ok(certificates) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read_file(path)?).map_err(|source| TlsError::Pem { path: path.to_owned(), source })
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
