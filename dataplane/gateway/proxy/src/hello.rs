//! What a client says first of TLS (RFC 8446, section 4.1.2): the name that it asks for.

use tokio_rustls::rustls::server::Acceptor;

/// What a client says first is no longer: more than browsers say with keys that are safe from quantum computers.
pub(crate) const BYTES_MAX: usize = 16 * 1024;

/// What is known of a client from what it has said so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// It has not said all of it.
    More,
    /// It asks for this name, in lower case; for none in particular if none.
    Asks(Option<String>),
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
                Ok(Some(accepted)) => return Hello::Asks(accepted.client_hello().server_name().map(str::to_ascii_lowercase)),
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

    fn said(name: &str) -> Vec<u8> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(RootCertStore::empty());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(builder.with_no_client_auth()), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_name_is_known_as_soon_as_all_is_said() {
        let whole = said("A.Example");
        assert_eq!(Hearing::default().hear(&whole), Hello::Asks(Some("a.example".to_owned())));
        let mut hearing = Hearing::default();
        for byte in &whole[..whole.len() - 1] {
            assert_eq!(hearing.hear(&[*byte]), Hello::More);
        }
        assert_eq!(hearing.hear(&whole[whole.len() - 1..]), Hello::Asks(Some("a.example".to_owned())));
        assert_eq!(Hearing::default().hear(&said("192.0.2.1")), Hello::Asks(None), "an address is no name");
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
