//! Whom a balancer says that a connection is from: the PROXY protocol, version 2 (HAProxy, "The PROXY protocol", section 2.2).

use std::net::SocketAddr;
use std::time::Duration;

use ppp::v2::{Addresses, Command, Header};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// The signature, version, command, family and length.
const FIXED_BYTES: usize = 16;
/// More than addresses and what else a balancer may tell.
const REST_BYTES_MAX: usize = 2048;
/// A balancer says it at once.
const WITHIN: Duration = Duration::from_secs(3);

/// Why it is not known whom a connection is from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyProtocolError {
    /// It did not come in time.
    #[error("the balancer did not say within {} s whom the connection is from", WITHIN.as_secs())]
    Late,
    /// The connection broke.
    #[error("the connection broke before it was said whom it is from")]
    Read(#[from] std::io::Error),
    /// It is longer than it may be.
    #[error("what the balancer says of the connection is longer than {REST_BYTES_MAX} bytes")]
    Long,
    /// It is not the protocol.
    #[error("the balancer does not speak version 2 of the PROXY protocol: {0}")]
    Format(String),
}

/// Reads whom a connection is from, and nothing else of it. None if the balancer asks for itself, as its probes do.
///
/// # Errors
/// See [`ProxyProtocolError`].
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyProtocolError> {
    timeout(WITHIN, read_at_leisure(stream)).await.map_err(|_| ProxyProtocolError::Late)?
}

async fn read_at_leisure(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyProtocolError> {
    let mut bytes = vec![0; FIXED_BYTES];
    stream.read_exact(&mut bytes).await?;
    if !bytes.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        return Err(ProxyProtocolError::Format("its signature is missing".to_owned()));
    }
    let rest = usize::from(u16::from_be_bytes([bytes[FIXED_BYTES - 2], bytes[FIXED_BYTES - 1]]));
    if rest > REST_BYTES_MAX {
        return Err(ProxyProtocolError::Long);
    }
    bytes.resize(FIXED_BYTES + rest, 0);
    stream.read_exact(&mut bytes[FIXED_BYTES..]).await?;
    let header = Header::try_from(&bytes[..]).map_err(|error| ProxyProtocolError::Format(error.to_string()))?;
    Ok(match (header.command, header.addresses) {
        (Command::Proxy, Addresses::IPv4(from)) => Some(SocketAddr::new(from.source_address.into(), from.source_port)),
        (Command::Proxy, Addresses::IPv6(from)) => Some(SocketAddr::new(from.source_address.into(), from.source_port)),
        (Command::Proxy | Command::Local, _) => None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ppp::v2::{Builder, Protocol, Type, Version};
    use proptest::prelude::*;

    use super::*;

    fn said(from: (SocketAddr, SocketAddr), command: Command) -> Vec<u8> {
        let builder = Builder::with_addresses(Version::Two | command, Protocol::Stream, from);
        builder.write_tlv(Type::UniqueId, b"id").unwrap().build().unwrap()
    }

    async fn heard(bytes: &[u8]) -> Result<Option<SocketAddr>, ProxyProtocolError> {
        read(&mut { bytes }).await
    }

    #[tokio::test]
    async fn who_is_asked_for_is_known_and_what_follows_is_left() {
        for address in ["192.0.2.1:4711", "[2001:db8::1]:4711"] {
            let from: SocketAddr = address.parse().unwrap();
            let bytes = [said((from, from), Command::Proxy), b"GET / HTTP/1.1".to_vec()].concat();
            let mut left = &bytes[..];
            assert_eq!(read(&mut left).await.unwrap(), Some(from));
            assert_eq!(left, b"GET / HTTP/1.1");
            assert_eq!(heard(&said((from, from), Command::Local)).await.unwrap(), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_something_else_or_too_much_or_too_late_is_refused() {
        let from = "192.0.2.1:4711".parse().unwrap();
        let good = said((from, from), Command::Proxy);
        for end in 0..good.len() {
            assert!(matches!(heard(&good[..end]).await, Err(ProxyProtocolError::Read(_))), "{end}");
        }
        assert!(matches!(heard(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").await, Err(ProxyProtocolError::Format(_))));
        assert!(matches!(heard(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await, Err(ProxyProtocolError::Format(_))));
        let mut long = good.clone();
        long[14] = 0xff;
        assert!(matches!(heard(&long).await, Err(ProxyProtocolError::Long)));
        let (mut silent, _other) = tokio::io::duplex(64);
        assert!(matches!(read(&mut silent).await, Err(ProxyProtocolError::Late)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(rest in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = [ppp::v2::PROTOCOL_PREFIX, &rest[..]].concat();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _ = runtime.block_on(heard(&bytes));
        }
    }
}
