//! Where clients' TLS ends: with the certificate of the name that they ask for.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use eddy_router::Port;
use eddy_tls::{Files, TlsError, Watched};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::clients;
use crate::entry::RouteEntry;
use crate::hello::{Asking, Hello};
use crate::snapshot::Snapshot;
use crate::stream::SocketStream;
use crate::tls_stream::TlsStream;

/// A handshake takes no longer.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// What is agreed on for HTTP/2 (RFC 9113, section 3.2),
pub(crate) const HTTP2: &[u8] = b"h2";
/// and for HTTP/1.1 (RFC 7301, section 6).
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TerminatorError {
    /// The platform's own certificate cannot be used.
    #[error("failed to use the gateway's own certificate")]
    Certificate(#[from] TlsError),
    /// This program lacks what TLS needs.
    #[error("failed to set TLS up")]
    Setup(#[source] rustls::Error),
}

/// Why a connection did not come to speak TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// It took too long.
    #[error("no handshake within {} s", HANDSHAKE_WITHIN.as_secs())]
    Late,
    /// It failed.
    #[error("the handshake failed")]
    Failed(#[from] std::io::Error),
}

/// What becomes of a connection by TLS.
pub(crate) enum Begins {
    /// TLS ends here.
    Ended,
    /// It is passed on as it is.
    Passed(Arc<RouteEntry>),
    /// An authority looks whether the name leads here.
    Looked(Arc<ServerConfig>),
}

/// Ends TLS.
#[derive(Clone)]
pub(crate) struct Terminator {
    acceptor: TlsAcceptor,
    /// Of what is nothing but TLS: what is spoken in it is not agreed on.
    of_any: TlsAcceptor,
    /// The same two where clients are asked for certificates; at ports of Gateways only.
    asking: Option<(TlsAcceptor, TlsAcceptor)>,
    snapshot: Arc<ArcSwap<Snapshot>>,
}

impl Terminator {
    /// One that has the certificates of a snapshot, as it is by then, and the platform's own for all other names.
    ///
    /// # Errors
    /// See [`TerminatorError`].
    pub(crate) fn new(snapshot: Arc<ArcSwap<Snapshot>>, own: Watched<Arc<CertifiedKey>>) -> Result<Self, TerminatorError> {
        let resolver = Arc::new(Resolver { snapshot: snapshot.clone(), own });
        let (acceptor, of_any) = acceptors(resolver, None)?;
        Ok(Self { acceptor, of_any, asking: None, snapshot })
    }

    /// One for a port that is opened for a Gateway, with the certificates of its listeners.
    ///
    /// # Errors
    /// See [`TerminatorError`].
    pub(crate) fn of_gateway(snapshot: Arc<ArcSwap<Snapshot>>, port: u16) -> Result<Self, TerminatorError> {
        let port = Port::tcp(port);
        let resolver = Arc::new(ApiResolver { snapshot: snapshot.clone(), port });
        let provider = Arc::new(ring::default_provider());
        let asking = Arc::new(clients::Asking { snapshot: snapshot.clone(), port, provider });
        let (acceptor, of_any) = acceptors(resolver.clone(), None)?;
        Ok(Self { acceptor, of_any, asking: Some(acceptors(resolver, Some(asking))?), snapshot })
    }

    /// What is to become of a connection by what its client says first.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub(crate) async fn begun(&self, stream: &mut SocketStream) -> Result<Begins, HandshakeError> {
        let hears = |snapshot: &Snapshot| snapshot.by_name.passes() || snapshot.challenges.has_handshakes();
        if !hears(&self.snapshot.load()) {
            return Ok(Begins::Ended);
        }
        let Asking { name: Some(name), looks } = asking(stream).await? else { return Ok(Begins::Ended) };
        let snapshot = self.snapshot.load();
        // Who passes TLS on may be looked at as well, by its own authority.
        if let Some(handshake) = snapshot.challenges.handshake(&name).filter(|_| looks) {
            return Ok(Begins::Looked(handshake.clone()));
        }
        Ok(snapshot.by_name.find(&name).cloned().map_or(Begins::Ended, Begins::Passed))
    }

    /// Shows an authority what it looks for, which is all that it wants.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub(crate) async fn show(stream: SocketStream, handshake: Arc<ServerConfig>) -> Result<(), HandshakeError> {
        let shown = async {
            let mut stream = TlsAcceptor::from(handshake).accept(stream).await?;
            stream.shutdown().await
        };
        Ok(timeout(HANDSHAKE_WITHIN, shown).await.map_err(|_| HandshakeError::Late)??)
    }

    /// Agrees on TLS with a client, and on which HTTP is spoken unless it `is_any`thing. Where it `asks`, the client shows a certificate.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub(crate) async fn accept(&self, stream: SocketStream, is_any: bool, asks: bool) -> Result<TlsStream, HandshakeError> {
        let (acceptor, of_any) = match &self.asking {
            Some((acceptor, of_any)) if asks => (acceptor, of_any),
            _ => (&self.acceptor, &self.of_any),
        };
        let acceptor = if is_any { of_any } else { acceptor };
        let accepted = timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await.map_err(|_| HandshakeError::Late)?;
        Ok(TlsStream::new(accepted?))
    }
}

