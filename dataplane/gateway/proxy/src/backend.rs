//! A backend's address as Pingora's connector and its pool want it.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use pingora_core::protocols::SocketDigest;
use pingora_core::protocols::l4::socket;
use pingora_core::upstreams::peer::Peer;

/// Where to connect to over plain TCP.
///
/// Pingora's own `HttpPeer` asks the kernel whom each pooled connection leads to before it is used again, since
/// its key into the pool is a hash that two peers might share. It also carries dozens of options that do not apply here.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    address: socket::SocketAddr,
    pool_key: PoolKey,
    connect_timeout: Duration,
}

/// By what idle connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PoolKey {
    /// No other address has it.
    Exact(u64),
    /// Another address might have it.
    Hashed(u64),
}

impl Backend {
    pub(crate) fn new(address: SocketAddr, connect_timeout: Duration) -> Self {
        Self { address: address.into(), pool_key: PoolKey::of(address), connect_timeout }
    }
}

impl PoolKey {
    /// An IPv4 address and a port are 48 bits; those of IPv6 do not fit.
    fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::Exact(u64::from(u32::from(*address.ip())) << 16 | u64::from(address.port())),
            SocketAddr::V6(address) => {
                let bits = u128::from(*address.ip());
                let folded = (bits >> 64) as u64 ^ (bits as u64).rotate_left(17) ^ u64::from(address.port()).rotate_left(48);
                // Above all exact keys.
                Self::Hashed(folded | 1 << 63)
            }
        }
    }
}

impl Peer for Backend {
    fn address(&self) -> &socket::SocketAddr {
        &self.address
    }
    fn tls(&self) -> bool {
        false
    }
    fn sni(&self) -> &str {
        ""
    }
    fn reuse_hash(&self) -> u64 {
        let (PoolKey::Exact(key) | PoolKey::Hashed(key)) = self.pool_key;
        key
    }
    fn connection_timeout(&self) -> Option<Duration> {
        Some(self.connect_timeout)
    }
    fn total_connection_timeout(&self) -> Option<Duration> {
        Some(self.connect_timeout)
    }
    fn matches_fd<V: AsRawFd>(&self, connection: V) -> bool {
        if let PoolKey::Exact(_) = self.pool_key {
            return true;
        }
        let socket = SocketDigest::from_raw_fd(connection.as_raw_fd());
        socket.peer_addr().is_some_and(|peer| peer.as_inet() == self.address.as_inet())
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(address: &str) -> Backend {
        Backend::new(address.parse().unwrap(), Duration::ZERO)
    }

    #[test]
    fn no_two_ipv4_addresses_share_a_key() {
        let addresses = ["10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "0.0.80.10:1", "255.255.255.255:65535"];
        for first in addresses {
            for second in addresses {
                assert_eq!(backend(first).reuse_hash() == backend(second).reuse_hash(), first == second);
            }
        }
        assert!(backend("255.255.255.255:65535").reuse_hash() < backend("[::]:0").reuse_hash());
    }

    #[test]
    fn where_two_might_share_a_key_the_connection_itself_is_asked() {
        let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
        let connection = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(backend(&listener.local_addr().unwrap().to_string()).matches_fd(connection.as_raw_fd()));
        assert!(!backend("[::2]:80").matches_fd(connection.as_raw_fd()));
    }
}
