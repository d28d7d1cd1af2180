//! How many requests of a Route are let in.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use eddy_authz::Credential;
use eddy_authz::feed::Feed;
use eddy_crds::RateLimitKey;
use eddy_http::{Allowances, Rate};
use eddy_router::RateRule;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Places of the table, 8 bytes each: with a hundred thousand clients at once, few share one.
const PLACES: usize = 1 << 20;

/// Counts the requests of all Routes that want it. Where none does, it takes no memory.
#[derive(Default)]
pub(crate) struct Rates(OnceLock<Allowances>);

impl Rates {
    /// Counts a request of a Route.
    ///
    /// # Errors
    /// After how long another may come.
    pub(crate) fn count(&self, rule: RateRule, route: &str, who: &Who<'_>, now: Instant) -> Result<(), Duration> {
        let rate = Rate { at_once: rule.burst, one_more_every: Duration::from_secs(1) / rule.per_second.max(1) };
        let counts = self.0.get_or_init(|| Allowances::new(PLACES));
        match rule.per {
            RateLimitKey::Route => counts.count(rate, route, now),
            RateLimitKey::Client => counts.count(rate, (route, who.network()), now),
            RateLimitKey::Token => match who.token() {
                Some(id) => counts.count(rate, (route, id), now),
                // Whoever shows none, or makes them up, is known by where they come from.
                None => counts.count(rate, (route, who.network()), now),
            },
        }
    }
}

/// Who asks, as far as it matters for how much they may.
pub(crate) struct Who<'a> {
    pub(crate) address: Option<IpAddr>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) permissions: Option<&'a Feed>,
}

impl Who<'_> {
    /// The address; of IPv6 the network of one client, who may take as many addresses of it as there are.
    fn network(&self) -> Option<IpAddr> {
        const HOST_BITS: u32 = 64;
        Some(match self.address?.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> HOST_BITS << HOST_BITS).into()),
            address => address,
        })
    }

    /// The id of a token that is good.
    fn token(&self) -> Option<String> {
        let header = self.headers.get(AUTHORIZATION)?;
        let token = Credential::of_header(header.as_bytes())?.into_token().0?;
        self.permissions?.authenticate(&token).ok().map(|_| token.id().to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The table begins with the first request, which is not before that.
    const LATER: Duration = Duration::from_secs(60);

    fn who<'a>(address: &str, headers: &'a HeaderMap) -> Who<'a> {
        Who { address: address.parse().ok(), headers, permissions: None }
    }

    #[test]
    fn each_client_of_each_route_has_its_own_allowance() {
        let (rates, now, headers) = (Rates::default(), Instant::now() + LATER, HeaderMap::new());
        let rule = RateRule { per_second: 1, burst: 2, per: RateLimitKey::Client };
        let count = |route, address: &str, now| rates.count(rule, route, &who(address, &headers), now);
        assert!(count("a", "192.0.2.1", now).is_ok() && count("a", "192.0.2.1", now).is_ok());
        assert_eq!(count("a", "::ffff:192.0.2.1", now), Err(Duration::from_secs(1)), "the same however it is written");
        assert!(count("a", "192.0.2.2", now).is_ok() && count("b", "192.0.2.1", now).is_ok());
        assert!(count("a", "192.0.2.1", now + Duration::from_secs(1)).is_ok());
        for address in ["2001:db8::1", "2001:db8::2"] {
            assert!(count("a", address, now).is_ok());
        }
        assert!(count("a", "2001:db8::3", now).is_err(), "one network, one client");
    }

    #[test]
    fn all_of_a_route_share_one_where_it_says_so() {
        let (rates, now, headers) = (Rates::default(), Instant::now() + LATER, HeaderMap::new());
        let rule = RateRule { per_second: 1000, burst: 1, per: RateLimitKey::Route };
        assert!(rates.count(rule, "a", &who("192.0.2.1", &headers), now).is_ok());
        assert_eq!(rates.count(rule, "a", &who("192.0.2.2", &headers), now), Err(Duration::from_millis(1)));
    }

    #[test]
    fn made_up_tokens_are_no_allowances() {
        let (rates, now) = (Rates::default(), Instant::now() + LATER);
        let rule = RateRule { per_second: 1, burst: 1, per: RateLimitKey::Token };
        let shows = |number: usize| {
            let made_up = format!("Bearer eddy_{number:016x}_secret").parse().unwrap();
            [(AUTHORIZATION, made_up)].into_iter().collect::<HeaderMap>()
        };
        let let_in = (0..10).filter(|number| rates.count(rule, "a", &who("192.0.2.1", &shows(*number)), now).is_ok());
        assert_eq!(let_in.count(), 1);
    }
}
