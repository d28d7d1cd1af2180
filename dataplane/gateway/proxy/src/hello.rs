//! What a client says first of TLS (RFC 8446, section 4.1.2): the name that it asks for.

use tokio_rustls::rustls::server::Acceptor;

use crate::challenges;

/// What a client says first is no longer: more than browsers say with keys that are safe from quantum computers.
pub(crate) const BYTES_MAX: usize = 16 * 1024;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asking {
    /// The name, in lower case; none in particular if none.
    pub(crate) name: Option<String>,
    /// It is an authority that looks whether the name leads here, and wants nothing else.
    pub(crate) looks: bool,
}

/// What is known of a client from what it has said so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// It has not said all of it.
    More,
    /// It asks for a name.
    Asks(Asking),
    /// That is no TLS. Whoever is to speak TLS with it tells it so.
    None,
}

/// Hears what a client says, as it comes.
#[derive(Default)]
pub(crate) struct Hearing(Acceptor);

impl Hearing {
    /// Takes in what came, and says what is known by then.
    pub(crate) fn hear(&mut self, mut bytes: &[u8]) -> Hello {
        while !bytes.is_empty() {
            if !self.0.read_tls(&mut bytes).is_ok_and(|count| count > 0) {
                return Hello::None;
            }
            match self.0.accept() {
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let name = hello.server_name().map(str::to_ascii_lowercase);
                    return Hello::Asks(Asking { name, looks: hello.alpn().is_some_and(challenges::looks) });
                }
                Ok(None) => {}
                Err(_) => return Hello::None,
            }
        }
        Hello::More
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    fn asks(name: &str) -> Hello {
        Hello::Asks(Asking { name: Some(name.to_owned()), looks: false })
    }

    fn said(name: &str) -> Vec<u8> {
        saying(name, &[])
    }

    fn saying(name: &str, protocols: &[&[u8]]) -> Vec<u8> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(RootCertStore::empty());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_name_is_known_as_soon_as_all_is_said() {
        let whole = said("A.Example");
        assert_eq!(Hearing::default().hear(&whole), asks("a.example"));
        let mut hearing = Hearing::default();
        for byte in &whole[..whole.len() - 1] {
            assert_eq!(hearing.hear(&[*byte]), Hello::More);
        }
        assert_eq!(hearing.hear(&whole[whole.len() - 1..]), asks("a.example"));
        let looks = |protocols: &[&[u8]]| match Hearing::default().hear(&saying("a.example", protocols)) {
            Hello::Asks(asking) => asking.looks,
            Hello::More | Hello::None => false,
        };
        assert!(looks(&[b"acme-tls/1"]) && !looks(&[b"h2", b"acme-tls/1"]) && !looks(&[b"h2"]));
        assert_eq!(Hearing::default().hear(&said("192.0.2.1")), Hello::Asks(Asking::default()), "an address is no name");
        assert_eq!(Hearing::default().hear(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), Hello::None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..250, with in any::<u8>()) {
            let _ = Hearing::default().hear(&bytes);
            let mut changed = said("a.example");
            let at = at % changed.len();
            changed[at] = with;
            let _ = Hearing::default().hear(&changed);
        }
    }
}
