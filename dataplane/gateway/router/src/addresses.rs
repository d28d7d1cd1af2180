//! Which addresses are let in.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

/// Lists of networks that are let in or kept out. The longest network that holds an address decides; of two alike, the one that keeps out. A
/// look-up takes a step a bit at most, however many there are.
#[derive(Clone, Debug, Default)]
pub struct AddressFilter {
    v4: PrefixMap<Ipv4Net, bool>,
    v6: PrefixMap<Ipv6Net, bool>,
    /// Whether an address that no network holds is kept out: where somebody is said to be let in, nobody else is.
    is_closed: bool,
}

/// It is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network or address, as 192.0.2.0/24 and 2001:db8::1 are")]
pub struct NetworkError(String);

/// A network, or an address as a network of its own.
///
/// # Errors
/// Where it is neither.
pub fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map(|network| network.trunc()).map_err(|_| NetworkError(text.to_owned()))
}

impl AddressFilter {
    /// Lets some in and keeps some out.
    ///
    /// # Errors
    /// Where something is no network.
    pub fn new(allow: &[String], deny: &[String]) -> Result<Self, NetworkError> {
        let mut filter = Self { is_closed: !allow.is_empty(), ..Self::default() };
        // What keeps out comes last, and stays.
        for (networks, is_let_in) in [(allow, true), (deny, false)] {
            for network in networks {
                match mapped(parse_network(network)?) {
                    IpNet::V4(network) => drop(filter.v4.insert(network, is_let_in)),
                    IpNet::V6(network) => drop(filter.v6.insert(network, is_let_in)),
                }
            }
        }
        Ok(filter)
    }

    /// Whether an address is let in.
    #[must_use]
    pub fn lets_in(&self, address: IpAddr) -> bool {
        let found = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.get_lpm(&Ipv4Net::from(address)).map(|(_, is_let_in)| *is_let_in),
            IpAddr::V6(address) => self.v6.get_lpm(&Ipv6Net::from(address)).map(|(_, is_let_in)| *is_let_in),
        };
        found.unwrap_or(!self.is_closed)
    }
}

/// Addresses of IPv4 that are written as IPv6 (RFC 4291, section 2.5.5.2) are the same addresses.
fn mapped(network: IpNet) -> IpNet {
    const PREFIX: u8 = 96;
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= PREFIX => match v6.addr().to_ipv4_mapped() {
            Some(v4) => Ipv4Net::new(v4, v6.prefix_len() - PREFIX).map_or(network, IpNet::V4),
            None => network,
        },
        network => network,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use proptest::prelude::*;

    fn filter(allow: &[&str], deny: &[&str]) -> AddressFilter {
        let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        AddressFilter::new(&all(allow), &all(deny)).unwrap()
    }

    fn lets(filter: &AddressFilter, address: &str) -> bool {
        filter.lets_in(address.parse().unwrap())
    }

    #[test]
    fn the_longest_network_decides_and_of_two_the_one_that_keeps_out() {
        let some = filter(&["10.0.0.0/8", "192.0.2.7"], &["10.1.0.0/16", "192.0.2.7", "2001:db8::/32"]);
        assert!(lets(&some, "10.2.0.1") && !lets(&some, "10.1.0.1"));
        assert!(!lets(&some, "192.0.2.7") && !lets(&some, "192.0.2.8"), "nobody else is let in");
        let none = filter(&[], &["10.0.0.0/8"]);
        assert!(!lets(&none, "10.0.0.1") && lets(&none, "192.0.2.1") && lets(&none, "2001:db8::1"));
        assert!(lets(&filter(&["10.1.2.0/24"], &["10.0.0.0/8"]), "10.1.2.3"));
    }

    #[test]
    fn one_address_is_one_however_it_is_written() {
        let v4 = filter(&[], &["192.0.2.0/24"]);
        assert!(!lets(&v4, "::ffff:192.0.2.9"));
        let v6 = filter(&[], &["::ffff:192.0.2.0/120"]);
        assert!(!lets(&v6, "192.0.2.9") && lets(&v6, "192.0.3.9"));
        // Bits behind the prefix do not matter.
        assert!(!lets(&filter(&[], &["192.0.2.77/24"]), "192.0.2.9"));
    }

    #[test]
    fn what_is_no_network_is_told_so() {
        for wrong in ["", "10.0.0.0/33", "10.0.0", "x", "10.0.0.1/", "2001:db8::/129"] {
            assert!(AddressFilter::new(&[], &[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn it_decides_as_one_would_by_hand(
            networks in prop::collection::vec((any::<u32>(), 0..=32u8, any::<bool>()), 0..20),
            address in any::<u32>(),
        ) {
            // Few addresses, so that networks hold one another.
            let address = Ipv4Addr::from(address & 0xff);
            let of = |wanted| {
                let chosen = networks.iter().filter(move |network| network.2 == wanted);
                chosen.map(|(address, length, _)| format!("{}/{length}", Ipv4Addr::from(address & 0xff))).collect::<Vec<_>>()
            };
            let holds = |length: u8, network: u32| {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                u32::from(address) & mask == network & 0xff & mask
            };
            let found = networks.iter().filter(|(network, length, _)| holds(*length, *network));
            let longest = found.max_by_key(|(_, length, allow)| (*length, !allow)).map(|(_, _, allow)| *allow);
            let filter = AddressFilter::new(&of(true), &of(false)).unwrap();
            let expected = longest.unwrap_or_else(|| !networks.iter().any(|network| network.2));
            prop_assert_eq!(filter.lets_in(IpAddr::V4(address)), expected);
            prop_assert_eq!(filter.lets_in(IpAddr::V6(address.to_ipv6_mapped())), expected);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse_network(&text);
            let _: Option<Ipv6Addr> = text.parse().ok();
        }
    }
}
