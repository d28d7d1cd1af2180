//! TLS between processes that share one identity.
//!
//! Whoever may talk at all may do everything there, so nobody is told apart: all show a certificate for [`TLS_NAME`] that an
//! authority of theirs has signed, whatever address they are at.

mod identity;
mod pushed;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use eddy_tls::{TlsError, Watched};
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ParsedCertificate, ServerConnection};
use rustls::{Error, ServerConfig};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use self::identity::{Configurations, configure};
use self::pushed::Pushed;
use crate::transport::{Connection, Listener, TcpTransport, Transport};

/// The name in everyone's certificate.
pub const TLS_NAME: &str = "storage.eddy.internal";

/// A server that was reached shows within this time who it is. Callers ask elsewhere after it, so it is shorter than they wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A client that has connected shows within this time who it is.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Clients at once that have connected and not shown yet who they are; more wait in the kernel.
const HANDSHAKES_MAX: usize = 256;
/// Between warnings of clients that were refused.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// TCP with TLS 1.3 over it, where both sides show certificates. Clones share them.
#[derive(Clone)]
pub struct TlsTransport {
    identity: Arc<Watched<Arc<Configurations>>>,
    tcp: TcpTransport,
}

impl TlsTransport {
    /// With the identity in a folder, as a Secret of type `kubernetes.io/tls` is mounted. `tls.crt` is the certificate, of
    /// servers and clients and for [`TLS_NAME`], and then those between it and the authority; `tls.key` is its key; `ca.crt` are
    /// the authorities whose certificates others may show. When the files change, new connections use the new ones; connections
    /// that are there stay.
    ///
    /// # Errors
    /// That the files cannot be used now. Later, those that were read last stay.
    pub fn open(folder: &Path) -> Result<Self, TlsError> {
        Ok(Self { identity: Arc::new(Watched::open(folder, configure)?), tcp: TcpTransport::default() })
    }
}

#[async_trait]
impl Transport for TlsTransport {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>> {
        let connection = self.tcp.connect(address).await?;
        let connector = TlsConnector::from(self.identity.now().client.clone());
        let stream = in_time(CONNECT_TIMEOUT, connector.connect(name()?, connection)).await?;
        Ok(Box::new(Pushed::new(stream)))
    }

    fn expect(&self, address: &str) {
        self.tcp.expect(address);
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let listener = self.tcp.bind(address).await?;
        Ok(Box::new(TlsListener { listener, identity: self.identity.clone(), handshakes: JoinSet::new(), warned: None }))
    }
}

/// Clients that have shown who they are, in the order in which they have.
struct TlsListener {
    listener: Box<dyn Listener>,
    identity: Arc<Watched<Arc<Configurations>>>,
    handshakes: JoinSet<Result<Greeted, (SocketAddr, io::Error)>>,
    warned: Option<Instant>,
}

type Greeted = (Box<dyn Connection>, SocketAddr);

#[async_trait]
impl Listener for TlsListener {
    async fn accept(&mut self) -> io::Result<Greeted> {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.join_next() => match ended.map_err(io::Error::other)? {
                    Ok(greeted) => return Ok(greeted),
                    Err((peer, error)) => self.refused(peer, &error),
                },
                accepted = self.listener.accept(), if self.handshakes.len() < HANDSHAKES_MAX => {
                    let (connection, peer) = accepted?;
                    let configuration = self.identity.now().server.clone();
                    self.handshakes.spawn(async move {
                        let greeted = greet(connection, configuration).await;
                        greeted.map(|connection| (connection, peer)).map_err(|error| (peer, error))
                    });
                }
            }
        }
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.listener.address()
    }
}

impl TlsListener {
    /// A process whose certificate is no good must be heard of, strangers that try again and again must not fill the log.
    fn refused(&mut self, peer: SocketAddr, error: &io::Error) {
        if self.warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
            tracing::debug!(%peer, %error, "refused a connection");
            return;
        }
        self.warned = Some(Instant::now());
        tracing::warn!(%peer, %error, "refused a connection; there is no other warning for {} s", WARN_EVERY.as_secs());
    }
}

/// Lets a client in once it has shown a certificate of an authority for the name that everyone has.
async fn greet(connection: Box<dyn Connection>, configuration: Arc<ServerConfig>) -> io::Result<Box<dyn Connection>> {
    let stream = in_time(ACCEPT_TIMEOUT, TlsAcceptor::from(configuration).accept(connection)).await?;
    check_name(stream.get_ref().1, &name()?).map_err(io::Error::other).map_err(failed)?;
    Ok(Box::new(Pushed::new(stream)))
}

/// An authority may sign for others besides: rustls compares the name of a server only.
fn check_name(session: &ServerConnection, name: &ServerName<'_>) -> Result<(), Error> {
    let chain = session.peer_certificates().unwrap_or_default();
    let certificate = chain.first().ok_or(Error::NoCertificatesPresented)?;
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
}

fn name() -> io::Result<ServerName<'static>> {
    ServerName::try_from(TLS_NAME).map_err(io::Error::other)
}

async fn in_time<T>(timeout: Duration, handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
    tokio::time::timeout(timeout, handshake).await.map_err(late)?.map_err(failed)
}

fn failed(error: io::Error) -> io::Error {
    let text = format!("the TLS handshake failed: {error}: both sides need valid certificates of one authority for {TLS_NAME}");
    io::Error::new(error.kind(), text)
}
