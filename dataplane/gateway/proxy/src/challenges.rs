//! What certificate authorities are answered that look whether a Domain's host leads here (RFC 8555, section 8; RFC 8737).
//!
//! The operator orders certificates and says in Domains what is answered; every gateway answers, whichever the authority comes to.

use std::collections::HashMap;
use std::sync::Arc;

use eddy_crds::DomainChallenge;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::inputs::DomainInput;

/// What is agreed on by who looks in a handshake (RFC 8737, section 4).
const TLS_ALPN: &[u8] = b"acme-tls/1";
/// Below it is what who looks by HTTP asks for (RFC 8555, section 8.3).
const HTTP_FOLDER: &str = "/.well-known/acme-challenge/";

/// Whether a client offers to speak nothing but what authorities do who look (RFC 8737, section 3).
pub(crate) fn looks<'a>(mut offered: impl Iterator<Item = &'a [u8]>) -> bool {
    offered.next() == Some(TLS_ALPN) && offered.next().is_none()
}

/// What is answered now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges {
    /// By what is asked for, the host and the answer.
    by_token: HashMap<Box<str>, (Box<str>, Arc<str>)>,
    /// By the host, how its handshake is ended.
    by_name: HashMap<Box<str>, Arc<ServerConfig>>,
}

impl Challenges {
    /// The answer to a request for this host and path, if it is one of an authority's.
    pub(crate) fn answer(&self, host: &str, path: &str) -> Option<&Arc<str>> {
        let (of, answer) = self.by_token.get(path.strip_prefix(HTTP_FOLDER)?)?;
        Some(answer).filter(|_| **of == *host)
    }

    /// Whether a request may be one that is answered here.
    pub(crate) fn is_asked(path: &str) -> bool {
        path.starts_with(HTTP_FOLDER)
    }

    /// How the handshake is ended that looks at this name.
    pub(crate) fn handshake(&self, name: &str) -> Option<&Arc<ServerConfig>> {
        self.by_name.get(name)
    }

    /// Whether any is to be looked at in a handshake.
    pub(crate) fn has_handshakes(&self) -> bool {
        !self.by_name.is_empty()
    }
}

/// Makes the answers, and keeps those that stay.
#[derive(Default)]
pub(crate) struct KnownChallenges {
    /// By host and key authorization.
    handshakes: HashMap<(Box<str>, Box<str>), Arc<ServerConfig>>,
}

impl KnownChallenges {
    /// The answers that these Domains ask for.
    pub(crate) fn of<'a>(&mut self, domains: impl Iterator<Item = &'a DomainInput>) -> Challenges {
        let (mut challenges, mut kept) = (Challenges::default(), HashMap::new());
        for domain in domains {
            let Some(answer) = &domain.answer else { continue };
            match answer.challenge {
                DomainChallenge::HTTP01 => {
                    let of_host = (domain.host.as_str().into(), answer.key_authorization.as_str().into());
                    challenges.by_token.insert(answer.token.as_str().into(), of_host);
                }
                DomainChallenge::TLSALPN01 => {
                    let key = (domain.host.as_str().into(), answer.key_authorization.as_str().into());
                    let made = self.handshakes.get(&key).cloned().map_or_else(|| handshake(&key.0, &key.1), Ok);
                    match made {
                        Ok(made) => {
                            challenges.by_name.insert(key.0.clone(), made.clone());
                            kept.insert(key, made);
                        }
                        Err(error) => {
                            tracing::warn!(domain = %domain.place, %error, "an authority that looks would be answered nothing");
                        }
                    }
                }
                DomainChallenge::DNS01 | DomainChallenge::None => {}
            }
        }
        self.handshakes = kept;
        challenges
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("failed to make a certificate for it: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("failed to make a certificate for it: {0}")]
    Key(&'static str),
    #[error("failed to set TLS up for it: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// A handshake with a certificate that says the answer (RFC 8737, section 3).
fn handshake(host: &str, key_authorization: &str) -> Result<Arc<ServerConfig>, HandshakeError> {
    let mut parameters = CertificateParams::new(vec![host.to_owned()])?;
    let digest = Sha256::digest(key_authorization);
    parameters.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(HandshakeError::Key)?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12])?;
    // What it says is critical, and nobody else would understand it: rustls would not take it for a certificate either, if asked to check.
    let certified = CertifiedKey::new(vec![certificate], any_supported_type(&key)?);
    let mut server = builder.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    server.alpn_protocols = vec![TLS_ALPN.to_vec()];
    server.send_tls13_tickets = 0;
    Ok(Arc::new(server))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::inputs::{AnswerInput, Place};

    fn domain(host: &str, challenge: DomainChallenge, token: &str) -> DomainInput {
        DomainInput {
            place: Place { namespace: "u-ada".into(), name: "d".into() },
            host: host.into(),
            proven_at_s: Some(1),
            answer: Some(AnswerInput { challenge, token: token.into(), key_authorization: format!("{token}.thumb") }),
        }
    }

    #[test]
    fn an_authority_is_answered_at_its_host_only() {
        let domains = [domain("a.example", DomainChallenge::HTTP01, "t1"), domain("b.example", DomainChallenge::DNS01, "t2")];
        let challenges = KnownChallenges::default().of(domains.iter());
        let answer = |host, path| challenges.answer(host, path).map(|answer| &**answer);
        assert_eq!(answer("a.example", "/.well-known/acme-challenge/t1"), Some("t1.thumb"));
        assert_eq!(answer("b.example", "/.well-known/acme-challenge/t1"), None);
        assert_eq!(answer("b.example", "/.well-known/acme-challenge/t2"), None);
        assert_eq!((answer("a.example", "/t1"), answer("a.example", "/.well-known/acme-challenge/")), (None, None));
        assert!(Challenges::is_asked("/.well-known/acme-challenge/x") && !Challenges::is_asked("/"));
    }

    #[test]
    fn a_handshake_is_made_once_and_for_its_name() {
        let domains = [domain("a.example", DomainChallenge::TLSALPN01, "t")];
        let mut known = KnownChallenges::default();
        let (first, again) = (known.of(domains.iter()), known.of(domains.iter()));
        assert!(first.has_handshakes() && first.handshake("b.example").is_none());
        assert!(Arc::ptr_eq(first.handshake("a.example").unwrap(), again.handshake("a.example").unwrap()));
        assert!(!known.of([].iter()).has_handshakes() && known.handshakes.is_empty());
    }

    #[test]
    fn who_offers_anything_else_is_nobody_who_looks() {
        let looks = |offered: &[&[u8]]| looks(offered.iter().copied());
        assert!(looks(&[b"acme-tls/1"]));
        assert!(!looks(&[b"h2", b"acme-tls/1"]) && !looks(&[b"acme-tls/1", b"h2"]) && !looks(&[]));
    }
}
