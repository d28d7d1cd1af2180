//! How processes of storage reach each other, as they are told.

use std::path::PathBuf;
use std::sync::Arc;

use eddy_rpc::{TcpTransport, TlsError, TlsTransport, Transport};

/// How this process talks to the others of storage.
#[derive(clap::Args, Clone, Debug)]
pub struct TransportOptions {
    /// A folder with ca.crt, tls.crt and tls.key, as a Secret of type kubernetes.io/tls is mounted: processes of storage then
    /// talk TLS only, and only to those with a certificate of ca.crt for storage.eddy.internal. Read again when it changes.
    /// Without it, whoever reaches their ports may do everything
    #[arg(long, env = "EDDY_TLS_FOLDER")]
    tls_folder: Option<PathBuf>,
}

impl TransportOptions {
    /// What they say.
    ///
    /// # Errors
    /// That the folder cannot be used.
    pub fn transport(&self) -> Result<Arc<dyn Transport>, TlsError> {
        match &self.tls_folder {
            Some(folder) => Ok(Arc::new(TlsTransport::open(folder)?)),
            None => Ok(Arc::new(TcpTransport::default())),
        }
    }
}