/// The name, in lower case, that a client begins TLS for, if it does and names one. It is read again by whoever speaks with it.
///
/// # Errors
/// See [`HandshakeError`].
pub(crate) async fn asked(stream: &mut SocketStream) -> Result<Option<String>, HandshakeError> {
    Ok(asking(stream).await?.name)
}

/// What a client asks for.
async fn asking(stream: &mut SocketStream) -> Result<Asking, HandshakeError> {
    let hello = timeout(HANDSHAKE_WITHIN, stream.hello()).await.map_err(|_| HandshakeError::Late)??;
    Ok(if let Hello::Asks(asking) = hello { asking } else { Asking::default() })
}

/// The platform's own certificate, of a folder with `tls.crt` and `tls.key`.
///
/// # Errors
/// That the files cannot be used.
pub(crate) fn own(files: Files<'_>) -> Result<Arc<CertifiedKey>, TlsError> {
    let key = ring::sign::any_supported_type(&files.key()?).map_err(|source| files.unusable(source))?;
    let certified = CertifiedKey::new(files.certificates()?, key);
    certified.keys_match().map_err(|source| files.unusable(source))?;
    Ok(Arc::new(certified))
}

/// Agree on TLS with clients, by the certificates that `resolver` finds: for HTTP, and for anything.
fn acceptors(
    resolver: Arc<dyn ResolvesServerCert>,
    asking: Option<Arc<clients::Asking>>,
) -> Result<(TlsAcceptor, TlsAcceptor), TerminatorError> {
    let one = |protocols: &[&[u8]]| acceptor(resolver.clone(), asking.clone(), protocols);
    Ok((one(&[HTTP2, HTTP1])?, one(&[])?))
}

fn acceptor(
    resolver: Arc<dyn ResolvesServerCert>,
    asking: Option<Arc<clients::Asking>>,
    protocols: &[&[u8]],
) -> Result<TlsAcceptor, TerminatorError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(TerminatorError::Setup)?;
    let (builder, comes_back) = match asking {
        None => (builder.with_no_client_auth(), true),
        // Whoever comes back would be who they were, whatever has been asked for since.
        Some(asking) => (builder.with_client_cert_verifier(asking), false),
    };
    let mut server = builder.with_cert_resolver(resolver);
    server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    if comes_back {
        // Whoever comes back need not show that it has the key of the certificate again. The keys for it are drawn anew every few hours.
        server.ticketer = ring::Ticketer::new().map_err(TerminatorError::Setup)?;
        // Without more tickets than a browser has use for: each is a write of its own.
        server.send_tls13_tickets = 1;
    } else {
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
    }
    Ok(TlsAcceptor::from(Arc::new(server)))
}

/// Finds the certificates of the listeners that share a port of a Gateway.
struct ApiResolver {
    snapshot: Arc<ArcSwap<Snapshot>>,
    port: Port,
}

impl ResolvesServerCert for ApiResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.snapshot.load().api.get(&self.port)?.certificate(name.as_deref())
    }
}

/// Without keys.
impl std::fmt::Debug for ApiResolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ApiResolver").field("port", &self.port).finish_non_exhaustive()
    }
}

struct Resolver {
    snapshot: Arc<ArcSwap<Snapshot>>,
    own: Watched<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let of_name = name.and_then(|name| self.snapshot.load().certificates.find(&name).cloned());
        Some(of_name.unwrap_or_else(|| self.own.now()))
    }
}

/// Without keys.
impl std::fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Resolver").finish_non_exhaustive()
    }
}
