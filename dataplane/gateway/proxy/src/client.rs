//! Who asks, behind the proxies that are believed.

use std::net::IpAddr;

use eddy_router::AddressFilter;
use http::HeaderMap;
use pingora_proxy::Session;

use crate::request::{X_FORWARDED_FOR, X_FORWARDED_PROTO};
use crate::tls_stream::is_secure;

/// More proxies than this, one behind the other, nobody has.
const HOPS_MAX: usize = 16;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Their address; none where the connection has none.
    pub(crate) address: Option<IpAddr>,
    /// They came by TLS.
    pub(crate) is_secure: bool,
    /// Whoever connected is a proxy that is believed.
    pub(crate) is_proxied: bool,
}

impl Client {
    /// Who asks in a session. What it says of whom it asks for counts only where it comes from those who are believed.
    pub(crate) fn of(session: &Session, believed: Option<&AddressFilter>) -> Self {
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(|peer| peer.ip());
        let direct = Self { address: peer, is_secure: is_secure(session), is_proxied: false };
        direct.behind(&session.req_header().headers, believed)
    }

    /// Who asks by whoever connected.
    fn behind(self, headers: &HeaderMap, believed: Option<&AddressFilter>) -> Self {
        let (peer, Some(believed)) = (self.address, believed) else { return self };
        if !peer.is_some_and(|peer| believed.lets_in(peer)) {
            return self;
        }
        let scheme = headers.get(&X_FORWARDED_PROTO);
        let is_secure = scheme.map_or(self.is_secure, |scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
        // The last of them was added by the proxy that is nearest.
        let said = headers.get_all(&X_FORWARDED_FOR).iter().rev();
        let mut address = peer;
        for hop in said.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')).take(HOPS_MAX) {
            // Whatever is before what is no address was not added by those who are believed.
            let Some(hop) = std::str::from_utf8(hop).ok().and_then(|hop| parse(hop.trim())) else { break };
            address = Some(hop);
            if !believed.lets_in(hop) {
                break;
            }
        }
        Self { address, is_secure, is_proxied: true }
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }
}

/// An address, with a port or without.
fn parse(hop: &str) -> Option<IpAddr> {
    let address = hop.parse().ok().or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()));
    address.or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn direct(peer: &str, is_secure: bool) -> Client {
        Client { address: peer.parse().ok(), is_secure, is_proxied: false }
    }

    fn behind(peer: &str, said: &[&str], believed: &[&str]) -> String {
        let believed: Vec<String> = believed.iter().map(|network| (*network).to_owned()).collect();
        let believed = (!believed.is_empty()).then(|| AddressFilter::new(&believed, &[]).unwrap());
        let value = |value: &&str| http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
        let headers = said.iter().map(|said| (X_FORWARDED_FOR.clone(), value(said))).collect();
        direct(peer, false).behind(&headers, believed.as_ref()).address.unwrap().to_string()
    }

    #[test]
    fn who_is_not_believed_is_who_asks() {
        assert_eq!(behind("10.0.0.1", &["192.0.2.1"], &[]), "10.0.0.1");
        assert_eq!(behind("192.0.2.9", &["192.0.2.1"], &["10.0.0.0/8"]), "192.0.2.9");
    }

    #[test]
    fn the_last_who_is_not_believed_asks() {
        let believed = &["10.0.0.0/8", "2001:db8::/32"];
        assert_eq!(behind("10.0.0.1", &["192.0.2.1"], believed), "192.0.2.1");
        assert_eq!(behind("10.0.0.1", &["203.0.113.7, 192.0.2.1, 10.0.0.2"], believed), "192.0.2.1", "203.0.113.7 was forged");
        assert_eq!(behind("10.0.0.1", &["203.0.113.7", "192.0.2.1:4711,[2001:db8::1]"], believed), "192.0.2.1");
        assert_eq!(behind("10.0.0.1", &["192.0.2.1, nonsense, 10.0.0.2"], believed), "10.0.0.2");
        assert_eq!(behind("10.0.0.1", &[], believed), "10.0.0.1");
        // What is no text hides nothing of what was added to it.
        assert_eq!(behind("10.0.0.1", &["ä, 192.0.2.1"], believed), "192.0.2.1");
        assert_eq!(behind("10.0.0.1", &["10.9.9.9", "ä"], believed), "10.0.0.1");
        assert_eq!(behind("10.0.0.1", &["10.0.0.9"], believed), "10.0.0.9", "who has only believed ones before them");
    }

    #[test]
    fn the_scheme_is_believed_of_the_same() {
        let headers: HeaderMap = [(X_FORWARDED_PROTO.clone(), "HTTPS".parse().unwrap())].into_iter().collect();
        let believed = AddressFilter::new(&["10.0.0.0/8".to_owned()], &[]).unwrap();
        let scheme =
            |peer: &str, headers: &HeaderMap, is_secure| direct(peer, is_secure).behind(headers, Some(&believed)).scheme();
        assert_eq!((scheme("10.0.0.1", &headers, false), scheme("192.0.2.1", &headers, false)), ("https", "http"));
        // Who says nothing of it says what they did themselves.
        let none = HeaderMap::new();
        assert_eq!((scheme("10.0.0.1", &none, true), scheme("192.0.2.1", &none, true)), ("https", "https"));
        let plain: HeaderMap = [(X_FORWARDED_PROTO.clone(), "http".parse().unwrap())].into_iter().collect();
        assert_eq!((scheme("10.0.0.1", &plain, true), scheme("192.0.2.1", &plain, true)), ("http", "https"));
    }
}
